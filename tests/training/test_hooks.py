"""Every hook of Lightning's `Callback` is called as a hand-written LightningModule would have it called.

``python test_hooks.py FILE`` runs the comparison on two devices and writes it to FILE, one for each rank.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pandas as pd
import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, TensorDataset

from aeframe.data.datamodule import DataModule
from aeframe.training.module import AutoencoderModule
from aeframe.types import Batch

BATCH, EPOCH = 16, 7  # 100 rows
# Lightning warns of weights after the step, which automatic optimization saves as well.
pytestmark = pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization")
HOOKS = sorted(
    name
    for name in vars(Callback)
    if name.startswith("on_") or name in ("setup", "teardown", "state_dict", "load_state_dict")
)
MakeTrainer = Callable[..., L.Trainer]
MakeModule = Callable[..., AutoencoderModule]


class HandWritten(L.LightningModule):
    """Automatic optimization."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(12, 12)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return mse_loss(self.net(batch[0]), batch[0])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", mse_loss(self.net(batch[0]), batch[0]), sync_dist=self.trainer.world_size > 1)

    test_step = validation_step

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters())


class HandWrittenGan(L.LightningModule):
    """Manual optimization of two optimizers, as in Lightning's own example of a GAN."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.net, self.discriminator = nn.Linear(12, 12), nn.Linear(12, 1)

    def training_step(self, batch: Any, batch_idx: int) -> None:
        first, second = self.optimizers()  # type: ignore[misc]
        fake = self.net(batch[0])
        self.toggle_optimizer(first)
        self.manual_backward(-self.discriminator(fake).mean())
        first.step()
        first.zero_grad()
        self.untoggle_optimizer(first)
        self.toggle_optimizer(second)
        self.manual_backward(self.discriminator(fake.detach()).mean() - self.discriminator(batch[0]).mean())
        second.step()
        second.zero_grad()
        self.untoggle_optimizer(second)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.discriminator(self.net(batch[0])).mean(), sync_dist=self.trainer.world_size > 1)

    test_step = validation_step

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.net.parameters()), torch.optim.Adam(self.discriminator.parameters())


class EveryHook(Callback):
    """Record each call of each hook: its name, and the arguments after Trainer and module."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []

    def counts(self) -> dict[str, int]:
        found = Counter(name for name, _ in self.calls)
        return {name: found[name] for name in HOOKS}

    def arguments(self, hook: str) -> list[tuple[Any, ...]]:
        return [arguments for name, arguments in self.calls if name == hook]

    def order(self) -> list[str]:
        """Return the hooks in their order; zeroing gradients may stand before a batch or behind it."""
        return [name for name, _ in self.calls if name != "on_before_zero_grad"]


def _recording(name: str) -> Any:
    def hook(self: EveryHook, *arguments: Any, **keywords: Any) -> Any:
        self.calls.append((name, (*arguments[2:], *keywords.values())))
        return {} if name == "state_dict" else None

    return hook


for _name in HOOKS:
    setattr(EveryHook, _name, _recording(_name))


def record(
    trainer: MakeTrainer, module: L.LightningModule, data: DataModule | None, rows: Tensor, **arguments: Any
) -> tuple[EveryHook, L.Trainer]:
    """Train and test; without `data`, on a plain DataLoader with batches of the same size."""
    hooks = EveryHook()
    made = trainer(callbacks=[hooks, ModelCheckpoint(every_n_train_steps=3)], **arguments)
    if data is not None:
        made.fit(module, datamodule=data)
        made.test(module, datamodule=data, verbose=False)
        return hooks, made
    # A last batch of four rows; two devices have two each.
    size = BATCH // made.world_size
    train, held_out = TensorDataset(rows), TensorDataset(rows[:40])
    made.fit(module, DataLoader(train, size, shuffle=True), DataLoader(held_out, size))
    made.test(module, DataLoader(held_out, size), verbose=False)
    return hooks, made


