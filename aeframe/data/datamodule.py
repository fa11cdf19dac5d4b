"""`DataModule`: the splits of a run as a `LightningDataModule`."""

from __future__ import annotations

from typing import Any, Literal

import lightning.pytorch as L
import torch

from aeframe.data.grouping import batches_per_call
from aeframe.data.loader import Loader
from aeframe.data.modality import Source, Splits
from aeframe.data.plan import BatchPlan
from aeframe.types import Batch


class DataModule(L.LightningDataModule):
    """Loaders of the train, validation and test split, for any Trainer on any number of devices.

    `BatchPlan` chooses the rows of each batch and distributes them over devices; Lightning's distributed sampler is not
    used.

    Args:
        splits: What `Modality.prepare` returned.
        batch_size: Samples in a batch, over all devices.
        seed: Seed of the order of training samples.
        workers: Worker processes for each split; not used for data in memory.
        steps_per_call: Training batches in one call of ``training_step``; ``auto`` groups batches if no callback,
            module or Trainer setting needs single batches (see `aeframe.data.grouping.batches_per_call`).
    """

    def __init__(
        self,
        splits: Splits,
        *,
        batch_size: int,
        seed: int = 0,
        workers: int = 0,
        steps_per_call: int | Literal["auto"] = "auto",
    ) -> None:
        super().__init__()
        self.splits = splits
        self.batch_size, self.seed = batch_size, seed
        self.workers, self.steps_per_call = workers, steps_per_call
        self._loaders: dict[tuple[str, int, int, int], Loader] = {}

    def batches_per_epoch(self, world_size: int = 1) -> int:
        """Return the number of training batches in an epoch on `world_size` devices.

        Raises:
            AeframeError: The batch size does not fit the data or the number of devices.
        """
        return len(self._plan(self.splits.train, training=True, rank=0, world=world_size))

    def batches_per_call(self) -> int:
        """Return how many training batches each call of ``training_step`` receives in the attached Trainer."""
        return batches_per_call(self.trainer, self.steps_per_call)

    def train_dataloader(self) -> Loader:
        loader = self._loader("train", self.splits.train, self.batches_per_call())
        loader.sampler.same_order = self.trainer is not None and self.trainer.overfit_batches > 0  # type: ignore[attr-defined]
        return loader

    def val_dataloader(self) -> Loader:
        return self._loader("validation", self.splits.validation)

    def test_dataloader(self) -> Loader:
        return self._loader("test", self.splits.test)

    def predict_dataloader(self) -> Loader:
        """Return the loader of the test split."""
        return self._loader("test", self.splits.test)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Copy a batch, or each of a list of batches, to a device without waiting for the copy."""
        if isinstance(batch, Batch):
            return batch.to(device, non_blocking=True)
        if isinstance(batch, list) and all(isinstance(item, Batch) for item in batch):
            return [item.to(device, non_blocking=True) for item in batch]
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def _loader(self, split: str, source: Source, batches_per_item: int = 1) -> Loader:
        """Return the loader of a split; it and its worker processes are created once.

        An item of the loader is a batch, or a list of `batches_per_item` batches if that is above 1.
        """
        trainer = self.trainer
        rank, world = (trainer.global_rank, trainer.world_size) if trainer is not None else (0, 1)
        key = (split, rank, world, batches_per_item)
        if key not in self._loaders:
            self._loaders[key] = Loader(
                source,
                self._plan(source, training=split == "train", rank=rank, world=world),
                batches_per_item=batches_per_item,
                workers=self.workers,
                pin_memory=trainer is not None and trainer.strategy.root_device.type == "cuda",
            )
        return self._loaders[key]

    def _plan(self, source: Source, *, training: bool, rank: int, world: int) -> BatchPlan:
        return BatchPlan(
            len(source),
            self.batch_size,
            seed=self.seed,
            shuffle=training,
            rank=rank,
            world=world,
            # Optional methods of a source, see `Source`.
            epoch_permutation=getattr(source, "epoch_permutation", None),
            batch_indices=getattr(source, "batch_indices", None),
        )
