"""The splits of a run as Lightning asks for them."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as L
import torch

from aeframe.batch import Batch, Clock
from aeframe.data.loader import Loader
from aeframe.data.modality import Source, Splits
from aeframe.data.plan import BatchPlan


class DataModule(L.LightningDataModule):
    """Loaders of the train, validation and test splits, for as many devices as the trainer has.

    The trainer needs ``use_distributed_sampler=False``, since the plan shares rows out already, and
    ``reload_dataloaders_every_n_epochs=1``, so that it learns how long each epoch is; the loaders themselves, and
    their workers, are made once.

    Args:
        splits: As `Modality.prepare` gives them.
        batch_size: Samples in a batch, over all devices together.
        seed: Of the order of training.
        clock: Shared with the training module: training goes on where it stands.
        workers: Processes that load each split; data in memory need none.
        steps_per_call: Training batches in one call of the trainer.
    """

    def __init__(
        self,
        splits: Splits,
        *,
        batch_size: int,
        seed: int,
        clock: Clock,
        workers: int = 0,
        steps_per_call: int = 1,
    ) -> None:
        super().__init__()
        self.splits = splits
        self.batch_size, self.seed = batch_size, seed
        self.clock = clock
        self.workers, self.steps_per_call = workers, steps_per_call
        self._loaders: dict[tuple[str, int, int], Loader] = {}

    def batches_per_epoch(self, world: int = 1) -> int:
        """Return how many training batches an epoch has when `world` devices share them.

        Raises:
            AeframeError: A batch size that does not go with the data or the devices.
        """
        return len(self._plan(self.splits.train, training=True, rank=0, world=world))

    def train_dataloader(self) -> Loader:
        return self._loader("train", self.splits.train)

    def val_dataloader(self) -> Loader:
        return self._loader("validation", self.splits.validation)

    def test_dataloader(self) -> Loader:
        return self._loader("test", self.splits.test)

    def predict_dataloader(self) -> Loader:
        """Return the test split, in order."""
        return self._loader("test", self.splits.test)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Move a batch, or the several of one call."""
        if isinstance(batch, Batch):
            return batch.to(device, non_blocking=True)
        return [each.to(device, non_blocking=True) for each in batch]

    def _loader(self, split: str, source: Source) -> Loader:
        trainer = self.trainer
        rank, world = (trainer.global_rank, trainer.world_size) if trainer is not None else (0, 1)
        key = split, rank, world
        if key not in self._loaders:
            training = split == "train"
            self._loaders[key] = Loader(
                source,
                self._plan(source, training=training, rank=rank, world=world),
                clock=self.clock if training else None,
                steps_per_call=self.steps_per_call if training else 1,
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
            # A source that reads some orders faster than others, or batches of like samples, says so.
            order=getattr(source, "order", None),
            groups=getattr(source, "groups", None),
        )
