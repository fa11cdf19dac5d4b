"""Texts before they are tokens: each with its place in its file, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

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


def share_out(lines: Sequence[Line], fractions: dict[str, float], seed: int, origin: str) -> list[list[Line]]:
    """Take fractions of the lines, drawn at random; return the rest and then each share, in the order of the file.

    Raises:
        AeframeError: A fraction that is none, or that leaves nothing.
    """
    counts = []
    for name, fraction in fractions.items():
        if not 0 < fraction < 1:
            raise AeframeError(f"data.{name}={fraction:g} is a fraction of the texts and must lie between 0 and 1")
        counts.append(round(fraction * len(lines)))
    left = len(lines) - sum(counts)
    if left < 2 or 0 in counts:
        wanted = " and ".join(f"{name}={fraction:g}" for name, fraction in fractions.items())
        raise AeframeError(
            f"{origin} has {len(lines)} texts, too few to set aside {wanted} of them and leave two; "
            "add texts, or change the fractions"
        )
    with noise_of(torch.device("cpu"), seed, SPLITTING):
        order: list[int] = torch.randperm(len(lines)).tolist()
    shares, start = [], 0
    for count in (left, *counts):
        shares.append([lines[row] for row in sorted(order[start : start + count])])
        start += count
    return shares