CASES: dict[str, tuple[type[L.LightningModule], str, dict[str, Any]]] = {
    "one optimizer": (HandWritten, "vae", {}),
    "accumulation, the last group of an epoch is short": (HandWritten, "vae", {"accumulate_grad_batches": 2}),
    "clipping": (HandWritten, "vae", {"gradient_clip_val": 0.5}),
    "two optimizers": (HandWrittenGan, "aae", {}),
    "validation inside an epoch": (HandWritten, "vae", {"val_check_interval": 3}),
}


@pytest.mark.parametrize(("hand_written", "recipe", "arguments"), CASES.values(), ids=CASES)
def test_every_hook_is_called_as_often_and_in_the_order_of_a_hand_written_module(
    hand_written: type[L.LightningModule],
    recipe: str,
    arguments: dict[str, Any],
    trainer: MakeTrainer,
    module: MakeModule,
    data: DataModule,
    rows: Tensor,
) -> None:
    theirs, their_trainer = record(trainer, hand_written(), None, rows, **arguments)
    ours, our_trainer = record(trainer, module(recipe), data, rows, **arguments)
    expected = theirs.counts()
    if not hand_written().automatic_optimization:
        # Lightning calls it in automatic optimization only; averages of the weights hang on it.
        expected["on_before_zero_grad"] = 2 * 2 * EPOCH
    assert ours.counts() == expected
    assert ours.order() == theirs.order()
    assert our_trainer.global_step == their_trainer.global_step
    assert our_trainer.current_epoch == their_trainer.current_epoch
    saved, their_saved = our_trainer.checkpoint_callback, their_trainer.checkpoint_callback
    assert saved is not None
    assert their_saved is not None
    assert Path(saved.best_model_path).stem.split("-v")[0] == Path(their_saved.best_model_path).stem  # type: ignore[attr-defined]


def test_the_hooks_of_training_are_called(
    trainer: MakeTrainer, module: MakeModule, data: DataModule, rows: Tensor
) -> None:
    hooks, _ = record(trainer, module(), data, rows)
    uncalled = {name for name, count in hooks.counts().items() if not count}
    assert uncalled == {
        *(name for name in HOOKS if "predict" in name),
        "on_exception",
        "on_load_checkpoint",
        "load_state_dict",
    }


def test_batch_hooks_get_single_batches_and_their_indices(
    trainer: MakeTrainer, module: MakeModule, data: DataModule, rows: Tensor
) -> None:
    hooks, _ = record(trainer, module(), data, rows)
    for hook in ("on_train_batch_start", "on_train_batch_end"):
        found = hooks.arguments(hook)
        batches = [each for arguments in found for each in arguments if isinstance(each, Batch)]
        assert [len(batch) for batch in batches] == 2 * [*(EPOCH - 1) * [BATCH], 4]
        assert [arguments[-1] for arguments in found] == 2 * list(range(EPOCH))
    for hook in ("on_validation_batch_start", "on_validation_batch_end"):
        found = hooks.arguments(hook)
        # (batch, index) at the start and (outputs, batch, index) at the end; the sanity check has two batches.
        position = 0 if hook.endswith("start") else 1
        assert {type(arguments[position]) for arguments in found} == {Batch}
        assert [arguments[position + 1] for arguments in found] == [0, 1, *2 * [0, 1, 2]]
    losses = [arguments[0] for arguments in hooks.arguments("on_train_batch_end")]
    assert all(set(each) == {"loss"} and each["loss"].ndim == 0 and not each["loss"].requires_grad for each in losses)
    assert all(arguments[0].requires_grad for arguments in hooks.arguments("on_before_backward"))


def test_hooks_get_the_optimizer_of_the_step(
    trainer: MakeTrainer, module: MakeModule, data: DataModule, rows: Tensor
) -> None:
    hooks, made = record(trainer, module("aae"), data, rows)
    assert len(made.optimizers) == 2
    for hook in ("on_before_optimizer_step", "on_before_zero_grad"):
        found = [optimizer for (optimizer,) in hooks.arguments(hook)]
        assert found == EPOCH * 2 * made.optimizers


