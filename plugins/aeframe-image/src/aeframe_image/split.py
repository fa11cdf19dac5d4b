"""Predefined splits: archives named after splits, and benchmarks that validate on their last training images."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

import torch

from aeframe.errors import AeframeError
from aeframe_image.pictures import Stack

Archive = TypeVar("Archive")


def split_by_name(who: str, names: Mapping[Archive, str]) -> dict[str, list[Archive]]:
    """Group archives by the split that their names begin with: ``train``, ``val`` or ``test``.

    If no name begins with one of these, all archives are ``train``.

    Args:
        who: The dataset, for error messages.
        names: The name of each archive.

    Returns:
        The archives of each split, at least of ``train``.

    Raises:
        AeframeError: Only some names begin with a split, or none begins with ``train``.
    """
    splits: dict[str, list[Archive]] = {}
    unnamed: list[str] = []
    for archive, name in names.items():
        prefix = re.match(r"(train|val|test)", name.lower())
        if prefix is None:
            unnamed.append(name)
        else:
            splits.setdefault({"val": "validation"}.get(prefix[0], prefix[0]), []).append(archive)
    if not splits:
        return {"train": list(names)}
    if unnamed or "train" not in splits:
        problem = f"'{unnamed[0]}' is not" if unnamed else "none begins with train"
        raise AeframeError(
            f"{who} has archives named after splits, but {problem}; begin every name with train, val or test"
        )
    return splits


def split_off_last(train: Stack, num: int) -> tuple[Stack, Stack]:
    """Return a training set without its last `num` images, and these images, in the original order."""
    cut = len(train) - num
    return train.rows(torch.arange(cut)), train.rows(torch.arange(cut, len(train)))
