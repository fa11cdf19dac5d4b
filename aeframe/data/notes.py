"""`Notes`: sentences about what was changed, left out or guessed while data were read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from aeframe.errors import in_one_line


class Notes:
    """Different sentences in the order in which they were added first.

    Reading must never change values in silence: whatever is converted, left out or guessed gets a sentence with
    numbers, such as ``"'raw': 12 of 400 labels are missing; these samples have no label"``. A run prints them, and its
    model's card lists them.

    Args:
        sentences: The first sentences.
    """

    def __init__(self, sentences: Iterable[str] = ()) -> None:
        self._sentences = dict.fromkeys(in_one_line(sentence) for sentence in sentences)

    def add(self, sentence: str) -> None:
        """Add a sentence, unless it is there."""
        self._sentences.setdefault(in_one_line(sentence))

    def __iter__(self) -> Iterator[str]:
        return iter(self._sentences)

    def __len__(self) -> int:
        return len(self._sentences)

    def __repr__(self) -> str:
        return f"Notes({list(self._sentences)})"
