"""The interface of tokenisers, and those whose vocabulary is a list of pieces of text.

The pieces are words, characters, or the atoms and bonds of SMILES, a notation of molecules as text.
"""

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
    """The interface of tokenisers: text to token ids 0 to `size` - 1 and back; the first ids are `SPECIALS`.

    A text that spells a special token, such as ``</s>``, is ordinary text: `encode` returns none of these ids but
    `UNKNOWN`.
    """

    @classmethod
    @abstractmethod
    def learn(cls, texts: Iterable[str], *, size: int | None, min_count: int) -> Self:
        """Build the vocabulary from training texts: at most `size` tokens, each with at least `min_count` occurrences.

        Raises:
            AeframeError: No token is left, or `size` is too small.
        """

    @property
    @abstractmethod
    def size(self) -> int:
        """The size of the vocabulary, special tokens included."""

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text, without an end token; `UNKNOWN` for pieces outside the vocabulary."""

    @abstractmethod
    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of token ids, without special tokens other than ``<unk>`` and ``<mask>``."""

    @abstractmethod
    def unknown(self, text: str) -> str | None:
        """Return the first piece of a text that is outside the vocabulary, or None."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return the vocabulary as plain values."""

    @classmethod
    @abstractmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """Return the tokeniser with the vocabulary that `state` returned."""


class _Ids(dict[str, int]):
    """The ids of pieces; that of any other piece is `UNKNOWN`."""

    def __missing__(self, piece: str) -> int:
        return UNKNOWN


class _PieceTokeniser(Tokeniser):
    """A tokeniser that splits texts by a rule; its vocabulary is a list of the pieces."""

    separator: ClassVar[str] = ""
    """Joins pieces in `decode`."""
    unknown_piece: ClassVar[str | None] = None
    """The piece that stands for words outside the vocabulary in a corpus; it is `UNKNOWN`. None for no such piece."""

    def __init__(self, pieces: Sequence[str]) -> None:
        self._pieces = [*SPECIALS, *pieces]
        # Special tokens are no pieces: a text that spells one, such as </s>, has its own id, or is unknown.
        self._ids = _Ids((piece, number) for number, piece in enumerate(pieces, start=len(SPECIALS)))
        if self.unknown_piece is not None:
            self._ids[self.unknown_piece] = UNKNOWN

    @classmethod
    def learn(cls, texts: Iterable[str], *, size: int | None, min_count: int) -> Self:
        counts = Counter(piece for text in texts for piece in cls.split(text))
        if cls.unknown_piece is not None:
            counts.pop(cls.unknown_piece, None)
        frequent = [(piece, count) for piece, count in counts.items() if count >= min_count]
        frequent.sort(key=lambda item: (-item[1], item[0]))
        vocabulary = frequent if size is None else frequent[: max(0, size - len(SPECIALS))]
        if not vocabulary:
            raise AeframeError(
                f"modality 'text' has an empty vocabulary: vocabulary_size={size} and min_count={min_count} leave none "
                f"of {len(counts)} tokens; raise vocabulary_size or lower min_count"
            )
        return cls([piece for piece, _ in vocabulary])

    @staticmethod
    @abstractmethod
    def split(text: str) -> list[str]:
        """Split a text into pieces."""

    @property
    def size(self) -> int:
        return len(self._pieces)

    def encode(self, text: str) -> list[int]:
        return list(map(self._ids.__getitem__, self.split(text)))

    def decode(self, tokens: Sequence[int]) -> str:
        return self.separator.join(self._pieces[token] for token in tokens if token >= UNKNOWN)

    def unknown(self, text: str) -> str | None:
        return next((piece for piece in self.split(text) if piece not in self._ids), None)

    def state(self) -> dict[str, Any]:
        return {"pieces": self._pieces[len(SPECIALS) :]}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        return cls(state["pieces"])


class Words(_PieceTokeniser):
    """Words separated by whitespace; decoded texts have single spaces.

    The word ``<unk>``, which published corpora have in place of rare words, is the token of unknown words.
    """

    separator = " "
    unknown_piece = SPECIALS[UNKNOWN]

    @staticmethod
    def split(text: str) -> list[str]:
        return text.split()


class Characters(_PieceTokeniser):
    """Unicode characters, spaces included."""

    @staticmethod
    def split(text: str) -> list[str]:
        return list(text)


_SMILES_PIECE = re.compile(r"\[[^\]]*\]|Br|Cl|%\d\d|.", re.DOTALL)


class Smiles(_PieceTokeniser):
    """The atoms and bonds of SMILES (Weininger 1988).

    A bracket atom (``[C@@H]``), ``Br``, ``Cl`` and a two-digit ring number (``%12``) are one token each; any other
    character is a token. Whitespace around a SMILES is no part of it.
    """

    @staticmethod
    def split(text: str) -> list[str]:
        return _SMILES_PIECE.findall(text.strip())
