"""The three splits of a run, from those that the data come with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe_image.pictures import SPLITS, Files, Stack

Pictures = TypeVar("Pictures", Stack, Files)
Archive = TypeVar("Archive")


class Shares:
    """Fractions of the training images that become the validation and the test split where the data have none.

    They are drawn without replacement and by `seed`, so that the same options give the same split everywhere.
    """

    def __init__(self, who: str, *, validation: float, test: float, seed: int) -> None:
        if not (validation > 0 and test > 0 and validation + test < 1):
            raise AeframeError(
                f"{who} needs shares validation > 0 and test > 0 that leave something to train on, "
                f"found {validation} and {test}"
            )
        self.who, self.seed = who, seed
        self.fractions = {"validation": validation, "test": test}

    def complete(self, present: Mapping[str, Pictures]) -> dict[str, Pictures]:
        """Return the three splits; `present` holds at least ``train``.

        Raises:
            AeframeError: Too few images to make three splits.
        """
        train = present["train"]
        taken: dict[str, int] = {
            name: max(1, round(share * len(train))) for name, share in self.fractions.items() if name not in present
        }
        if len(train) <= sum(taken.values()):
            raise AeframeError(
                f"{self.who} has {len(train)} images for {len(taken) + 1} splits ({', '.join(['train', *taken])}), "
                f"expected at least {len(taken) + 1}; add images"
            )
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(self.seed))
        splits = dict(present)
        for name, num in taken.items():
            splits[name] = train.rows(_sorted(order[:num]))
            order = order[num:]
        splits["train"] = train.rows(_sorted(order)) if taken else train
        return {name: splits[name] for name in SPLITS}


def split_by_name(who: str, names: Mapping[Archive, str]) -> dict[str, list[Archive]]:
    """Sort archives into splits by the word that each name begins with: at least ``train``.

    Where no name begins with a split's word, all of them are ``train``.

    Args:
        who: For messages.
        names: The name of each archive.

    Raises:
        AeframeError: Some are named after a split and others are not, or none is for training.
    """
    found: dict[str, list[Archive]] = {}
    stray: list[str] = []
    for part, name in names.items():
        word = re.match(r"(train|val|test)", name.lower())
        if word is None:
            stray.append(name)
        else:
            found.setdefault({"val": "validation"}.get(word[0], word[0]), []).append(part)
    if not found:
        return {"train": list(names)}
    if stray or "train" not in found:
        others = f"'{stray[0]}' with none" if stray else "none that begins with train"
        raise AeframeError(
            f"{who} has archives named after splits, and {others}; begin every name with train, val or test"
        )
    return found


def last(train: Stack, num: int) -> tuple[Stack, Stack]:
    """Cut the last `num` images off a training set, as the official validation split of several benchmarks is."""
    cut = len(train) - num
    return train.rows(torch.arange(cut)), train.rows(torch.arange(cut, len(train)))


def _sorted(index: Tensor) -> Tensor:
    return index.sort().values
