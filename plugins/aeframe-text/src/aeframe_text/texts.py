"""Texts before tokenisation: their origin, problem and label, and their splits."""

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
    """One text of a dataset, usable or not."""

    text: str
    where: str
    """The origin, for messages: ``'train.txt', line 3``."""
    problem: str | None = None
    """Why the text cannot be used, for messages: ``is empty``; None for a usable text."""
    label: str | None = None


@dataclass(frozen=True, slots=True)
class TextSplits:
    """The raw splits that a dataset of modality ``text`` loads."""

    train: Sequence[Line]
    validation: Sequence[Line]
    test: Sequence[Line]
    column: str = field(default="text", kw_only=True)
    """The JSON key or column that holds the text; a trained model reads and writes files with the same one."""


def share_out(
    present: Mapping[str, Sequence[Line]],
    fractions: dict[str, float],
    seed: int,
    origin: str,
    record: SplitRecord | None = None,
) -> dict[str, Sequence[Line]]:
    """Return the three splits, each in file order; splits missing from `present` are random subsets of ``train``.

    Args:
        present: The texts of each split that the data define: at least ``train``.
        fractions: The fraction of the training texts for each missing split.
        seed: Of the random split.
        origin: The dataset, for messages.
        record: `Dataset.split_record`, which stores the split, or returns that of an earlier run.

    Raises:
        AeframeError: A fraction outside (0, 1), too few texts, or texts of a recorded split that are missing.
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
