"""The three splits of a run, from those that the data come with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, Self, TypeVar

import torch
from torch import Tensor

from aeframe.data.split_record import SPLITS, SplitRecord
from aeframe.errors import AeframeError


class Divisible(Protocol):
    """Samples of which some can be taken."""

    def __len__(self) -> int: ...

    def rows(self, index: Tensor) -> Self:
        """Return those at the places `index` ``(n,)``."""
        ...


Samples = TypeVar("Samples", bound=Divisible)


class RandomSplit:
    """Fractions of the training samples that become the validation and the test split where the data have none.

    They are drawn without replacement and by `seed`, so that the same options give the same split everywhere, and stay
    in the order they had. A share is never empty, however few the samples.

    Args:
        who: The dataset, for messages.
        what: What its samples are, for messages: ``images``.
        validation: Fraction above 0.
        test: Fraction above 0, less than what `validation` leaves.
        seed: Of the draw.

    Raises:
        AeframeError: Fractions that leave nothing to train on.
    """

    def __init__(self, who: str, what: str, *, validation: float, test: float, seed: int) -> None:
        if not (validation > 0 and test > 0 and validation + test < 1):
            raise AeframeError(
                f"{who} needs shares validation > 0 and test > 0 that leave something to train on, "
                f"found {validation} and {test}"
            )
        self.who, self.what, self.seed = who, what, seed
        self.fractions = {"validation": validation, "test": test}

    def complete(
        self,
        present: Mapping[str, Samples],
        record: SplitRecord | None = None,
        keys: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Samples]:
        """Return the three splits.

        Args:
            present: The samples of each split that the data come with: at least ``train``.
            record: `Dataset.split_record`, which stores the split, or returns that of an earlier run.
            keys: For `record`, a key of each sample (see `SplitRecord`), by split; by default its place in `present`.

        Raises:
            AeframeError: Too few samples to make three splits; with `record`, samples that are missing.
        """
        if keys is None:
            keys = {split: torch.arange(len(samples)) for split, samples in present.items()}
        record = SplitRecord() if record is None else record
        places = record.indices(self.who, keys, lambda: self._drawn(present))
        return {split: _taken(present.get(split, present["train"]), places[split]) for split in SPLITS}

    def _drawn(self, present: Mapping[str, Samples]) -> dict[str, Tensor]:
        num = len(present["train"])
        taken = {name: max(1, round(share * num)) for name, share in self.fractions.items() if name not in present}
        if num <= sum(taken.values()):
            raise AeframeError(
                f"{self.who} has {num} {self.what} for {len(taken) + 1} splits "
                f"({', '.join(['train', *taken])}), expected at least {len(taken) + 1}; add {self.what}"
            )
        order = torch.randperm(num, generator=torch.Generator().manual_seed(self.seed))
        places = {}
        for name, size in taken.items():
            places[name], order = order[:size].sort().values, order[size:]
        return {**places, "train": order.sort().values}


def _taken(samples: Samples, places: Tensor) -> Samples:
    """Return the samples at `places`, which ascend; the same object where these are all."""
    return samples if len(places) == len(samples) else samples.rows(places)


__all__ = ["SPLITS", "Divisible", "RandomSplit"]
