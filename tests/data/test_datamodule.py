"""The data module in Lightning's Trainer, with a module from outside the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback, LambdaCallback, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn

from aeframe.data import DataModule, Splits, TensorSource
from aeframe.data.grouping import GroupedBatchesWarning
from aeframe.types import Batch

torch.set_num_threads(1)
PER_EPOCH = 7


def make_splits(rows: int = 29) -> Splits:
    train, validation, test = (TensorSource(torch.arange(n, dtype=torch.float32)[:, None] + n) for n in (rows, 9, 5))
    return Splits(train, validation, test)


class Stepper(L.LightningModule):
    """A minimal module that trains on several batches in a call, by manual optimization, and records them."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.weight = nn.Parameter(torch.zeros(1))
        self.calls: list[int] = []
        self.rows: list[tuple[int, list[int]]] = []
        self.validated: list[tuple[int, int]] = []
        self.tested: list[int] = []

    def training_step(self, item: Batch | list[Batch], _: int) -> None:
        batches = item if isinstance(item, list) else [item]
        self.calls.append(len(batches))
        for batch in batches:
            assert batch.index is not None
            self.rows.append((self.current_epoch, batch.index.tolist()))
            optimizer: Any = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward((self.weight - batch.x).square().mean())
            optimizer.step()

    training_step.works_in_groups = True  # type: ignore[attr-defined]

    def validation_step(self, batch: Batch, _: int) -> None:
        self.validated.append((len(self.rows), len(batch)))

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        assert batch.index is not None
        self.tested += batch.index.tolist()

    def predict_step(self, batch: Batch, _: int) -> Tensor:
        return batch.x

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


def make_trainer(folder: Path, *callbacks: Callback, **arguments: Any) -> L.Trainer:
    return L.Trainer(
        **{
            "accelerator": "cpu",
            "logger": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "enable_checkpointing": any(isinstance(callback, ModelCheckpoint) for callback in callbacks),
            "num_sanity_val_steps": 0,
            "use_distributed_sampler": False,
            "default_root_dir": folder,
            "max_epochs": 3,
            **arguments,
        },
        callbacks=list(callbacks),
    )


def make_data(steps_per_call: Any = "auto") -> DataModule:
    return DataModule(make_splits(), batch_size=4, seed=1, steps_per_call=steps_per_call)


@pytest.mark.parametrize("steps_per_call", [1, 3, "auto"])
def test_each_epoch_has_every_row_once_in_a_new_order(tmp_path: Path, steps_per_call: Any) -> None:
    module, data = Stepper(), make_data(steps_per_call)
    # 29 rows in batches of 4: seven full ones, and one remaining row.
    assert data.batches_per_epoch() == PER_EPOCH
    make_trainer(tmp_path).fit(module, datamodule=data)
    epochs = [[rows for epoch, rows in module.rows if epoch == number] for number in range(3)]
    assert [len(epoch) for epoch in epochs] == [7, 7, 7]
    for epoch in epochs:
        rows = [row for batch in epoch for row in batch]
        assert len(rows) == len(set(rows)) == 28
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    # Validated once in each epoch, over all nine rows.
    assert module.validated == [(batch, size) for batch in (7, 14, 21) for size in (4, 4, 1)]
    calls = {1: [1] * 7, 3: [3, 3, 1], "auto": [7]}[steps_per_call]
    assert module.calls == calls * 3


def test_the_order_is_a_function_of_the_seed(tmp_path: Path) -> None:
    found = []
    for seed in (1, 1, 2):
        module = Stepper()
        data = DataModule(make_splits(), batch_size=4, seed=seed)
        make_trainer(tmp_path, max_epochs=1).fit(module, datamodule=data)
        found.append(module.rows)
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize("calls", [(3, 3), (1, 1), ("auto", "auto")], ids=str)
@pytest.mark.parametrize("stop", [1, 2])
def test_a_resumed_run_has_the_same_batches(tmp_path: Path, stop: int, calls: tuple[Any, Any]) -> None:
    def fit(max_epochs: int, folder: Path, steps_per_call: Any, checkpoint: Path | None = None) -> Stepper:
        module = Stepper()
        trainer = make_trainer(folder, max_epochs=max_epochs)
        trainer.fit(module, datamodule=make_data(steps_per_call), ckpt_path=checkpoint, weights_only=True)
        trainer.save_checkpoint(folder / "end.ckpt")
        return module

    uninterrupted = fit(3, tmp_path / "whole", calls[0])
    first = fit(stop, tmp_path / "parts", calls[0])
    rest = fit(3, tmp_path / "parts", calls[1], tmp_path / "parts" / "end.ckpt")
    assert first.rows + rest.rows == uninterrupted.rows
    assert torch.equal(rest.weight, uninterrupted.weight)
    assert [size for _, size in first.validated + rest.validated] == [size for _, size in uninterrupted.validated]


