"""The special tokens of every vocabulary, and the check that data are token sequences."""

from __future__ import annotations

from aeframe.errors import AeframeError
from aeframe.types import Shape

PAD, START, END, UNKNOWN, MASK = range(5)
SPECIALS = ("<pad>", "<s>", "</s>", "<unk>", "<mask>")
"""The special tokens in the order of their ids. `PAD` is 0, the value that networks read at masked positions
(`Batch.masked_x`)."""


def check_tokens(who: str, shape: Shape, classes: int | None) -> int:
    """Return the vocabulary size V of data that are token sequences.

    Args:
        who: The name of the part that requires tokens, for error messages.
        shape: Shape of one sample; must be ``(T,)``.
        classes: Number of classes of the data's domain; None for a domain without classes.

    Raises:
        AeframeError: The data are not sequences ``(T,)`` over a vocabulary that includes `SPECIALS`.
    """
    if classes is None or len(shape) != 1 or classes < len(SPECIALS):
        found = "numbers" if classes is None else f"{classes} classes"
        raise AeframeError(
            f"{who} is for tokens (T,) of at least {len(SPECIALS)} classes, as modality=text provides them, and these "
            f"data are {found} of shape {tuple(shape)}; choose another part"
        )
    return classes
