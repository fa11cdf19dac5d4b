"""The base class of the verbs of ``aeframe VERB ...``. Imports nothing heavy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from argparse import ArgumentParser, Namespace


class Command(ABC):
    """One verb of the command ``aeframe``.

    The verb is registered with a name and a summary, which ``aeframe --help`` lists. ``aeframe VERB --help`` prints the
    docstring of the class. The module of a verb is imported only when the verb is used. It imports torch only inside
    `run`, so that help texts are fast.
    """

    @abstractmethod
    def arguments(self, parser: ArgumentParser) -> None:
        """Add the arguments of the verb to `parser`."""

    @abstractmethod
    def run(self, args: Namespace) -> int:
        """Run the verb and return the exit code, 0 for success.

        Raises:
            AeframeError: An error that the user can correct. ``aeframe`` prints it in one line and exits with code 2.
        """
