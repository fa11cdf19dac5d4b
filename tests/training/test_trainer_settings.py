"""Settings of `L.Trainer` have their documented effect on `AutoencoderModule`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn

from aeframe.data.datamodule import DataModule
from aeframe.data.memory import TensorSource
from aeframe.data.modality import Splits
from aeframe.training.module import AutoencoderModule

# Lightning warns of weights after the step, which automatic optimization saves as well.
pytestmark = pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization")

BATCH, EPOCH = 16, 7  # 100 rows
MakeTrainer = Callable[..., L.Trainer]
MakeModule = Callable[..., AutoencoderModule]


class Record(Callback):
    """Record the rows of each training batch, and after how many batches each validation ended."""

    def __init__(self) -> None:
        self.rows: list[list[int]] = []
        self.validated_at: list[int] = []
        self.validation_batches = 0
        self.sanity_batches = 0

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.rows.append(batch.index.tolist())

    def on_validation_batch_end(self, trainer: L.Trainer, *_: Any, **__: Any) -> None:
        self.validation_batches += not trainer.sanity_checking
        self.sanity_batches += bool(trainer.sanity_checking)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not trainer.sanity_checking:
            assert isinstance(pl_module, AutoencoderModule)
            self.validated_at.append(pl_module.progress.batch)


class Fit:
    """What `fit` returns."""

    def __init__(self, module: AutoencoderModule, trainer: L.Trainer, record: Record) -> None:
        self.module, self.trainer, self.record = module, trainer, record

    def weights(self) -> Tensor:
        return nn.utils.parameters_to_vector(self.module.parameters()).detach()


@pytest.fixture
def fit(trainer: MakeTrainer, module: MakeModule, data: DataModule) -> Callable[..., Fit]:
    def run(
        recipe: str = "vae",
        *,
        data: DataModule = data,
        callbacks: tuple[Callback, ...] = (),
        options: dict[str, Any] | None = None,
        resume: Path | None = None,
        **arguments: Any,
    ) -> Fit:
        record = Record()
        if not any(isinstance(callback, ModelCheckpoint) for callback in callbacks):
            arguments["enable_checkpointing"] = False
        its_trainer = trainer(callbacks=[record, *callbacks], **arguments)
        made = module(recipe, **(options or {}))
        its_trainer.fit(made, datamodule=data, ckpt_path=resume, weights_only=True)
        return Fit(made, its_trainer, record)

    return run


# -- limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "batches"), [(3, 3), (0.5, 3), (1.0, EPOCH), (20, EPOCH)])
def test_limit_train_batches(limit: float, batches: int, fit: Callable[..., Fit]) -> None:
    done = fit(limit_train_batches=limit, log_every_n_steps=1)
    assert len(done.record.rows) == done.trainer.global_step == done.module.progress.batch == 2 * batches
    assert (done.module.progress.epoch, done.trainer.current_epoch) == (2, 2)
    assert done.module.progress.planned == 2 * batches
    assert done.record.validated_at == [batches, 2 * batches]
    # Another order in each epoch.
    assert done.record.rows[0] != done.record.rows[batches]


@pytest.mark.parametrize(("limit", "batches"), [(1, 1), (0.7, 2), (0, 0)])
def test_limit_val_batches(limit: float, batches: int, fit: Callable[..., Fit], rows: Tensor) -> None:
    done = fit(limit_val_batches=limit)
    assert done.record.validation_batches == 2 * batches
    if not batches:
        assert "val" not in done.module.measured
        return
    few = Splits(*3 * [TensorSource(rows[: BATCH * batches])])
    (expected,) = done.trainer.validate(done.module, datamodule=DataModule(few, batch_size=BATCH), verbose=False)
    assert float(done.trainer.callback_metrics["val/mse"]) == pytest.approx(expected["val/mse"], rel=1e-6)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"val_check_interval": 0.5}, [3, 6, 10, 13]),
        ({"val_check_interval": 4}, [4, 11]),
        ({"val_check_interval": 5, "check_val_every_n_epoch": None}, [5, 10]),
        ({"check_val_every_n_epoch": 2}, [14]),
        ({"check_val_every_n_epoch": 3}, []),
    ],
)
def test_when_to_validate(arguments: dict[str, Any], expected: list[int], fit: Callable[..., Fit]) -> None:
    assert fit(**arguments).record.validated_at == expected


def test_validation_inside_an_epoch_does_not_change_the_training(fit: Callable[..., Fit]) -> None:
    options = {"accumulate": 3}
    plain, often = fit("aae", options=options), fit("aae", options=options, val_check_interval=0.25)
    assert len(often.record.validated_at) == 2 * EPOCH
    torch.testing.assert_close(often.weights(), plain.weights(), rtol=0, atol=0)


def test_fast_dev_run(tmp_path: Path, fit: Callable[..., Fit]) -> None:
    done = fit(fast_dev_run=2, logger=CSVLogger(tmp_path / "csv"), callbacks=(ModelCheckpoint(tmp_path / "saved"),))
    assert len(done.record.rows) == done.trainer.global_step == 2
    assert done.record.validation_batches == 2
    assert list(tmp_path.iterdir()) == []


def test_overfit_batches(fit: Callable[..., Fit]) -> None:
    with pytest.warns(UserWarning, match="overfit"):
        done = fit(overfit_batches=2, max_epochs=3)
    first, second = done.record.rows[:2]
    assert done.record.rows == 3 * [first, second]
    assert done.record.validation_batches == 3 * 2


@pytest.mark.parametrize(("recipe", "steps", "batches"), [("vae", 5, 5), ("vae", 9, 9), ("aae", 6, 3)])
def test_max_steps_counts_the_steps_of_every_optimizer(
    recipe: str, steps: int, batches: int, fit: Callable[..., Fit]
) -> None:
    done = fit(recipe, max_steps=steps, max_epochs=-1)
    assert done.trainer.global_step == steps
    assert len(done.record.rows) == done.module.progress.batch == done.module.progress.planned == batches


def test_max_time(fit: Callable[..., Fit]) -> None:
    began = time.monotonic()
    done = fit(max_time=timedelta(seconds=0.3), max_epochs=-1)
    assert time.monotonic() - began < 20
    assert 1 <= done.module.progress.batch == done.trainer.global_step


# -- the step --------------------------------------------------------------------------------------------------------


class Clipped(Callback):
    """A callback that stores the gradients of each step, before and after clipping."""

    def __init__(self) -> None:
        self.before: list[list[Tensor]] = []
        self.after: list[list[Tensor]] = []

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Any) -> None:
        self.before.append(self._gradients(optimizer))

    def on_before_zero_grad(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Any) -> None:
        self.after.append(self._gradients(optimizer))

    def _gradients(self, optimizer: Any) -> list[Tensor]:
        return [p.grad.clone() for group in optimizer.param_groups for p in group["params"] if p.grad is not None]


@pytest.mark.parametrize("recipe", ["vae", "aae"])
@pytest.mark.parametrize(("algorithm", "clip"), [("norm", 0.05), ("value", 0.001), (None, 0.05)])
def test_gradient_clipping(algorithm: str | None, clip: float, recipe: str, fit: Callable[..., Fit]) -> None:
    clipped = Clipped()
    done = fit(recipe, callbacks=(clipped,), gradient_clip_val=clip, gradient_clip_algorithm=algorithm)
    assert len(clipped.before) == len(clipped.after) == done.trainer.global_step
    changed = 0
    for before, after in zip(clipped.before, clipped.after, strict=True):
        if algorithm == "value":
            expected = [gradient.clamp(-clip, clip) for gradient in before]
        else:
            norm = torch.cat([gradient.flatten() for gradient in before]).norm()
            expected = [gradient * min(1.0, float(clip / norm)) for gradient in before]
        torch.testing.assert_close(after, expected, rtol=1e-4, atol=1e-8)
        changed += not torch.equal(before[0], after[0])
    assert changed
    # The Trainer has its own setting again, and a second fit clips as well.
    assert done.trainer.gradient_clip_val == clip
    done.trainer.fit_loop.max_epochs = 3
    done.trainer.fit(done.module, datamodule=done.trainer.datamodule)  # type: ignore[attr-defined]
    assert all(torch.cat([g.flatten() for g in after]).abs().max() <= clip * 1.001 for after in clipped.after)


def test_accumulate_grad_batches_of_the_trainer_is_that_of_the_module(fit: Callable[..., Fit]) -> None:
    by_trainer, by_module = fit(accumulate_grad_batches=3), fit(options={"accumulate": 3})
    assert by_trainer.trainer.global_step == by_module.trainer.global_step == 2 * 3
    torch.testing.assert_close(by_trainer.weights(), by_module.weights(), rtol=0, atol=0)
    assert by_trainer.trainer.accumulate_grad_batches == 3


@pytest.mark.filterwarnings("ignore:Error detected in")
def test_detect_anomaly(fit: Callable[..., Fit], rows: Tensor) -> None:
    class Bad(Callback):
        def on_before_backward(self, trainer: L.Trainer, pl_module: L.LightningModule, loss: Tensor) -> None:
            # The gradient of sqrt at 0 is infinite, and infinity times 0 is not a number.
            loss.register_hook(lambda gradient: gradient * float("nan"))

    with pytest.raises(RuntimeError, match="returned nan values"):
        fit(detect_anomaly=True, callbacks=(Bad(),))
    assert not torch.is_anomaly_enabled()


@pytest.fixture
def _nondeterministic_again() -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    yield
    torch.use_deterministic_algorithms(before)
    torch.backends.cudnn.benchmark = False


@pytest.mark.usefixtures("_nondeterministic_again")
def test_deterministic(fit: Callable[..., Fit]) -> None:
    class Seen(Callback):
        found: bool | None = None

        def on_train_batch_end(self, *_: Any, **__: Any) -> None:
            self.found = torch.are_deterministic_algorithms_enabled()

    seen = Seen()
    first = fit(deterministic=True, callbacks=(seen,))
    assert seen.found
    torch.testing.assert_close(fit(deterministic=True).weights(), first.weights(), rtol=0, atol=0)


def test_profiler(fit: Callable[..., Fit]) -> None:
    done = fit(profiler="simple")
    durations = done.trainer.profiler.recorded_durations  # type: ignore[attr-defined]
    calls = {name.rpartition(".")[2]: len(times) for name, times in durations.items() if "Strategy" in name}
    assert calls["training_step"] == len(durations["optimizer_step"]) == 2 * EPOCH
    # Three batches in each of two epochs, and two of the sanity check.
    assert calls["validation_step"] == 2 * 3 + 2
    assert any("AutoencoderModule" in name and "on_train_epoch_end" in name for name in durations)


# -- logging and the sanity check ------------------------------------------------------------------------------------


def test_num_sanity_val_steps(fit: Callable[..., Fit]) -> None:
    with_check, without = fit(num_sanity_val_steps=2), fit(num_sanity_val_steps=0)
    assert (with_check.record.sanity_batches, without.record.sanity_batches) == (2, 0)
    assert with_check.module.measured["val"] == without.module.measured["val"]
    torch.testing.assert_close(with_check.weights(), without.weights(), rtol=0, atol=0)


@pytest.mark.parametrize(("every", "steps"), [(1, [*range(1, 15)]), (4, [4, 7, 8, 12, 14]), (7, [7, 14])])
def test_log_every_n_steps(every: int, steps: list[int], tmp_path: Path, fit: Callable[..., Fit]) -> None:
    logger = CSVLogger(tmp_path)
    fit(log_every_n_steps=every, logger=logger)
    # Buffered terms are logged before a validation.
    assert [row["step"] for row in logger.experiment.metrics if "train/loss" in row] == []
    import csv

    with (Path(logger.log_dir) / "metrics.csv").open(encoding="utf-8") as file:
        assert [int(row["step"]) for row in csv.DictReader(file) if row["train/loss"]] == steps


# -- resume ----------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks used to create the checkpoint")
@pytest.mark.parametrize(("recipe", "interval"), [("vae", 0.25), ("vae", 1.0), ("aae", 0.25)])
def test_a_resume_inside_an_epoch_is_exact_and_repeats_no_validation(
    recipe: str, interval: float, tmp_path: Path, fit: Callable[..., Fit], rows: Tensor
) -> None:
    splits = Splits(TensorSource(rows), TensorSource(rows[:40]), TensorSource(rows[40:80]))

    def data() -> DataModule:
        return DataModule(splits, batch_size=8, seed=3)

    # 13 batches in an epoch, validated after each third.
    steps = 2 if recipe == "aae" else 1
    options = {
        "optimizer": {"name": "adam", "lr": {"name": "linear", "start": 1e-2, "end": 0.0}},
        "accumulate": 2 if steps == 1 else 1,
    }
    save = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=1, save_top_k=-1, save_on_train_epoch_end=False)
    arguments = {"options": options, "val_check_interval": interval}
    whole = fit(recipe, data=data(), callbacks=(save,), **arguments)
    assert whole.module.progress.batch == 26
    assert whole.record.validated_at == ([3, 6, 9, 12, 16, 19, 22, 25] if interval == 0.25 else [13, 26])
    saved = sorted(tmp_path.glob("step=*.ckpt"), key=lambda path: int(path.stem.partition("=")[2]))
    assert len(saved) >= 13
    saved = saved[::4] if recipe == "aae" else saved
    for path in saved:
        done = fit(recipe, data=data(), resume=path, **arguments)
        batch = torch.load(path, weights_only=True)["aeframe"]["progress"]["batch"]
        assert done.record.rows == whole.record.rows[batch:], path.name
        # A checkpoint is written before the validation that is due at its batch.
        assert done.record.validated_at == [at for at in whole.record.validated_at if at >= batch], path.name
        for name, value in whole.module.state_dict().items():
            assert torch.equal(done.module.state_dict()[name], value), (path.name, name)
        if done.record.validated_at:
            assert done.module.measured["val"] == whole.module.measured["val"]
        assert done.trainer.global_step == whole.trainer.global_step
