"""`Encoded`: the token ids of texts, appended one text at a time and stored in little memory."""

from __future__ import annotations

import tempfile
import weakref
from array import array
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe_text.specials import END, UNKNOWN
from aeframe_text.texts import Line, Origin

MAX_IN_MEMORY = 1 << 26
"""Tokens that are kept in memory, 256 MiB; more are in a temporary file."""


class Encoded:
    """The encoded usable texts of a split or file, whose names are made when they are needed."""

    def __init__(self) -> None:
        self._tokens = array("i")
        self._file: Any = None
        self._num_in_file = 0
        self.lengths = array("q")
        """The number of tokens of each text, end tokens included."""
        self.numbers = array("q")
        """The position of each text, unusable ones included."""
        self.words = array("q")
        """The number of words of each text, plus one for the end."""
        self.labels = array("q")
        """The class index of each text; -1 without label."""
        self.num_unknown = 0
        """Tokens that are not in the vocabulary."""
        self.num_cut = 0
        """Texts that were cut."""
        self.has_names = False
        """Whether any text has a name."""
        self._origins: list[Origin] = []
        self._origin_numbers: dict[Origin, int] = {}
        self._origin_of, self._line_numbers = array("q"), array("q")
        self._own_names: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def num_tokens(self) -> int:
        """The number of tokens of all texts, end tokens included."""
        return self._num_in_file + len(self._tokens)

    def append(self, line: Line, row: Sequence[int], *, number: int, words: int, label: int) -> None:
        """Append a text.

        Args:
            line: Its origin and name.
            row: Its token ids, end token included.
            number: Its position, unusable texts included.
            words: Its number of words, plus one for the end.
            label: Its class index.
        """
        origin = self._origin_numbers.setdefault(line.origin, len(self._origins))
        if origin == len(self._origins):
            self._origins.append(line.origin)
        if line.own_name is not None:
            self._own_names[len(self)] = line.own_name
        self.has_names = self.has_names or line.own_name is not None or line.origin.name is not None
        self._origin_of.append(origin)
        self._line_numbers.append(-1 if line.number is None else line.number)
        self._tokens.extend(row)
        self.lengths.append(len(row))
        self.numbers.append(number)
        self.words.append(words)
        self.labels.append(label)
        self.num_unknown += row.count(UNKNOWN)
        if len(self._tokens) > MAX_IN_MEMORY:
            self._spill()

    def tokens(self) -> Tensor:
        """Return the tokens of all texts ``(total,)``, int32, from memory or mapped from the temporary file."""
        if self._file is not None:
            self._spill()
            return torch.from_numpy(np.memmap(self._file, np.int32, "r+", shape=(self._num_in_file,)))
        return torch.from_numpy(np.frombuffer(self._tokens, np.int32)) if self._tokens else torch.zeros(0).int()

    def line(self, row: int) -> Line:
        """Return origin, number and name of a text, without the text."""
        number = self._line_numbers[row]
        origin = self._origins[self._origin_of[row]]
        return Line("", origin, None if number < 0 else number, own_name=self._own_names.get(row))

    def names(self, index: NDArray[np.int64]) -> NDArray[Any]:
        """Return the names ``(n,)`` of the texts `index` ``(n,)``; empty for a text without name."""
        return np.array([self.line(row).name or "" for row in index.tolist()], dtype=np.str_)

    def limited(self, length: int, count_words: Callable[[Sequence[int]], int] | None) -> Encoded:
        """Return these texts with at most `length` tokens each.

        Args:
            length: The largest number of tokens, the end token included.
            count_words: Returns the number of words of a text that was cut, from its tokens without the end token. None
                leaves longer texts out.
        """
        result, tokens, start = Encoded(), self.tokens(), 0
        for row, num in enumerate(self.lengths):
            ids = tokens[start : start + min(num, length)].tolist()
            start += num
            words = self.words[row]
            if num > length:
                if count_words is None:
                    continue
                ids[-1] = END
                words = count_words(ids[:-1]) + 1
                result.num_cut += 1
            result.append(self.line(row), ids, number=self.numbers[row], words=words, label=self.labels[row])
        return result

    def _spill(self) -> None:
        """Move the tokens in memory to the temporary file."""
        if self._file is None:
            # The tensor that `tokens` returns maps it, also after it is closed.
            self._file = tempfile.TemporaryFile()  # noqa: SIM115
            weakref.finalize(self, self._file.close)
        self._tokens.tofile(self._file)
        self._file.flush()
        self._num_in_file += len(self._tokens)
        self._tokens = array("i")