def test_a_run_resumed_inside_an_epoch_continues_there_with_any_module(tmp_path: Path) -> None:
    class StopAt(Callback):
        def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
            assert isinstance(pl_module, Stepper)
            if len(pl_module.rows) == 10:
                trainer.save_checkpoint(tmp_path / "within.ckpt")
                trainer.should_stop = True

    uninterrupted, first, rest = Stepper(), Stepper(), Stepper()
    make_trainer(tmp_path).fit(uninterrupted, datamodule=make_data())
    make_trainer(tmp_path, StopAt()).fit(first, datamodule=make_data())
    path = tmp_path / "within.ckpt"
    make_trainer(tmp_path).fit(rest, datamodule=make_data(1), ckpt_path=path, weights_only=True)
    assert first.rows + rest.rows == uninterrupted.rows
    assert torch.equal(rest.weight, uninterrupted.weight)


def test_held_out_splits_are_whole_and_in_order(tmp_path: Path) -> None:
    module, data = Stepper(), make_data()
    make_trainer(tmp_path).test(module, datamodule=data, verbose=False)
    assert module.tested == [0, 1, 2, 3, 4]
    predicted = make_trainer(tmp_path).predict(module, datamodule=data)
    assert predicted is not None
    assert torch.cat([x for x in predicted if isinstance(x, Tensor)])[:, 0].tolist() == [5, 6, 7, 8, 9]


def test_loaders_are_created_once() -> None:
    data = make_data()
    assert data.train_dataloader() is data.train_dataloader()
    assert data.train_dataloader() is not data.val_dataloader()
    assert data.test_dataloader() is data.predict_dataloader()


def test_the_batch_size_counts_the_samples_of_all_devices() -> None:
    data = DataModule(make_splits(30), batch_size=8)
    # 30 rows: three batches of 8, and a fourth of 6, on any number of devices.
    assert [data.batches_per_epoch(world) for world in (1, 2, 3, 4)] == [4, 4, 4, 4]


def test_a_batch_and_a_list_of_batches_are_moved() -> None:
    data, cpu = make_data(), torch.device("cpu")
    batch = Batch(torch.zeros(2, 1))
    moved = data.transfer_batch_to_device(batch, cpu, 0)
    assert isinstance(moved, Batch)
    group = data.transfer_batch_to_device([batch, batch], cpu, 0)
    assert [type(item) for item in group] == [Batch, Batch]
    assert torch.equal(data.transfer_batch_to_device(torch.ones(2), cpu, 0), torch.ones(2))


# -- grouping ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["LambdaCallback", "ModelCheckpoint", "LearningRateMonitor"])
def test_callbacks_with_batch_hooks_receive_single_batches(tmp_path: Path, name: str) -> None:
    callback: Callback = {
        "LambdaCallback": lambda: LambdaCallback(on_train_batch_end=lambda *_: None),
        "ModelCheckpoint": lambda: ModelCheckpoint(tmp_path, every_n_epochs=1),
        "LearningRateMonitor": lambda: LearningRateMonitor("step"),
    }[name]()
    logger = CSVLogger(tmp_path) if name == "LearningRateMonitor" else False
    module = Stepper()
    make_trainer(tmp_path, callback, max_epochs=1, logger=logger, log_every_n_steps=1).fit(
        module, datamodule=make_data()
    )
    assert module.calls == [1] * PER_EPOCH


def test_a_callback_that_works_in_groups_receives_groups(tmp_path: Path) -> None:
    class Follower(Callback):
        works_in_groups = True

        def __init__(self) -> None:
            self.sizes: list[int] = []

        def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *arguments: Any) -> None:
            self.sizes.append(len(arguments[1]))

    follower = Follower()
    make_trainer(tmp_path, follower, max_epochs=1).fit(Stepper(), datamodule=make_data())
    assert follower.sizes == [PER_EPOCH]


def test_a_number_that_is_set_groups_with_a_warning(tmp_path: Path) -> None:
    module, callback = Stepper(), LambdaCallback(on_train_batch_end=lambda *_: None)
    with pytest.warns(GroupedBatchesWarning) as caught:
        make_trainer(tmp_path, callback, max_epochs=1).fit(module, datamodule=make_data(3))
    assert module.calls == [3, 3, 1]
    assert {str(warning.message) for warning in caught if warning.category is GroupedBatchesWarning} == {
        "callback LambdaCallback receives 3 batches as one, because steps_per_call=3; set steps_per_call=auto"
    }


def test_limit_train_batches_counts_single_batches(tmp_path: Path) -> None:
    module = Stepper()
    make_trainer(tmp_path, max_epochs=1, limit_train_batches=5).fit(module, datamodule=make_data())
    assert module.calls == [1] * 5
