"""The three splits of a run, from those that the data come with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import torch

from aeframe.errors import AeframeError
from aeframe_audio.recordings import SPLITS, Files, Waves

Sounds = TypeVar("Sounds", Waves, Files)


class Shares:
    """Fractions of the training sounds that become the validation and the test split where the data have none.

    They are drawn by `seed`, whole sounds each, so that no part of a sound is in two splits.
    """

    def __init__(self, who: str, *, validation: float, test: float, seed: int) -> None:
        if not (validation > 0 and test > 0 and validation + test < 1):
            raise AeframeError(
                f"{who} needs shares validation > 0 and test > 0 that leave something to train on, "
                f"found {validation} and {test}"
            )
        self.who, self.seed = who, seed
        self.fractions = {"validation": validation, "test": test}

    def complete(self, present: Mapping[str, Sounds]) -> dict[str, Sounds]:
        """Return the three splits; `present` holds at least ``train``.

        Raises:
            AeframeError: Too few sounds to make three splits.
        """
        train = present["train"]
        taken: dict[str, int] = {
            name: max(1, round(share * len(train))) for name, share in self.fractions.items() if name not in present
        }
        if len(train) <= sum(taken.values()):
            raise AeframeError(
                f"{self.who} has {len(train)} sounds for {len(taken) + 1} splits ({', '.join(['train', *taken])}), "
                f"expected at least {len(taken) + 1}; add some"
            )
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(self.seed))
        splits = dict(present)
        for name, num in taken.items():
            splits[name], order = train.rows(order[:num].sort().values), order[num:]
        splits["train"] = train.rows(order.sort().values) if taken else train
        return {name: splits[name] for name in SPLITS}