class Gradients(Callback):
    """Keep what the gradients are at each hook."""

    def __init__(self) -> None:
        self.found: dict[str, list[bool]] = {}

    def _note(self, hook: str, module: L.LightningModule) -> None:
        self.found.setdefault(hook, []).append(any(p.grad is not None for p in module.parameters()))

    def on_before_backward(self, trainer: L.Trainer, pl_module: L.LightningModule, loss: Tensor) -> None:
        self._note("before", pl_module)

    def on_after_backward(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._note("after", pl_module)

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Any) -> None:
        self._note("step", pl_module)
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad.zero_()


def test_a_callback_can_change_the_gradients_of_a_step(
    trainer: MakeTrainer, module: MakeModule, data: DataModule
) -> None:
    made, gradients = module(optimizer={"name": "sgd", "lr": 1.0}), Gradients()
    before = {name: value.clone() for name, value in made.state_dict().items()}
    trainer(callbacks=[gradients], enable_checkpointing=False).fit(made, datamodule=data)
    steps = 2 * EPOCH
    assert gradients.found == {"before": steps * [False], "after": steps * [True], "step": steps * [True]}
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())


# -- what the Trainer shows ------------------------------------------------------------------------------------------

TERMS = ("reconstruction", "kl", "loss")
VALIDATION = {f"val/{name}" for name in (*TERMS, "bound", "mse")}


