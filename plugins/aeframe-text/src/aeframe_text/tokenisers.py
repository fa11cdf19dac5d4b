"""From a text to tokens and back: words, characters and atoms, with one vocabulary."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

from aeframe.errors import AeframeError
from aeframe_text.specials import SPECIALS, UNKNOWN

TokeniserName = Literal["words", "characters", "smiles", "bpe"]


class Tokeniser(ABC):
    """A way to write texts as numbers from 0 to `size` - 1, of which the first are `SPECIALS`."""

    @classmethod
    @abstractmethod
    def learn(cls, texts: Iterable[str], *, size: int | None, min_count: int) -> Self:
        """Make a vocabulary of the training texts: at most `size` tokens, of those that come `min_count` times."""

    @property
    @abstractmethod
    def size(self) -> int:
        """How many tokens there are, specials included."""

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text, without an end; `UNKNOWN` for what the vocabulary lacks."""

    @abstractmethod
    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of some tokens, leaving out specials other than ``<unk>`` and ``<mask>``."""

    @abstractmethod
    def unknown(self, text: str) -> str | None:
        """Return the first piece of a text that the vocabulary lacks."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return the vocabulary as plain values."""

    @classmethod
    @abstractmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Make it again of what `state` gave."""


class _Listed(Tokeniser):
    """Pieces that are cut out of the text by a rule, and listed."""

    between: ClassVar[str] = ""

    def __init__(self, pieces: Sequence[str]) -> None:
        self._pieces = [*SPECIALS, *pieces]
        self._numbers = {piece: number for number, piece in enumerate(self._pieces)}

    @classmethod
    def learn(cls, texts: Iterable[str], *, size: int | None, min_count: int) -> Self:
        counts = Counter(piece for text in texts for piece in cls.split(text))
        for special in SPECIALS:
            # Corpora have <unk> in them already, which is the same thing.
            counts.pop(special, None)
        often = [(piece, count) for piece, count in counts.items() if count >= min_count]
        often.sort(key=lambda each: (-each[1], each[0]))
        kept = often if size is None else often[: max(0, size - len(SPECIALS))]
        if not kept:
            raise AeframeError(
                f"modality 'text': none of {len(counts)} tokens is left by vocabulary_size={size} and "
                f"min_count={min_count}; raise the one or lower the other"
            )
        return cls([piece for piece, _ in kept])

    @staticmethod
    @abstractmethod
    def split(text: str) -> list[str]:
        """Cut a text into pieces."""

    @property
    def size(self) -> int:
        return len(self._pieces)

    def encode(self, text: str) -> list[int]:
        return [self._numbers.get(piece, UNKNOWN) for piece in self.split(text)]

    def decode(self, tokens: Sequence[int]) -> str:
        return self.between.join(self._pieces[token] for token in tokens if token >= UNKNOWN)

    def unknown(self, text: str) -> str | None:
        return next((piece for piece in self.split(text) if piece not in self._numbers), None)

    def state(self) -> dict[str, Any]:
        return {"pieces": self._pieces[len(SPECIALS) :]}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        return cls(state["pieces"])


class Words(_Listed):
    """What stands between blanks; a text comes back with single blanks."""

    between = " "

    @staticmethod
    def split(text: str) -> list[str]:
        return text.split()


class Characters(_Listed):
    """Every character of Unicode that the training texts have, blanks included."""

    @staticmethod
    def split(text: str) -> list[str]:
        return list(text)


_ATOM = re.compile(r"\[[^\]]*\]|Br|Cl|%\d\d|.", re.DOTALL)


class Smiles(_Listed):
    """Molecules as SMILES (Weininger 1988), atom by atom: an atom in brackets with all that belongs to it, ``Br`` and
    ``Cl``, and a ring of two digits (``%12``) are one token each, everything else is a token by character.
    """

    @staticmethod
    def split(text: str) -> list[str]:
        return _ATOM.findall(text)
