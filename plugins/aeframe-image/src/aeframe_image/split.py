"""The splits that archives and benchmarks come with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

import torch

from aeframe.errors import AeframeError
from aeframe_image.pictures import Stack

Archive = TypeVar("Archive")


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
