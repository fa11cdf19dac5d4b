"""`RandomSplit`: draws the validation and the test split from the training samples, for datasets that lack them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.data.split_record import SPLITS, SplitRecord
from aeframe.errors import AeframeError

_MIN_TRAINING = 2
"""Training samples that must remain: a batch has at least two."""


class Indexable(Protocol):
    """Samples that can be selected by index."""

    def __len__(self) -> int: ...

    def rows(self, index: Tensor) -> Self:
        """Return the samples at `index` ``(n,)``."""
        ...


Samples = TypeVar("Samples", bound=Indexable)


class RandomSplit:
    """A random split of samples into train, validation and test.

    A held-out split of N samples has ``round(fraction * N)`` of them (half to even), at least one. They are drawn
    without replacement from the training samples, and keep their order. The split is a function of `seed`, the
    fractions and N.

    Args:
        who: The dataset, for error messages.
        what: Plural of the word for a sample, for error messages: ``images``.
        validation: Fraction of the training samples, above 0.
        test: Fraction of the training samples, above 0; the sum of both fractions is below 1.
        seed: Seed of the draw.

    Raises:
        AeframeError: A fraction is out of range.
    """

    def __init__(self, who: str, what: str, *, validation: float, test: float, seed: int) -> None:
        if not (validation > 0 and test > 0 and validation + test < 1):
            raise AeframeError(
                f"{who} needs fractions validation and test above 0 with a sum below 1, "
                f"found validation={validation:g} and test={test:g}"
            )
        self.who, self.what, self.seed = who, what, seed
        self.fractions = {"validation": validation, "test": test}

    def indices(
        self, keys: Mapping[str, Tensor], record: SplitRecord | None = None, *, groups: NDArray[Any] | None = None
    ) -> dict[str, Tensor]:
        """Return the indices ``(n,)`` of the samples of each split, ascending.

        The indices of a split refer to the samples that the dataset has for it. If the dataset has none, the split is
        drawn from ``train``, and they refer to the samples of ``train``.

        Args:
            keys: Keys ``(N,)`` of the samples of each split that the dataset has (see `SplitRecord`): at least
                ``train``. Missing splits are drawn from it.
            record: `Dataset.split_record`, which stores the drawn split, or returns that of an earlier run.
            groups: The group ``(N,)`` of each sample of ``train``. All samples of a group are then in the same split,
                and the fractions are those of the groups.

        Raises:
            AeframeError: A drawn split leaves fewer than two training samples, or samples of the earlier run are
                missing.
        """
        record = SplitRecord() if record is None else record
        missing = [split for split in self.fractions if split not in keys]

        def draw() -> dict[str, Tensor]:
            if groups is not None and missing:
                return self._draw_groups(groups, missing)
            return self._draw(len(keys["train"]), missing) if missing else {}

        return record.indices(self.who, keys, draw)

    def complete(
        self,
        present: Mapping[str, Samples],
        record: SplitRecord | None = None,
        keys: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Samples]:
        """Return the samples of the three splits.

        Args:
            present: The samples of each split that the dataset has: at least ``train``.
            record: As in `indices`.
            keys: As in `indices`; by default the indices of the samples.

        Raises:
            AeframeError: As in `indices`.
        """
        if keys is None:
            keys = {split: torch.arange(len(samples)) for split, samples in present.items()}
        indices = self.indices(keys, record)
        return {split: _select(present.get(split, present["train"]), indices[split]) for split in SPLITS}

    def _draw(self, num: int, splits: list[str], *, what: str | None = None) -> dict[str, Tensor]:
        """Draw the indices of `splits` and of the remaining ``train`` from `num` samples, which `what` names."""
        what = self.what if what is None else what
        sizes = {split: max(1, round(self.fractions[split] * num)) for split in splits}
        num_left = num - sum(sizes.values())
        if num_left < _MIN_TRAINING:
            held_out = " and ".join(f"{size} for {split}" for split, size in sizes.items())
            raise AeframeError(
                f"{self.who} has too few {what}, {num}: {held_out} leave {max(num_left, 0)} for training, which "
                f"needs at least {_MIN_TRAINING}; add {what}, or lower {' and '.join(splits)}"
            )
        order = torch.randperm(num, generator=torch.Generator().manual_seed(self.seed))
        *held_out_parts, training = order.split([*sizes.values(), num_left])
        parts = zip((*splits, "train"), (*held_out_parts, training), strict=True)
        return {split: part.sort().values for split, part in parts}

    def _draw_groups(self, groups: NDArray[Any], splits: list[str]) -> dict[str, Tensor]:
        """Draw whole groups for `splits` and the remaining ``train``, and return the indices of their samples."""
        names, group_of_sample = np.unique(groups.astype(str), return_inverse=True)
        drawn = self._draw(len(names), splits, what="groups")
        return {
            split: torch.from_numpy(np.flatnonzero(np.isin(group_of_sample, part.numpy())))
            for split, part in drawn.items()
        }


def _select(samples: Samples, index: Tensor) -> Samples:
    """Return the samples at `index`, which ascends; the same object if these are all."""
    return samples if len(index) == len(samples) else samples.rows(index)


__all__ = ["SPLITS", "Indexable", "RandomSplit"]
