from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch import Tensor, nn

from aeframe.batch import Batch, Clock
from aeframe.data import DataModule, Splits, TensorSource
from aeframe.errors import AeframeError

torch.set_num_threads(1)
# Lightning 2.6 asks torch 2.13 in an old way; that is its own affair.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
]
PER_EPOCH = 7


def splits() -> Splits:
    train, validation, test = (TensorSource(torch.arange(n, dtype=torch.float32)[:, None] + n) for n in (30, 9, 5))
    return Splits(train, validation, test)


class Stepper(L.LightningModule):
    """The least that trains by the clock: manual optimisation, several batches in a call."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.weight = nn.Parameter(torch.zeros(1))
        self.clock = clock
        self.seen: list[tuple[int, list[int]]] = []
        self.validated: list[tuple[int, int]] = []
        self.tested: list[int] = []

    def training_step(self, batches: list[Batch], _: int) -> None:
        for batch in batches:
            assert batch.index is not None
            self.seen.append((self.clock.epoch, batch.index.tolist()))
            optimizer: Any = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward((self.weight - batch.x).square().mean())
            optimizer.step()
            self.clock.tick()
        if self.clock.planned and self.clock.batch >= self.clock.planned:
            self.trainer.should_stop = True

    def on_train_epoch_end(self) -> None:
        if self.clock.batch_in_epoch >= PER_EPOCH:
            self.clock.epoch, self.clock.batch_in_epoch = self.clock.epoch + 1, 0

    def validation_step(self, batch: Batch, _: int) -> None:
        self.validated.append((self.clock.batch, len(batch)))

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        assert batch.index is not None
        self.tested += batch.index.tolist()

    def predict_step(self, batch: Batch, _: int) -> Tensor:
        return batch.x

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["clock"] = self.clock.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.clock.load_state_dict(checkpoint["clock"])
        checkpoint.pop("loops")


def trainer(*callbacks: Callback) -> L.Trainer:
    return L.Trainer(
        accelerator="cpu",
        max_epochs=-1,
        callbacks=list(callbacks),
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=any(isinstance(callback, ModelCheckpoint) for callback in callbacks),
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        reload_dataloaders_every_n_epochs=1,
    )


def made(planned: int, steps_per_call: int = 3) -> tuple[Stepper, DataModule]:
    clock = Clock(planned=planned)
    return Stepper(clock), DataModule(splits(), batch_size=4, seed=1, clock=clock, steps_per_call=steps_per_call)


def test_the_trainer_goes_through_epochs_and_ends_as_planned() -> None:
    module, data = made(planned=18)
    # 30 rows in batches of 4: seven whole ones and one of two rows.
    assert data.batches_per_epoch() == 8
    data.splits.train = TensorSource(torch.arange(29, dtype=torch.float32)[:, None])
    assert data.batches_per_epoch() == PER_EPOCH
    trainer().fit(module, datamodule=data)
    assert module.clock.batch == 18
    epochs = [[rows for epoch, rows in module.seen if epoch == number] for number in range(3)]
    assert [len(epoch) for epoch in epochs] == [7, 7, 4]
    for epoch in epochs:
        rows = [row for batch in epoch for row in batch]
        assert len(rows) == len(set(rows)) == 4 * len(epoch)
    assert epochs[0][:4] != epochs[1][:4] != epochs[2]
    # Validated once in each epoch, over all nine rows, and at the planned end too.
    assert module.validated == [(batch, size) for batch in (7, 14, 18) for size in (4, 4, 1)]


@pytest.mark.parametrize("stop", [4, 7, 9])
def test_a_run_that_goes_on_sees_what_it_would_have_seen(tmp_path: Path, stop: int) -> None:
    def fit(planned: int, clock_end: int, ckpt: Path | None = None, k: int = 3) -> Stepper:
        module, data = made(planned=planned, steps_per_call=k)
        data.splits.train = data.splits.train.rows(torch.arange(29))  # type: ignore[attr-defined]
        checkpoint = ModelCheckpoint(
            dirpath=tmp_path, save_last=True, save_top_k=0, save_on_train_epoch_end=True, enable_version_counter=False
        )
        trainer(checkpoint).fit(module, datamodule=data, ckpt_path=ckpt, weights_only=True)
        assert module.clock.batch == clock_end
        return module

    whole = fit(16, 16)
    (tmp_path / "last.ckpt").unlink()
    first = fit(stop, stop)
    # The rest in calls of another size: the position is counted in batches.
    rest = fit(16, 16, tmp_path / "last.ckpt", k=2)
    assert first.seen + rest.seen == whole.seen
    assert torch.equal(rest.weight, whole.weight)
    assert rest.validated == [(batch, size) for batch in (7, 14, 16) if batch > stop for size in (4, 4, 1)]


def test_held_out_splits_come_whole_and_in_order() -> None:
    module, data = made(planned=4)
    trainer().test(module, datamodule=data, verbose=False)
    assert module.tested == [0, 1, 2, 3, 4]
    predicted = trainer().predict(module, datamodule=data)
    assert predicted is not None
    assert torch.cat([x for x in predicted if isinstance(x, Tensor)])[:, 0].tolist() == [5, 6, 7, 8, 9]


def test_loaders_are_made_once() -> None:
    _, data = made(planned=4)
    assert data.train_dataloader() is data.train_dataloader()
    assert data.train_dataloader() is not data.val_dataloader()
    assert data.test_dataloader() is data.predict_dataloader()


def test_the_batch_size_is_that_of_all_devices() -> None:
    data = DataModule(splits(), batch_size=8, seed=0, clock=Clock())
    # 30 rows: three batches of 8, and a fourth of 6; over four devices the fourth would leave one row for each.
    assert [data.batches_per_epoch(world) for world in (1, 2, 4)] == [4, 4, 3]
    with pytest.raises(AeframeError) as refused:
        data.batches_per_epoch(3)
    assert str(refused.value) == (
        "batch_size=8 counts the samples of all devices and cannot be shared equally by 3; set batch_size=6"
    )
