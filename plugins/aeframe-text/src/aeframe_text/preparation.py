"""Checks and notes of the texts of a run: unusable ones, those out of proportion, unknown words and labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from aeframe.data import OnError
from aeframe.data.notes import Notes
from aeframe.errors import AeframeError
from aeframe_text.line_encoder import LineEncoder, length_problem, problem_for
from aeframe_text.specials import SPECIALS, UNKNOWN
from aeframe_text.texts import Line, TextSplits
from aeframe_text.tokenisers import Tokeniser, Words
from aeframe_text.tokens import Encoded
from aeframe_text.vocabulary_checks import length_limit, usual_length

TRAINING_STEP = "correct or remove it, or set modality.on_error=skip to leave such texts out of training"
"""The next step for an unusable text of a new run."""
_MANY_UNKNOWN = 0.1
"""The fraction of unknown tokens in a held-out split from which a note has their number."""


def splits_of(raw: TextSplits) -> dict[str, Sequence[Line]]:
    """Return the lines of each split."""
    return {"train": raw.train, "validation": raw.validation, "test": raw.test}


def check_lines(lines: Iterable[Line], tokeniser: type[Tokeniser]) -> None:
    """Raise an error for the first unusable line of the first file that has one, if there is any."""
    bad = [line for line in lines if problem_for(line, tokeniser) is not None]
    if bad:
        same_file = [line for line in bad if line.origin.where == bad[0].origin.where]
        first = min(same_file, key=lambda line: line.number or 0)
        raise AeframeError(f"{first.where} {problem_for(first, tokeniser)}; {TRAINING_STEP}")


def limit_lengths(
    raw: TextSplits, encoded: dict[str, Encoded], encoder: LineEncoder, on_error: OnError, skipped: list[str]
) -> dict[str, Encoded]:
    """Return the texts without those that are out of proportion, which are cut or skipped; see `length_limit`.

    Args:
        raw: The texts.
        encoded: Their tokens.
        encoder: What has encoded them, without a limit.
        on_error: ``skip`` leaves long texts out, unless they are cut.
        skipped: Receives a message for each text that is left out.

    Raises:
        AeframeError: There are some, and neither `too_long` nor `on_error` allows it.
    """
    limit = length_limit(encoded["train"].lengths)
    lines = splits_of(raw)
    long = [
        (num, lines[name][split.numbers[row]])
        for name, split in encoded.items()
        for row, num in enumerate(split.lengths)
        if num > limit
    ]
    if not long:
        return encoded
    if encoder.too_long == "cut":
        return {name: split.limited(limit, encoder.count_words) for name, split in encoded.items()}
    if on_error == "raise":
        longest, line = max(long, key=lambda each: each[0])
        num_texts = sum(map(len, encoded.values()))
        unit = ", data.unit=line to read the lines of files" if line.number is None else ""
        usual = usual_length(encoded["train"].lengths)
        raise AeframeError(
            f"modality 'text': {line.where} has {longest:,} tokens, end token included, and 99 % of the training texts "
            f"have at most {usual:,}; texts of more than {limit:,}, here {len(long)} of {num_texts:,}, need "
            f"max_length: set modality.max_length={longest} to pad all texts to this length, modality.too_long=cut to "
            f"cut them{unit}, or modality.on_error=skip to leave them out"
        )
    skipped += [f"{line.where} {length_problem(num, limit, is_trained=False)}" for num, line in long]
    return {name: split.limited(limit, None) for name, split in encoded.items()}


def count_unknown_words(lines: Iterable[Line]) -> int:
    """Return how often texts have the word <unk>, which is the token of unknown words."""
    word = SPECIALS[UNKNOWN]
    return sum(line.text.split().count(word) for line in lines if word in line.text)


def check_not_empty(encoded: Mapping[str, Encoded], skipped: Sequence[str]) -> None:
    """Raise an error if a split has no usable text."""
    for name, split in encoded.items():
        if not len(split):
            first = f", the first: {skipped[0]}" if skipped else ""
            raise AeframeError(
                f"modality 'text' has no usable text for the {name} split, and {len(skipped)} texts were skipped"
                f"{first}; correct them, or add texts"
            )


def add_notes(notes: Notes, raw: TextSplits, encoded: Mapping[str, Encoded], encoder: LineEncoder) -> None:
    """Add notes with the number of texts that were cut, of unknown tokens, and of unknown classes."""
    num_cut, num = sum(split.num_cut for split in encoded.values()), sum(map(len, encoded.values()))
    if num_cut:
        notes.add(f"{num_cut} of {num} texts are cut to {encoder.width} tokens (modality.too_long=cut)")
    lines = splits_of(raw)
    for name in ("validation", "test"):
        split = encoded[name]
        num_tokens = split.num_tokens - len(split)
        is_words = type(encoder.vocabulary) is Words
        num_unknown = split.num_unknown - (count_unknown_words(lines[name]) if is_words else 0)
        if num_unknown > _MANY_UNKNOWN * num_tokens:
            fewer = ", characters fewer" if is_words else ""
            notes.add(
                f"{num_unknown} of {num_tokens} tokens of the {name} texts are not in the vocabulary, and are "
                f"read as {SPECIALS[UNKNOWN]}; modality.tokeniser=bpe has no unknown tokens{fewer}"
            )
        if encoder.labels and raw.label_names is None:
            unknown = [
                line.label for line in lines[name] if line.label is not None and line.label not in encoder.labels
            ]
            if unknown:
                notes.add(
                    f"{len(unknown)} of {len(lines[name])} {name} texts have a label that no training text has, such "
                    f"as '{unknown[0]}'; their label is -1"
                )
