"""`SplitRecord`: the samples of each split, saved with a run so that later commands use the same split."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from aeframe.errors import AeframeError

SPLITS = ("train", "validation", "test")


class SplitRecord:
    """The keys of the samples of each split.

    A key is an integer that identifies a sample: its row in the file, or `keys_of_names` of its name. Functions that
    draw a split call `indices`, which stores the keys of the split. If `saved` is set, `indices` returns the split of
    an earlier run instead of drawing a new one; samples added since then are in no split.
    """

    def __init__(self) -> None:
        self.saved: Mapping[str, Tensor] | None = None
        """Keys ``(n,)`` int64 of each split of an earlier run."""
        self.keys: dict[str, Tensor] = {}
        """Keys ``(n,)`` of each split of this run; empty before `Dataset.load`, and for datasets with fixed splits."""
        self.num_samples = 0
        """Number of samples of the dataset, in a split or not."""

    def indices(
        self, who: str, keys: Mapping[str, Tensor], draw: Callable[[], Mapping[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Return the indices ``(n,)`` of the samples of each split, ascending.

        The indices of a split refer to the samples that the dataset has for it. If the dataset has none, they refer to
        the samples of ``train``.

        Args:
            who: The dataset, for error messages.
            keys: Keys ``(N,)`` of the samples of each split that the dataset has: at least ``train``.
            draw: Returns the indices into ``train`` of each split that is drawn from it, ``train`` included. Not called
                if `saved` is set.

        Raises:
            AeframeError: A sample of the saved split is missing.
        """
        self.num_samples = sum(len(split_keys) for split_keys in keys.values())
        if self.saved is None:
            indices = {split: torch.arange(len(split_keys)) for split, split_keys in keys.items()} | dict(draw())
        else:
            indices = {split: self._saved_indices(who, split, keys.get(split, keys["train"])) for split in SPLITS}
        self.keys = {split: keys.get(split, keys["train"])[index] for split, index in indices.items()}
        return indices

    def _saved_indices(self, who: str, split: str, keys: Tensor) -> Tensor:
        """Return the indices, ascending, of the samples among `keys` that are in the saved split."""
        assert self.saved is not None
        saved_keys = self.saved[split]
        sorted_keys, order = keys.sort()
        position = torch.searchsorted(sorted_keys, saved_keys).clamp(max=max(len(keys) - 1, 0))
        num_missing = len(saved_keys) if not len(keys) else int((sorted_keys[position] != saved_keys).sum())
        if num_missing:
            num_then = sum(len(split_keys) for split_keys in self.saved.values())
            raise AeframeError(
                f"{who} lacks {num_missing} of the {len(saved_keys)} samples of the {split} split that the run was "
                f"trained with ({num_then} samples then, {self.num_samples} now); pass the data of that run with "
                "--data PATH, or train a new model"
            )
        return order[position].sort().values


def keys_of_names(names: Iterable[str]) -> Tensor:
    """Return a key ``(N,)`` for each name: the first 8 bytes of its BLAKE2b hash, as int64."""
    digests = [hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest() for name in names]
    return torch.tensor([int.from_bytes(digest, "big", signed=True) for digest in digests], dtype=torch.int64)
