"""Texts before they are tokens: each with its place in its file, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from aeframe.data.split_record import SPLITS, SplitRecord
from aeframe.errors import AeframeError
from aeframe.noise import SPLITTING, noise_of


@dataclass(frozen=True, slots=True)
class Line:
    """One text of a file."""

    text: str
    where: str
    """``'train.txt', line 3``: what a sentence about it begins with."""
    problem: str | None = None
    """What is wrong with it, where it cannot be used: ``is empty``."""
    label: str | None = None


@dataclass(frozen=True, slots=True)
class TextSplits:
    """What the modality ``text`` prepares."""

    train: Sequence[Line]
    validation: Sequence[Line]
    test: Sequence[Line]
    column: str = field(default="text", kw_only=True)
    """What they stand under in JSONL, CSV and TSV; files that a model reads and writes later have it too."""


def share_out(
    present: Mapping[str, Sequence[Line]],
    fractions: dict[str, float],
    seed: int,
    origin: str,
    record: SplitRecord | None = None,
) -> dict[str, Sequence[Line]]:
    """Return the three splits, in the order of the file: those that are not in `present` are drawn from ``train``.

    Args:
        present: The texts of each split that the data come with: at least ``train``.
        fractions: Of the training texts, for each split.
        seed: Of the draw.
        origin: The data, for messages.
        record: `Dataset.split_record`, which stores the split, or returns that of an earlier run.

    Raises:
        AeframeError: A fraction that is none, or that leaves nothing; with `record`, texts that are missing.
    """
    keys = {name: torch.arange(len(lines)) for name, lines in present.items()}
    drawn = {name: fraction for name, fraction in fractions.items() if name not in present}
    record = SplitRecord() if record is None else record
    places = record.indices(origin, keys, lambda: _drawn(len(present["train"]), drawn, seed, origin))
    shares: dict[str, Sequence[Line]] = {}
    for name in SPLITS:
        lines = present.get(name, present["train"])
        shares[name] = [lines[row] for row in places[name].tolist()]
    return shares


def _drawn(num: int, fractions: dict[str, float], seed: int, origin: str) -> dict[str, Tensor]:
    if not fractions:
        return {}
    counts = []
    for name, fraction in fractions.items():
        if not 0 < fraction < 1:
            raise AeframeError(f"data.{name}={fraction:g} is a fraction of the texts and must lie between 0 and 1")
        counts.append(round(fraction * num))
    left = num - sum(counts)
    if left < 2 or 0 in counts:
        wanted = " and ".join(f"{name}={fraction:g}" for name, fraction in fractions.items())
        raise AeframeError(
            f"{origin} has {num} texts, too few to set aside {wanted} of them and leave two; "
            "add texts, or change the fractions"
        )
    with noise_of(torch.device("cpu"), seed, SPLITTING):
        order = torch.randperm(num)
    parts = order.split([left, *counts])
    return {name: part.sort().values for name, part in zip(("train", *fractions), parts, strict=True)}
