"""The three splits of a run, from those that the data come with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, Self, TypeVar

import torch
from torch import Tensor

from aeframe.errors import AeframeError

SPLITS = ("train", "validation", "test")


class Divisible(Protocol):
    """Samples of which some can be taken."""

    def __len__(self) -> int: ...

    def rows(self, index: Tensor) -> Self:
        """Return those at the places `index` ``(n,)``."""
        ...


Samples = TypeVar("Samples", bound=Divisible)


class Shares:
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

    def complete(self, present: Mapping[str, Samples]) -> dict[str, Samples]:
        """Return the three splits; `present` holds at least ``train``.

        Raises:
            AeframeError: Too few samples to make three splits.
        """
        train, splits = present["train"], dict(present)
        taken = {
            name: max(1, round(share * len(train))) for name, share in self.fractions.items() if name not in present
        }
        if len(train) <= sum(taken.values()):
            raise AeframeError(
                f"{self.who} has {len(train)} {self.what} for {len(taken) + 1} splits "
                f"({', '.join(['train', *taken])}), expected at least {len(taken) + 1}; add {self.what}"
            )
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(self.seed))
        for name, num in taken.items():
            splits[name], order = train.rows(order[:num].sort().values), order[num:]
        splits["train"] = train.rows(order.sort().values) if taken else train
        return {name: splits[name] for name in SPLITS}
