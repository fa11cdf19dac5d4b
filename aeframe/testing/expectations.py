"""The exceptions that a check raises, and the assertion that raises them."""

from __future__ import annotations


class CheckFailedError(AssertionError):
    """A part breaks its contract; the message states in one sentence how."""


class NotApplicableError(Exception):
    """A check does not apply to a part; the message states why."""


def expect(condition: bool, message: str) -> None:
    """Raise `CheckFailedError` with `message` unless `condition` is true."""
    if not condition:
        raise CheckFailedError(message)
