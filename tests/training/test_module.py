"""`AutoencoderModule`: several batches in a call and a resume do not change the results."""

from __future__ import annotations

import math
import signal
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from aeframe.errors import AeframeError
from aeframe.evaluation.evaluator import Evaluator
from aeframe.interruption import Interrupted, SignalGuard
from aeframe.training.averaging import WeightAverage
from aeframe.training.loader_output import as_batch
from aeframe.training.metric_buffer import NonFiniteLossError
from aeframe.training.module import AutoencoderModule
from aeframe.training.run_checkpoints import RunCheckpoints
from aeframe.training.trainer import make_trainer
from aeframe.types import Batch, TrainingProgress

from .short_runs import (
    NUM_ROWS,
    PER_EPOCH,
    RECIPES,
    ShortRun,
    differences,
    make_data,
    make_module,
    make_rows,
    plain_trainer,
    train,
)

# Of a few calls of many batches.
pytestmark = pytest.mark.filterwarnings("ignore:The number of training batches .* is smaller than the logging interval")
EPOCHS = 3


class Logged(Logger):
    """A logger that stores each metric by its name and batch."""

    name = version = "logged"

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[tuple[str, int], float] = {}

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.found |= {(name, step or 0): float(value) for name, value in metrics.items()}

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Do nothing."""


def same_end(one: ShortRun, other: ShortRun) -> list[str]:
    """Return the entries that differ between two runs, such as weights, optimizer states and progress."""
    first, second = one.last(), other.last()
    # Lightning counts calls, and a run that groups batches has fewer of them.
    left, right = ({key: value for key, value in each.items() if key != "loops"} for each in (first, second))
    # A run that is resumed after its last batch logs nothing.
    measured = differences(one.module.measured, other.module.measured, "measured") if other.module.measured else []
    best = differences(one.best()["state_dict"], other.best()["state_dict"], "best")
    steps = differences(one.trainer.global_step, other.trainer.global_step, "global_step")
    return differences(left, right) + measured + best + steps


# -- batches in a call ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps_per_call", [4, "auto"])
@pytest.mark.parametrize("recipe", list(RECIPES))
def test_several_batches_in_a_call_give_the_same_bits(recipe: str, steps_per_call: Any, tmp_path: Path) -> None:
    one = train(tmp_path / "one", recipe)
    several = train(tmp_path / "several", recipe, steps_per_call=steps_per_call)
    assert one.module.progress == TrainingProgress(batch=14, epoch=2, batch_in_epoch=0, planned=14, rows=NUM_ROWS)
    assert same_end(one, several) == []


# -- resume --------------------------------------------------------------------------------------------------------


class SignalAt(Callback):
    """A callback that sends a signal at a batch, in the validation after it, or at the end of its epoch."""

    works_in_groups = True

    def __init__(self, guard: SignalGuard, moment: str, batch: int) -> None:
        self.guard, self.moment, self.batch = guard, moment, batch

    def _send(self, moment: str, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, AutoencoderModule)
        if moment == self.moment and pl_module.progress.batch >= self.batch:
            self.guard.received = signal.SIGTERM

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        self._send("batch", pl_module)

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        self._send(f"validation {batch_idx}", pl_module)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._send("epoch", pl_module)


def run(
    folder: Path,
    recipe: str,
    *,
    steps_per_call: Any,
    resume: bool = False,
    stop: tuple[str, int] | None = None,
    epochs: int = EPOCHS,
    ema: bool = True,
    **options: Any,
) -> ShortRun:
    """Train, or resume from ``last.ckpt``; `stop` ends the run by a signal, which leaves a checkpoint there."""
    guard = SignalGuard()
    module = make_module(recipe, **{"accumulate": 2, "gradient_norms": True, **options})
    checkpoints = RunCheckpoints(folder, signals=guard)
    callbacks: list[Callback] = [WeightAverage(0.9)] if ema else []
    if stop is not None:
        callbacks.append(SignalAt(guard, *stop))
    trainer = make_trainer(
        {"accelerator": "cpu", "devices": 1},
        folder=folder,
        callbacks=[*callbacks, checkpoints],
        model=module.model,
        max_epochs=epochs,
        log_every_n_steps=3,
    )
    trainer.loggers = [Logged()]
    path = checkpoints.last if resume else None
    data = make_data(steps_per_call=steps_per_call)
    if stop is None:
        trainer.fit(module, datamodule=data, ckpt_path=path, weights_only=True)
    else:
        with pytest.raises(Interrupted):
            trainer.fit(module, datamodule=data, ckpt_path=path, weights_only=True)
    return ShortRun(module, trainer, checkpoints)


def logged(run: ShortRun) -> dict[tuple[str, int], float]:
    (logger,) = run.trainer.loggers
    assert isinstance(logger, Logged)
    return logger.found


@cache
def whole(recipe: str, folder: Path) -> ShortRun:
    return run(folder / f"whole-{recipe}", recipe, steps_per_call=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("resume")


STOPS = [
    # Inside the first and the second epoch, with a gradient summed and without.
    ("batch", 1),
    ("batch", 2),
    ("batch", 10),
    # After the last batch of an epoch, before its validation; and in each batch of that validation.
    ("batch", 7),
    ("validation 0", 7),
    ("validation 1", 14),
    ("epoch", 14),
    # In the last epoch, and after the whole run.
    ("validation 0", 21),
    ("epoch", 21),
]


OTHER_CALLS = [(4, 1), (1, 4), ("auto", "auto")]
CASES = [
    *((recipe, (1, 1), stop) for recipe in RECIPES for stop in STOPS),
    *(("vae", calls, stop) for calls in OTHER_CALLS for stop in STOPS),
    *((recipe, calls, stop) for recipe in ("vqvae", "aae") for calls in OTHER_CALLS for stop in (STOPS[2], STOPS[4])),
]


@pytest.mark.parametrize(
    ("recipe", "calls", "stop"),
    CASES,
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else value,
)
def test_a_resumed_run_is_the_same_run(
    recipe: str, calls: tuple[Any, Any], stop: tuple[str, int], folder: Path, tmp_path: Path
) -> None:
    first, second = calls
    stopped = run(tmp_path, recipe, steps_per_call=first, stop=stop)
    progress = TrainingProgress(**torch.load(stopped.checkpoints.last, weights_only=True)["aeframe"]["progress"])
    assert progress.batch == stop[1], "inside a group of batches too"
    resumed = run(tmp_path, recipe, steps_per_call=second, resume=True)
    assert same_end(whole(recipe, folder), resumed) == []
    expected, *parts = (logged(each) for each in (whole(recipe, folder), stopped, resumed))
    assert differences(expected, parts[0] | parts[1]) == []
    for counter in ("epoch_progress", "epoch_loop.state_dict"):
        loops = [each.last()["loops"]["fit_loop"][counter] for each in (whole(recipe, folder), resumed)]
        assert differences(*loops) == []


def test_a_run_may_be_stopped_several_times(folder: Path, tmp_path: Path) -> None:
    run(tmp_path, "aae", steps_per_call=1, stop=("batch", 1))
    for stop in (("batch", 3), ("validation 0", 7), ("validation 1", 7), ("epoch", 7), ("batch", 13)):
        run(tmp_path, "aae", steps_per_call=1, resume=True, stop=stop)
    assert same_end(whole("aae", folder), run(tmp_path, "aae", steps_per_call=4, resume=True)) == []


def test_without_an_average_too(folder: Path, tmp_path: Path) -> None:
    expected = run(folder / "no-average", "vae", steps_per_call=1, ema=False)
    run(tmp_path, "vae", steps_per_call=1, ema=False, stop=("validation 0", 7))
    assert same_end(expected, run(tmp_path, "vae", steps_per_call=1, ema=False, resume=True)) == []


def test_a_checkpoint_in_a_validation_holds_the_weights_and_not_their_average(tmp_path: Path) -> None:
    plain = run(tmp_path / "batch", "vae", steps_per_call=1, stop=("batch", 7)).last()
    within = run(tmp_path / "within", "vae", steps_per_call=1, stop=("validation 0", 7)).last()
    for key in ("state_dict", "current_model_state"):
        assert differences(plain[key], within[key]) == []


def test_a_longer_run_keeps_its_schedules_unless_they_are_stretched(tmp_path: Path) -> None:
    rates = []
    for name, options in (("kept", {}), ("stretched", {"stretch_schedules": True})):
        run(tmp_path / name, "vae", steps_per_call=1, epochs=1)
        longer = run(tmp_path / name, "vae", steps_per_call=1, epochs=2, resume=True, stop=("batch", 8), **options)
        rates.append(longer.module.groups[0].optimizer.param_groups[0]["lr"])
        assert longer.module.progress.planned == (7 if name == "kept" else 14)
    assert rates == pytest.approx([0.0, 1e-2 * (1 - 8 / 14)])


def test_a_run_ends_at_its_last_batch_wherever_that_is(tmp_path: Path) -> None:
    ended = train(tmp_path, max_batches=PER_EPOCH + 2, steps_per_call=4, epochs=5)
    assert ended.module.progress == TrainingProgress(batch=9, epoch=1, batch_in_epoch=2, planned=9, rows=NUM_ROWS)
    assert ended.trainer.global_step == 9
    # And a resumed one continues from there, in the same epoch.
    whole = train(tmp_path / "whole", max_batches=PER_EPOCH + 5, epochs=5, optimizer={"name": "sgd", "lr": 0.01})
    train(tmp_path / "half", max_batches=PER_EPOCH + 2, epochs=5, optimizer={"name": "sgd", "lr": 0.01})
    half = train(
        tmp_path / "half",
        max_batches=PER_EPOCH + 5,
        epochs=5,
        optimizer={"name": "sgd", "lr": 0.01},
        resume=tmp_path / "half" / "last.ckpt",
    )
    assert differences(whole.last()["current_model_state"], half.last()["current_model_state"]) == []
    assert half.module.progress.batch == whole.module.progress.batch == PER_EPOCH + 5


# -- what does not change training ---------------------------------------------------------------------------------


def test_evaluation_does_not_change_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = train(tmp_path / "plain")
    update = Evaluator._update_metrics

    def draw_and_update(self: Evaluator, *arguments: Any) -> None:
        torch.randn(17)
        update(self, *arguments)

    monkeypatch.setattr(Evaluator, "_update_metrics", draw_and_update)
    assert same_end(plain, train(tmp_path / "drawn")) == []


def test_another_seed_is_another_run(tmp_path: Path) -> None:
    a, b = train(tmp_path / "a", epochs=1), train(tmp_path / "b", epochs=1, seed=4)
    assert not torch.equal(next(a.module.model.parameters()), next(b.module.model.parameters()))


def test_a_second_fit_begins_at_batch_0(tmp_path: Path) -> None:
    module = make_module()
    for epochs in (1, 2):
        plain_trainer(max_epochs=epochs).fit(module, datamodule=make_data())
        end = 7 * epochs
        assert module.progress == TrainingProgress(
            batch=end, epoch=epochs, batch_in_epoch=0, planned=end, rows=NUM_ROWS
        )


def test_a_validation_between_two_batches_of_a_step_keeps_their_gradients() -> None:
    weights = []
    for interval in (1.0, 3):
        module = make_module(accumulate=2)
        plain_trainer(max_epochs=1, val_check_interval=interval).fit(module, datamodule=make_data())
        weights.append(module.model.state_dict())
    assert differences(*weights) == []


class Gradients(Callback):
    """A callback that stores the gradients of every step."""

    def __init__(self) -> None:
        self.found: list[list[Tensor]] = []

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Any) -> None:
        self.found.append([p.grad.clone() for p in pl_module.parameters() if p.grad is not None])


def test_the_gradient_of_a_step_is_the_mean_of_its_batches() -> None:
    found = []
    for accumulate in (1, 3):
        gradients = Gradients()
        module = make_module(accumulate=accumulate, clip=None, optimizer={"name": "sgd", "lr": 0.0})
        plain_trainer(max_epochs=1, callbacks=[gradients]).fit(module, datamodule=make_data())
        found.append(gradients.found)
    single, summed = found
    assert (len(single), len(summed)) == (7, 3)
    for sum_of, batches in zip(summed, (single[:3], single[3:6], single[6:]), strict=True):
        for gradient, *parts in zip(sum_of, *batches, strict=True):
            torch.testing.assert_close(gradient, torch.stack(parts).mean(0))


# -- numbers that are not finite -----------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_ends_the_run_before_a_checkpoint_of_it_is_written(tmp_path: Path) -> None:
    x = make_rows()
    x[50, 3] = float("nan")
    expected = r"term 'reconstruction' of optimizer group 'autoencoder' is nan at batch \d"
    with pytest.raises(NonFiniteLossError, match=expected):
        train(tmp_path, x=x)
    assert not (tmp_path / "best.ckpt").exists()
    assert not (tmp_path / "last.ckpt").exists()


def test_a_gradient_that_is_not_finite_ends_the_run_at_the_next_evaluation(tmp_path: Path) -> None:
    module = make_module()
    next(module.model.decoder.parameters()).register_hook(lambda gradient: gradient * math.nan)
    name = next(name for name, _ in module.model.named_parameters())
    with pytest.raises(NonFiniteLossError) as caught:
        plain_trainer(max_epochs=1, limit_train_batches=1).fit(module, datamodule=make_data())
    assert str(caught.value) == (
        f"training stopped: weight '{name}' is not finite after batch 0, so a gradient was not; lower optimizer.lr, "
        "set clip=1.0, or look at the data of that batch"
    )


# -- what is logged ------------------------------------------------------------------------------------------------


class Numbers(Callback):
    """A callback that stores the names of metrics that callbacks can monitor."""

    def __init__(self) -> None:
        self.found: set[str] = set()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.found = set(trainer.callback_metrics)


def test_terms_and_metrics_can_be_monitored(tmp_path: Path) -> None:
    numbers = Numbers()
    ended = train(tmp_path, "aae", callbacks=[numbers])
    expected = {"loss", "reconstruction", "adversarial", "discriminator_z/loss", "discriminator_z/real"}
    assert {f"train/{name}" for name in expected} <= numbers.found
    assert {f"val/{name}" for name in [*expected, "bound", "mse"]} <= numbers.found
    assert ended.module.measured["val"]["mse"] > 0


def test_a_metric_with_the_name_of_a_term_is_refused() -> None:
    module = make_module()
    evaluator = Evaluator(module.model, {"kl": {"name": "mse"}}, seed=3)
    module._callbacks[:] = [evaluator]
    with pytest.raises(AeframeError) as caught:
        plain_trainer(max_epochs=1).fit(module, datamodule=make_data())
    assert str(caught.value) == (
        "metric 'kl' has the name of a term, so one of them would be lost; leave it out with metrics.kl=null"
    )


def test_two_optimizers_take_two_steps_a_batch(tmp_path: Path) -> None:
    ended = train(tmp_path, "aae", epochs=1)
    assert ended.trainer.global_step == 2 * PER_EPOCH
    assert ended.module.progress.batch == PER_EPOCH
    assert ended.checkpoints.best.is_file()


# -- checkpoints ---------------------------------------------------------------------------------------------------


def test_a_checkpoint_is_read_without_pickle_and_holds_plain_values(tmp_path: Path) -> None:
    ended = train(tmp_path, epochs=1, config={"latent": {"name": "gaussian", "dim": 3}})
    checkpoint = ended.last()
    assert checkpoint["aeframe"]["progress"] == {"batch": 7, "epoch": 1, "batch_in_epoch": 0, "planned": 7, "rows": 100}
    assert checkpoint["hyper_parameters"] == {"latent": {"name": "gaussian", "dim": 3}}


def test_a_checkpoint_of_another_module_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.ckpt"
    trainer = plain_trainer(max_epochs=1, enable_checkpointing=True)

    class Other(L.LightningModule):
        def training_step(self, batch: list[Tensor], _: int) -> Tensor:
            return self.layer(batch[0]).mean()

        def configure_optimizers(self) -> torch.optim.Optimizer:
            self.layer = torch.nn.Linear(12, 1)
            return torch.optim.SGD(self.layer.parameters(), lr=0.1)

    other = Other()
    other.layer = torch.nn.Linear(12, 1)
    quiet = plain_trainer(max_epochs=1, default_root_dir=tmp_path)
    quiet.fit(other, DataLoader(TensorDataset(make_rows()), batch_size=50))
    quiet.save_checkpoint(path)
    with pytest.raises(AeframeError) as caught:
        trainer.fit(make_module(), datamodule=make_data(), ckpt_path=path)
    assert str(caught.value) == (
        "this checkpoint is of another module: it holds no training progress of aeframe; resume from the folder of a "
        "run"
    )


def test_a_checkpoint_of_another_model_names_the_first_tensor_that_differs(tmp_path: Path) -> None:
    train(tmp_path, "vae", epochs=1)
    with pytest.raises(AeframeError) as caught:
        train(tmp_path, "contractive", epochs=2, resume=tmp_path / "last.ckpt")
    assert str(caught.value) == (
        "this checkpoint is of another model: 'latent.head.linear.weight' is (6, 16) in it and (3, 16) in the model of "
        "this run's config; resume the run that it belongs to"
    )


def test_the_weights_after_validation_are_those_before_it(tmp_path: Path) -> None:
    ended = train(tmp_path, epochs=1)
    stored = ended.last()
    name, _ = next(iter(ended.module.model.named_parameters()))
    assert not torch.equal(stored["state_dict"][f"model.{name}"], stored["current_model_state"][f"model.{name}"])
    # Training that continues from here begins with the weights, not with their average.
    unaveraged = train(tmp_path / "unaveraged", epochs=1, ema=None)
    assert differences(unaveraged.last()["state_dict"], stored["current_model_state"]) == []


# -- any Trainer, any data -----------------------------------------------------------------------------------------


def test_batches_of_a_users_own_loader() -> None:
    x, labels = make_rows(), torch.arange(NUM_ROWS) % 3
    module = make_module()
    trainer = plain_trainer(max_epochs=2)
    trainer.fit(
        module,
        DataLoader(TensorDataset(x, labels), batch_size=16, shuffle=True),
        DataLoader(TensorDataset(x[:20]), batch_size=16),
    )
    assert module.progress == TrainingProgress(batch=14, epoch=2, batch_in_epoch=0, planned=14, rows=0)
    codes = trainer.predict(module, DataLoader(TensorDataset(x[:20]), batch_size=16))
    assert codes is not None
    assert [tuple(each.shape) for each in codes if isinstance(each, Tensor)] == [(16, 3), (4, 3)]


def test_what_a_loader_may_yield() -> None:
    x, labels = torch.rand(4, 12), torch.arange(4)
    batch = Batch(x)
    assert as_batch(batch) is batch
    assert as_batch(x).x is x
    assert as_batch([x]).extras == {}
    assert as_batch((x, labels)).extras["label"] is labels
    assert as_batch((x, x)).extras == {}
    with pytest.raises(AeframeError) as caught:
        as_batch({"x": x})
    assert str(caught.value) == (
        "AutoencoderModule trains on Batch, a tensor x or (x, label), found dict from the loader; return one of these "
        "from the dataset"
    )


class Batches(Callback):
    """A callback that stores the progress at the end of every batch."""

    works_in_groups = True

    def __init__(self) -> None:
        self.found: list[int] = []

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, AutoencoderModule)
        self.found.append(pl_module.progress.batch)


@pytest.mark.parametrize("steps_per_call", [1, 4, "auto"])
def test_a_callback_that_works_in_groups_is_called_at_the_end_of_every_batch(
    tmp_path: Path, steps_per_call: Any
) -> None:
    batches = Batches()
    train(tmp_path, steps_per_call=steps_per_call, callbacks=[batches], max_batches=PER_EPOCH + 2)
    assert batches.found == list(range(1, PER_EPOCH + 3))