class Logs(AutoencoderModule):
    """A user's subclass that logs, in each of the ways Lightning has."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor | None:
        loss = super().training_step(batch, batch_idx)
        assert loss is not None
        self.log("own", loss)
        self.log("own_mean", loss, on_step=False, on_epoch=True, prog_bar=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> Any:
        output = super().validation_step(batch, batch_idx)
        self.log("own_val", output["loss"])
        return output


def test_the_metrics_of_the_trainer_have_the_names_of_the_terms(
    trainer: MakeTrainer, module: MakeModule, data: DataModule
) -> None:
    made = module()
    its_trainer = trainer(enable_checkpointing=False)
    its_trainer.fit(made, datamodule=data)
    assert its_trainer.global_step == made.progress.batch == 2 * EPOCH
    assert its_trainer.current_epoch == made.progress.epoch == 2
    assert set(its_trainer.callback_metrics) == VALIDATION | {f"train/{name}" for name in TERMS}
    logged = its_trainer.logged_metrics
    assert set(logged) == {
        *VALIDATION,
        *(f"{split}/{name}" for split in ("train", "train_epoch") for name in TERMS),
        "train/lr/autoencoder",
    }
    for name, value in made.measured["val"].items():
        assert float(logged[f"val/{name}"]) == value
        assert float(its_trainer.callback_metrics[f"val/{name}"]) == pytest.approx(value, rel=1e-6)
    means = {f"train/{name}": float(logged[f"train_epoch/{name}"]) for name in TERMS}
    assert {name: float(its_trainer.callback_metrics[name]) for name in means} == pytest.approx(means, rel=1e-6)


class EpochMeans(Callback):
    """A callback that stores what callbacks can read at the end of each epoch."""

    def __init__(self) -> None:
        self.read: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        metrics = trainer.callback_metrics
        self.read.append({name: float(metrics[name]) for name in ("train/loss", "val/loss")})


def test_callbacks_read_the_means_of_an_epoch_at_its_end(
    tmp_path: Path, trainer: MakeTrainer, module: MakeModule, data: DataModule
) -> None:
    means = EpochMeans()
    logger = CSVLogger(tmp_path)
    its_trainer = trainer(enable_checkpointing=False, callbacks=[means], logger=logger, log_every_n_steps=1)
    its_trainer.fit(module(), datamodule=data)
    table = pd.read_csv(Path(logger.log_dir) / "metrics.csv")
    for split, column in (("train", "train_epoch/loss"), ("val", "val/loss")):
        logged = table[column].dropna().tolist()
        assert len(logged) == 2
        assert [read[f"{split}/loss"] for read in means.read] == pytest.approx(logged, rel=1e-6)


def test_self_log_of_a_subclass_reaches_every_logger(
    tmp_path: Path, trainer: MakeTrainer, module: MakeModule, data: DataModule
) -> None:
    loggers = [CSVLogger(tmp_path / "one"), CSVLogger(tmp_path / "two")]
    its_trainer = trainer(logger=loggers, enable_checkpointing=False)
    its_trainer.fit(module(kind=Logs, metrics=False), datamodule=data)
    for logger in loggers:
        table = read_csv(logger)
        # Lightning counts from 0: three, six, ... batches are over.
        assert [step for step, row in table if row["own"]] == [2, 5, 8, 11]
        assert [step for step, row in table if row["own_mean"]] == [6, 13]
        assert [step for step, row in table if row["own_val"]] == [6, 13]
        # The module's own numbers name how many batches are over.
        assert [step for step, row in table if row["train/loss"]] == [3, 6, 7, 9, 12, 14]
        assert [step for step, row in table if row["val/loss"]] == [7, 14]
        own_val = [float(row["own_val"]) for _, row in table if row["own_val"]]
        assert own_val == pytest.approx([float(row["val/loss"]) for _, row in table if row["val/loss"]], rel=1e-5)
        own_mean = [float(row["own_mean"]) for _, row in table if row["own_mean"]]
        # Lightning weights a batch by its size if it finds it: ours counts batches.
        assert own_mean == pytest.approx(
            [float(row["train_epoch/loss"]) for _, row in table if row["train_epoch/loss"]], rel=0.1
        )
    assert "own_mean" in its_trainer.progress_bar_metrics
    assert {"own", "own_mean", "own_val"} <= set(its_trainer.callback_metrics)


def test_a_sanity_check_logs_nothing(
    tmp_path: Path, trainer: MakeTrainer, module: MakeModule, data: DataModule
) -> None:
    logger = CSVLogger(tmp_path)
    trainer(logger=logger, num_sanity_val_steps=2).fit(module(), datamodule=data)
    assert [step for step, row in read_csv(logger) if row["val/loss"]] == [7, 14]


def read_csv(logger: CSVLogger) -> list[tuple[int, dict[str, str]]]:
    import csv

    with (Path(logger.log_dir) / "metrics.csv").open(encoding="utf-8") as file:
        return [(int(row["step"]), row) for row in csv.DictReader(file)]


# -- entry points ----------------------------------------------------------------------------------------------------


def test_a_second_fit_continues_and_a_new_trainer_starts_at_batch_0(
    trainer: MakeTrainer, module: MakeModule, data: DataModule
) -> None:
    made, one = module(), trainer(enable_checkpointing=False)
    one.fit(made, datamodule=data)
    one.fit(made, datamodule=data)
    assert (one.global_step, one.current_epoch, made.progress.batch) == (2 * EPOCH, 2, 2 * EPOCH)
    assert one.fit_loop.max_epochs == 2
    one.fit_loop.max_epochs = 3
    one.fit(made, datamodule=data)
    assert (one.global_step, one.current_epoch, made.progress.batch) == (3 * EPOCH, 3, 3 * EPOCH)
    other = trainer(enable_checkpointing=False, max_epochs=1)
    other.fit(made, datamodule=data)
    assert (other.global_step, made.progress.batch, made.progress.planned) == (EPOCH, EPOCH, EPOCH)


def test_validate_test_and_predict(trainer: MakeTrainer, module: MakeModule, data: DataModule, rows: Tensor) -> None:
    made, its_trainer = module(), trainer(enable_checkpointing=False)
    its_trainer.fit(made, datamodule=data)
    last = dict(made.measured["val"])
    (validated,) = its_trainer.validate(made, datamodule=data, verbose=False)
    assert validated == {f"val/{name}": value for name, value in last.items()}
    (tested,) = its_trainer.test(made, datamodule=data, verbose=False)
    assert set(tested) == {name.replace("val/", "test/") for name in VALIDATION}
    assert tested != {name.replace("val/", "test/"): value for name, value in validated.items()}
    codes = its_trainer.predict(made, datamodule=data)
    assert codes is not None
    with torch.no_grad():
        expected = made.model.eval().embed(Batch(rows[40:80])).mean
    torch.testing.assert_close(torch.cat(codes), expected)  # type: ignore[arg-type]
    # Without training, and without a module that a Trainer has seen.
    (fresh,) = trainer().validate(module(), datamodule=data, verbose=False)
    assert fresh["val/loss"] > validated["val/loss"]


@pytest.mark.parametrize("labels", [False, True])
def test_a_plain_data_loader_can_be_used(labels: bool, trainer: MakeTrainer, module: MakeModule, rows: Tensor) -> None:
    label = torch.arange(len(rows)) % 3
    columns = (rows, label) if labels else (rows,)
    train = DataLoader(TensorDataset(*columns), BATCH, shuffle=True)
    held_out = DataLoader(TensorDataset(*(column[:40] for column in columns)), BATCH)
    made, its_trainer = module(), trainer(enable_checkpointing=False)
    before = next(made.parameters()).clone()
    its_trainer.fit(made, train, held_out)
    assert its_trainer.global_step == made.progress.batch == made.progress.planned == 2 * EPOCH
    assert not torch.equal(next(made.parameters()), before)
    (validated,) = its_trainer.validate(made, held_out, verbose=False)
    (tested,) = its_trainer.test(made, held_out, verbose=False)
    assert set(validated) == VALIDATION
    assert list(validated.values()) == list(tested.values())
    assert [tuple(codes.shape) for codes in its_trainer.predict(made, held_out)] == [(16, 3), (16, 3), (8, 3)]  # type: ignore[union-attr]


# -- two devices -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_devices_call_the_same_hooks_on_each(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, __file__, str(tmp_path)], capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for rank in (0, 1):
        found = json.loads((tmp_path / f"rank{rank}.json").read_text(encoding="utf-8"))
        assert set(found) == {"one", "two"}
        for case, (theirs, ours) in found.items():
            if case == "two":
                assert (theirs["counts"]["on_before_zero_grad"], ours["counts"]["on_before_zero_grad"]) == (0, 28)
                theirs["counts"]["on_before_zero_grad"] = 28
            assert ours["counts"] == theirs["counts"], (rank, case)
            assert ours["counts"]["on_train_batch_end"] == 2 * EPOCH
            assert ours["order"] == theirs["order"]
            assert ours["global_step"] == theirs["global_step"]
            assert set(ours["batches"]) == {"Batch"}


def _on_two_devices(folder: Path) -> None:
    from conftest import make_data, make_module, make_rows

    def trainer(several: bool = False, **arguments: Any) -> L.Trainer:
        return L.Trainer(
            accelerator="cpu",
            devices=2,
            # As for any GAN: a step of one optimizer leaves the other's parameters without gradients.
            strategy="ddp_find_unused_parameters_true" if several else "ddp",
            max_epochs=2,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=folder,
            **arguments,
        )

    found: dict[str, list[dict[str, Any]]] = {}
    rank = 0
    for case, hand_written, recipe in (("one", HandWritten, "vae"), ("two", HandWrittenGan, "aae")):
        for module, data in ((hand_written(), None), (make_module(recipe), make_data())):
            hooks, its_trainer = record(trainer, module, data, make_rows(), several=case == "two")
            rank = its_trainer.global_rank
            starts = hooks.arguments("on_train_batch_start")
            result = {
                "counts": hooks.counts(),
                "order": [name for name, _ in groupby(hooks.order())],
                "global_step": its_trainer.global_step,
                "batches": [type(batch).__name__ for batch, _ in starts],
            }
            found.setdefault(case, []).append(result)
    (folder / f"rank{rank}.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    torch.set_num_threads(1)
    _on_two_devices(Path(sys.argv[1]))
