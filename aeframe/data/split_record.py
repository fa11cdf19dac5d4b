"""Which samples each split of a dataset has, kept so that a later command uses the same ones."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from aeframe.errors import AeframeError

SPLITS = ("train", "validation", "test")


class SplitRecord:
    """The keys of the samples of each split, of this run or of an earlier one.

    A key is a whole number that identifies a sample: its row in the file, or `keys_of_names` of its name. The function
    that splits a dataset calls `places`, which stores the keys in `drawn`. With `saved`, it returns the split of an
    earlier run in place of a new draw: samples that were added since are in no split.
    """

    def __init__(self) -> None:
        self.saved: Mapping[str, Tensor] | None = None
        """``(n,)`` int64 keys of each split, as an earlier run stored them."""
        self.drawn: dict[str, Tensor] = {}
        """The same of this run; empty before `Dataset.load`, and for a dataset that has a fixed split."""
        self.num_samples = 0
        """Samples that the data have, in a split or not."""

    def places(
        self, who: str, keys: Mapping[str, Tensor], draw: Callable[[], Mapping[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Return which samples each split has, as places ``(n,)`` in ascending order.

        Places count the samples that the data have for this split, and those of ``train`` where they have none for it.

        Args:
            who: The dataset, for messages.
            keys: Keys ``(N,)`` of the samples of each split that the data come with: at least ``train``.
            draw: Returns the places in ``train`` of each split that is drawn from it, ``train`` among them. Not called
                with `saved`.

        Raises:
            AeframeError: With `saved`, a sample that is not in the data any more.
        """
        self.num_samples = sum(len(each) for each in keys.values())
        if self.saved is None:
            found = {split: torch.arange(len(own)) for split, own in keys.items()} | dict(draw())
        else:
            found = {split: self._saved_places(who, split, keys.get(split, keys["train"])) for split in SPLITS}
        self.drawn = {split: keys.get(split, keys["train"])[places] for split, places in found.items()}
        return found

    def _saved_places(self, who: str, split: str, keys: Tensor) -> Tensor:
        assert self.saved is not None
        wanted = self.saved[split]
        ordered, order = keys.sort()
        at = torch.searchsorted(ordered, wanted).clamp(max=max(len(keys) - 1, 0))
        missing = len(wanted) if not len(keys) else int((ordered[at] != wanted).sum())
        if missing:
            then = sum(len(each) for each in self.saved.values())
            raise AeframeError(
                f"{who} lacks {missing} of the {len(wanted)} samples of the {split} split that the run was trained "
                f"with ({then} samples then, {self.num_samples} now); give the data of that run with --data PATH, or "
                "train a new model"
            )
        return order[at].sort().values


def keys_of_names(names: Iterable[str]) -> Tensor:
    """Return a key ``(N,)`` for each name: the first 8 bytes of its BLAKE2b hash, as int64."""
    digests = [hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest() for name in names]
    return torch.tensor([int.from_bytes(each, "big", signed=True) for each in digests], dtype=torch.int64)
