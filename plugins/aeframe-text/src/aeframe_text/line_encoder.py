"""`LineEncoder`: texts to tokens, with what is wrong with each text that cannot be used."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from aeframe.errors import AeframeError
from aeframe.model_store.inputs import FarFromTrainingWarning
from aeframe_text.files import SMILES_HEADERS
from aeframe_text.specials import END, SPECIALS, UNKNOWN
from aeframe_text.texts import Line
from aeframe_text.tokenisers import Smiles, Tokeniser
from aeframe_text.tokens import Encoded

TooLong = Literal["refuse", "cut"]
Unknown = Literal["token", "refuse"]


@dataclass(frozen=True, slots=True)
class LineEncoder:
    """Encodes lines with a vocabulary; see the options of modality `Text`."""

    vocabulary: Tokeniser
    width: int
    """T; 0 has no limit."""
    too_long: TooLong
    unknown: Unknown
    labels: tuple[str, ...] | None
    is_trained: bool
    """Whether a trained model encodes: its options can no longer be set, so that errors must not name them."""

    def encode(
        self, lines: Iterable[Line], skipped: list[str] | None, *, next_step: str, warn: bool = False
    ) -> Encoded:
        """Return the encoded usable lines, which are read once.

        Args:
            lines: The lines to encode.
            skipped: Receives a message for each unusable line; None makes the first one an error.
            next_step: The next step in that error.
            warn: Warn if more than half of the tokens are unknown: the codes of such texts say little.

        Raises:
            AeframeError: A line is unusable, and `skipped` is None.
        """
        encoded = Encoded()
        unknown: str | None = None
        codes = {name: code for code, name in enumerate(self.labels or ())}
        for number, line in enumerate(lines):
            problem = problem_for(line, type(self.vocabulary))
            row = [] if problem else [*self.vocabulary.encode(line.text), END]
            problem = problem or self._problem(line, row)
            if problem is not None:
                if skipped is None:
                    raise AeframeError(f"{line.where} {problem}; {next_step}")
                skipped.append(f"{line.where} {problem}")
                continue
            words = len(line.text.split()) + 1
            # Samples in memory have codes.
            label = line.label if isinstance(line.label, int) else codes.get(line.label or "", -1)
            if len(row) > self.width > 0:
                row = [*row[: self.width - 1], END]
                words = self.count_words(row[:-1]) + 1
                encoded.num_cut += 1
            encoded.append(line, row, number=number, words=words, label=label)
            if warn and unknown is None and UNKNOWN in row:
                unknown = self.vocabulary.unknown(line.text)
        num = encoded.num_tokens - len(encoded)
        if unknown is not None and 2 * encoded.num_unknown > num:
            warnings.warn(
                f"modality text: {encoded.num_unknown} of {num} tokens are not in the vocabulary of the training "
                f"texts, such as '{unknown}'; check that the texts are of the same kind",
                FarFromTrainingWarning,
                stacklevel=5,
            )
        return encoded

    def count_words(self, tokens: Sequence[int]) -> int:
        """Return the number of words of a text that was cut, from its tokens without the end token."""
        return len(self.vocabulary.decode(tokens).split())

    def _problem(self, line: Line, row: Sequence[int]) -> str | None:
        """Return why a line with the tokens `row` cannot be used, or None."""
        if self.unknown == "refuse":
            unknown_piece = self.vocabulary.unknown(line.text)
            if unknown_piece is not None:
                option = "--option unknown=token" if self.is_trained else "modality.unknown=token"
                remedy = f" ({option} replaces it by {SPECIALS[UNKNOWN]})"
                return f"has '{unknown_piece}', which is not in the vocabulary{remedy}"
        if self.too_long == "refuse" and 0 < self.width < len(row):
            return length_problem(len(row), self.width, is_trained=self.is_trained)
        return None


def problem_for(line: Line, tokeniser: type[Tokeniser]) -> str | None:
    """Return why a line cannot be used with a tokeniser, whatever its vocabulary; None for a usable one."""
    if line.problem is not None or tokeniser is not Smiles:
        return line.problem
    first, *rest = line.text.split()
    if first.lower() in SMILES_HEADERS:
        return f"is '{first}', the name of a column and no molecule"
    return f"has whitespace after '{first}', expected one SMILES (.smi files may have names)" if rest else None


def length_problem(num: int, width: int, *, is_trained: bool) -> str:
    """Return why a text of `num` tokens cannot be used."""
    option = "--option too_long=cut" if is_trained else "modality.too_long=cut"
    return f"has {num} tokens, end token included, and at most {width} fit ({option} truncates it)"
