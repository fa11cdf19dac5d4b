"""The command ``aeframe VERB ...``: what every verb is. Imports nothing heavy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from argparse import ArgumentParser, Namespace


class Command(ABC):
    """One verb of the command ``aeframe``.

    Its name and its one line in listings are those it is registered with; its docstring heads ``aeframe VERB --help``.
    A verb's module is imported only when the verb is used, and imports torch inside `run` only.
    """

    @abstractmethod
    def arguments(self, parser: ArgumentParser) -> None:
        """Add the verb's own arguments to `parser`."""

    @abstractmethod
    def run(self, args: Namespace) -> int:
        """Do the work and return the exit code, 0 for success.

        Raises:
            AeframeError: Anything the user can mend; the house prints it in one line and exits with code 2.
        """
