"""Lightning's own callbacks and loggers have their effects, in a plain `L.Trainer` and in a run of `aeframe.fit`."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch.callbacks import (
    Callback,
    DeviceStatsMonitor,
    EarlyStopping,
    EMAWeightAveraging,
    GradientAccumulationScheduler,
    LearningRateMonitor,
    ModelCheckpoint,
    RichProgressBar,
    StochasticWeightAveraging,
    Timer,
)
from lightning.pytorch.loggers import CSVLogger, MLFlowLogger, TensorBoardLogger, WandbLogger
from torch import Tensor, nn

import aeframe
from aeframe.data.datamodule import DataModule
from aeframe.errors import AeframeError
from aeframe.experiment.main import main as aeframe_train
from aeframe.training.module import AutoencoderModule

pytestmark = [
    # Lightning warns of weights after the step, which automatic optimization saves as well.
    pytest.mark.filterwarnings("ignore:Using ModelCheckpoint with manual optimization"),
    # Of the packages of the trackers.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

BATCH, EPOCH = 16, 7  # 100 rows
RATE = {"name": "linear", "start": 1e-2, "end": 0.0}
TERMS = ("reconstruction", "kl", "loss")
MakeTrainer = Callable[..., L.Trainer]
MakeModule = Callable[..., AutoencoderModule]


class Weights(Callback):
    """Keep the weights after each batch and each epoch, and the numbers of each validation."""

    works_in_groups = False

    def __init__(self) -> None:
        self.by_batch: list[Tensor] = []
        self.by_epoch: list[Tensor] = []
        self.measured: list[dict[str, float]] = []

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any, **__: Any) -> None:
        self.by_batch.append(weights(pl_module))

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.by_epoch.append(weights(pl_module))

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, AutoencoderModule)
        if not trainer.sanity_checking:
            self.measured.append(dict(pl_module.measured["val"]))


def weights(module: nn.Module) -> Tensor:
    return nn.utils.parameters_to_vector(module.parameters()).detach().clone()


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def column(rows: list[dict[str, str]], name: str) -> list[tuple[int, float]]:
    return [(int(row["step"]), float(row[name])) for row in rows if row.get(name)]


# -- callbacks in a plain Trainer ------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", ["vae", "aae"])
def test_learning_rate_monitor_logs_the_schedule(
    recipe: str, tmp_path: Path, trainer: MakeTrainer, module: MakeModule, data: DataModule
) -> None:
    logger, monitor = CSVLogger(tmp_path), LearningRateMonitor(logging_interval="step")
    its_trainer = trainer(logger=logger, callbacks=[monitor], log_every_n_steps=1)
    its_trainer.fit(module(recipe, optimizer={"name": "adam", "lr": RATE}), datamodule=data)
    rows = table(Path(logger.log_dir) / "metrics.csv")
    planned = 2 * EPOCH
    for group in ["lr-autoencoder", "lr-discriminator_z"][: 1 + (recipe == "aae")]:
        found = column(rows, group)
        assert [step for step, _ in found] == list(range(planned))
        assert [rate for _, rate in found] == pytest.approx([1e-2 * (1 - step / planned) for step in range(planned)])
        assert monitor.lrs[group] == [rate for _, rate in found]


def test_learning_rate_monitor_by_epoch(
    tmp_path: Path, trainer: MakeTrainer, module: MakeModule, data: DataModule
) -> None:
    logger = CSVLogger(tmp_path)
    its_trainer = trainer(logger=logger, callbacks=[LearningRateMonitor(logging_interval="epoch")])
    its_trainer.fit(module(optimizer={"name": "adam", "lr": RATE}), datamodule=data)
    rows = table(Path(logger.log_dir) / "metrics.csv")
    assert [rate for _, rate in column(rows, "lr-autoencoder")] == pytest.approx([1e-2, 5e-3])


@pytest.mark.parametrize("recipe", ["vae", "aae"])
def test_ema_weight_averaging_is_the_average_by_hand(
    recipe: str, tmp_path: Path, trainer: MakeTrainer, module: MakeModule, data: DataModule
) -> None:
    raw, made = Weights(), module(recipe, optimizer={"name": "adam", "lr": 1e-2})
    saved = ModelCheckpoint(tmp_path)
    its_trainer = trainer(callbacks=[raw, EMAWeightAveraging(decay=0.9), saved])
    its_trainer.fit(made, datamodule=data)
    assert len(raw.by_batch) == 2 * EPOCH
    average = raw.by_batch[0]
    for each in raw.by_batch[1:]:
        average = 0.9 * average + 0.1 * each
    torch.testing.assert_close(weights(made), average)
    assert not torch.allclose(raw.by_batch[-1], average, atol=1e-3)
    # It was validated with the average, which Lightning puts into the module at the end.
    (now,) = its_trainer.validate(made, datamodule=data, verbose=False)
    assert now["val/mse"] == pytest.approx(raw.measured[-1]["mse"], rel=1e-5)
    checkpoint = torch.load(saved.best_model_path, weights_only=True)
    name = next(name for name, _ in made.named_parameters())
    torch.testing.assert_close(checkpoint["state_dict"][name], made.state_dict()[name])
    assert not torch.equal(checkpoint["current_model_state"][name], checkpoint["state_dict"][name])


@pytest.mark.parametrize("monitor", ["val/bound", "train/loss", "val/mse"])
def test_early_stopping(monitor: str, trainer: MakeTrainer, module: MakeModule, data: DataModule) -> None:
    made, stop = module(), EarlyStopping(monitor, patience=2, min_delta=1e6)
    its_trainer = trainer(callbacks=[stop], max_epochs=10)
    its_trainer.fit(made, datamodule=data)
    assert (stop.stopped_epoch, its_trainer.current_epoch, made.progress.batch) == (2, 3, 3 * EPOCH)
    assert float(stop.best_score) != float("inf")


def test_early_stopping_of_a_name_that_is_not_measured(
    trainer: MakeTrainer, module: MakeModule, data: DataModule
) -> None:
    with pytest.raises(RuntimeError, match=r"val/elbo.*not available.*val/bound"):
        trainer(callbacks=[EarlyStopping("val/elbo")]).fit(module(), datamodule=data)


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks used to create the checkpoint")
def test_the_three_best_checkpoints(tmp_path: Path, trainer: MakeTrainer, module: MakeModule, data: DataModule) -> None:
    raw = Weights()
    # The schedule ends in steps that are much too large, so that the best is not the last.
    rate = {"name": "linear", "start": 1e-3, "end": 0.5}
    save = ModelCheckpoint(tmp_path, "{epoch}", monitor="val/bound", save_top_k=3, save_weights_only=False)
    its_trainer = trainer(callbacks=[raw, save], max_epochs=6)
    its_trainer.fit(module(optimizer={"name": "adam", "lr": rate}), datamodule=data)
    bounds = [each["bound"] for each in raw.measured]
    best = sorted(range(6), key=bounds.__getitem__)[:3]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"epoch={epoch}.ckpt" for epoch in best)
    assert Path(save.best_model_path).name == f"epoch={best[0]}.ckpt"
    for epoch in best:
        path = tmp_path / f"epoch={epoch}.ckpt"
        assert float(save.best_k_models[str(path)]) == pytest.approx(bounds[epoch], rel=1e-6)
        # Into another module, by the Trainer and by hand.
        other = module()
        (numbers,) = trainer().validate(other, datamodule=data, ckpt_path=path, weights_only=True, verbose=False)
        assert numbers["val/bound"] == pytest.approx(bounds[epoch], rel=1e-12)
        torch.testing.assert_close(weights(other), raw.by_epoch[epoch], rtol=0, atol=0)
        loaded = AutoencoderModule.load_from_checkpoint(path, model=module().model, weights_only=True)
        torch.testing.assert_close(weights(loaded), raw.by_epoch[epoch], rtol=0, atol=0)


def test_checkpoints_every_n_train_steps(
    tmp_path: Path, trainer: MakeTrainer, module: MakeModule, data: DataModule
) -> None:
    raw = Weights()
    save = ModelCheckpoint(
        tmp_path, "{step}", every_n_train_steps=2, save_top_k=3, monitor="step", mode="max", save_last=True
    )
    trainer(callbacks=[raw, save]).fit(module(), datamodule=data)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "last.ckpt",
        "step=10.ckpt",
        "step=12.ckpt",
        "step=14.ckpt",
    ]
    for step in (10, 12, 14):
        other = module()
        checkpoint = torch.load(tmp_path / f"step={step}.ckpt", weights_only=True)
        other.load_state_dict(checkpoint["state_dict"])
        torch.testing.assert_close(weights(other), raw.by_batch[step - 1], rtol=0, atol=0)
        assert checkpoint["global_step"] == checkpoint["aeframe"]["progress"]["batch"] == step


def test_timer(trainer: MakeTrainer, module: MakeModule, data: DataModule) -> None:
    timer, began = Timer(timedelta(seconds=0.3)), time.monotonic()
    its_trainer = trainer(callbacks=[timer], max_epochs=-1)
    its_trainer.fit(module(), datamodule=data)
    assert 0.3 <= timer.time_elapsed("train") <= time.monotonic() - began < 20
    assert timer.time_elapsed("validate") > 0
    # At the end of a batch, not of an epoch: some runs end inside one.
    assert its_trainer.global_step > 0


def test_rich_progress_bar(trainer: MakeTrainer, module: MakeModule, data: DataModule) -> None:
    text = io.StringIO()
    bar = RichProgressBar(console_kwargs={"file": text, "force_terminal": True, "width": 200, "record": True})
    trainer(callbacks=[bar], enable_progress_bar=True).fit(module(), datamodule=data)
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text.getvalue())
    assert "Epoch 1/1" in shown
    assert f"{EPOCH}/{EPOCH}" in shown


@pytest.mark.filterwarnings("ignore:SWA is currently only supported every epoch")
@pytest.mark.parametrize("batch_norm", [False, True])
def test_stochastic_weight_averaging_is_the_mean_by_hand(
    batch_norm: bool, trainer: MakeTrainer, module: MakeModule, data: DataModule, rows: Tensor
) -> None:
    raw, made = Weights(), module(optimizer={"name": "sgd", "lr": RATE})
    dense, layer = nn.Linear(12, 16), nn.BatchNorm1d(16)
    if batch_norm:
        made.model.encoder.layers = nn.Sequential(dense, layer, nn.ReLU())
    rates: list[float] = []

    class Rates(Callback):
        def on_train_batch_end(self, trainer: L.Trainer, *_: Any, **__: Any) -> None:
            rates.append(float(trainer.optimizers[0].param_groups[0]["lr"]))

    average = StochasticWeightAveraging(swa_lrs=5e-3, swa_epoch_start=3, annealing_epochs=1)
    its_trainer = trainer(callbacks=[raw, Rates(), average], max_epochs=6)
    its_trainer.fit(made, datamodule=data)
    assert its_trainer.global_step == 6 * EPOCH
    # Lightning adds the weights at the start of each epoch, from the one before `swa_epoch_start` on.
    expected = torch.stack(raw.by_epoch[1:5]).mean(0)
    torch.testing.assert_close(weights(made), expected)
    assert not torch.allclose(raw.by_epoch[5], expected, atol=1e-4)
    # Its own schedule takes the place of ours.
    planned = (6 + batch_norm) * EPOCH
    assert rates[: 2 * EPOCH - 1] == pytest.approx([1e-2 * (1 - i / planned) for i in range(1, 2 * EPOCH)])
    assert rates[6 * EPOCH - 1] == pytest.approx(5e-3)
    if batch_norm:
        # One more epoch of forward passes: the statistics are those of the average, over the training data.
        assert int(layer.num_batches_tracked) == EPOCH
        assert layer.running_mean is not None
        torch.testing.assert_close(layer.running_mean, dense(rows).mean(0).detach(), rtol=0, atol=0.02)


def test_device_stats_monitor(tmp_path: Path, trainer: MakeTrainer, module: MakeModule, data: DataModule) -> None:
    pytest.importorskip("psutil")
    logger = CSVLogger(tmp_path)
    trainer(logger=logger, callbacks=[DeviceStatsMonitor(cpu_stats=True)]).fit(module(), datamodule=data)
    rows = table(Path(logger.log_dir) / "metrics.csv")
    for hook in ("on_train_batch_start", "on_train_batch_end"):
        found = column(rows, f"DeviceStatsMonitor.{hook}/cpu_vm_percent")
        assert [step for step, _ in found] == [2, 5, 8, 11]
        assert all(0 < percent <= 100 for _, percent in found)


def test_gradient_accumulation_scheduler_is_refused(
    tmp_path: Path, trainer: MakeTrainer, module: MakeModule, data: DataModule
) -> None:
    with pytest.raises(RuntimeError, match=r"not supported for\s+manual optimization"):
        trainer(callbacks=[GradientAccumulationScheduler({0: 2})]).fit(module(), datamodule=data)
    scheduler = "{class: lightning.pytorch.callbacks.GradientAccumulationScheduler, scheduling: {0: 2}}"
    with pytest.raises(AeframeError) as error:
        small_run(tmp_path, overrides=[f"callbacks.accumulation={scheduler}"])
    assert str(error.value) == (
        "callback GradientAccumulationScheduler works in automatic optimization only; "
        "set accumulate=, or optimizers.GROUP.accumulate="
    )
    assert not (tmp_path / "run").exists()


# -- loggers in a plain Trainer --------------------------------------------------------------------------------------

CONFIG = {"model": {"name": "vae"}, "latent": {"dim": 3}, "batch_size": 16, "tags": ["a", "b"], "clip": None}
STEPS = {"train/loss": [3, 6, 7, 9, 12, 14], "val/mse": [7, 14], "val/bound": [7, 14], "train_epoch/kl": [7, 14]}


def logged(trainer: L.Trainer, module: AutoencoderModule, data: DataModule) -> list[dict[str, float]]:
    """Train; return the numbers of each validation."""
    raw = Weights()
    trainer.callbacks.append(raw)  # type: ignore[attr-defined]
    trainer.fit(module, datamodule=data)
    return raw.measured


def test_csv_logger(tmp_path: Path, trainer: MakeTrainer, module: MakeModule, data: DataModule) -> None:
    logger = CSVLogger(tmp_path)
    measured = logged(trainer(logger=logger), module(config=CONFIG), data)
    rows = table(Path(logger.log_dir) / "metrics.csv")
    for name, steps in STEPS.items():
        assert [step for step, _ in column(rows, name)] == steps
    for name in measured[0]:
        assert [value for _, value in column(rows, f"val/{name}")] == [each[name] for each in measured]
    assert yaml.safe_load((Path(logger.log_dir) / "hparams.yaml").read_text(encoding="utf-8")) == CONFIG


def test_csv_logger_has_written_what_a_killed_run_logged(
    tmp_path: Path, trainer: MakeTrainer, module: MakeModule, data: DataModule
) -> None:
    logger, found = CSVLogger(tmp_path), []

    class Look(Callback):
        def on_train_batch_end(self, trainer: L.Trainer, *_: Any, **__: Any) -> None:
            if trainer.global_step == 4:
                found.extend(table(Path(logger.log_dir) / "metrics.csv"))

    trainer(logger=logger, callbacks=[Look()]).fit(module(), datamodule=data)
    assert [step for step, _ in column(found, "train/loss")] == [3]


def tensorboard_scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    module = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = module.EventAccumulator(str(folder)).Reload()
    return {name: [(e.step, e.value) for e in events.Scalars(name)] for name in events.Tags()["scalars"]}


def test_tensorboard_logger(tmp_path: Path, trainer: MakeTrainer, module: MakeModule, data: DataModule) -> None:
    pytest.importorskip("tensorboard")
    logger = TensorBoardLogger(tmp_path, default_hp_metric=False)
    measured = logged(trainer(logger=logger), module(config=CONFIG), data)
    scalars = tensorboard_scalars(Path(logger.log_dir))
    for name, steps in STEPS.items():
        assert [step for step, _ in scalars[name]] == steps
    for name in measured[0]:
        expected = [each[name] for each in measured]
        assert [value for _, value in scalars[f"val/{name}"]] == pytest.approx(expected, rel=1e-6)
    assert yaml.safe_load((Path(logger.log_dir) / "hparams.yaml").read_text(encoding="utf-8")) == CONFIG


def wandb_runs(folder: Path) -> list[dict[str, Any]]:
    """Return the offline runs below `folder` in their order: id, config, history by name, pictures and exit code."""
    program = Path(sys.executable).parent / "wandb"
    runs = []
    for path in sorted(folder.glob("wandb/offline-run-*/run-*.wandb")):
        done = subprocess.run([program, "leet", "inspect", "--json", path], capture_output=True, text=True, check=True)
        run: dict[str, Any] = {"config": {}, "history": {}, "pictures": set(), "exit": None}
        for record in map(json.loads, done.stdout.splitlines()):
            kind, body = record["type"], record.get(record["type"], {})
            if kind == "run":
                run["id"] = body["run_id"]
                run["project"] = body["project"]
            if kind in ("run", "config"):
                found = body.get("config", body) if kind == "run" else body
                run["config"] |= found.get("update", {})
            if kind == "history":
                item = body.get("item", body)
                step = item.get("trainer/global_step")
                for name, value in item.items():
                    if name.endswith(".filenames") and all((path.parent / "files" / file).is_file() for file in value):
                        run["pictures"].add(name.removesuffix(".filenames"))
                    run["history"].setdefault(name, []).append((step, value))
            if kind == "exit":
                run["exit"] = body.get("exit_code", 0)
        runs.append(run)
    return runs


@pytest.fixture
def _wandb(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    for name, value in {"SILENT": "true", "DISABLE_GIT": "true", "DISABLE_CODE": "true", "CONSOLE": "off"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "wandb_config"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "wandb_cache"))
    for name in ("API_KEY", "MODE", "PROJECT", "RUN_ID", "DIR"):
        monkeypatch.delenv(f"WANDB_{name}", raising=False)


@pytest.mark.usefixtures("_wandb")
def test_wandb_logger(tmp_path: Path, trainer: MakeTrainer, module: MakeModule, data: DataModule) -> None:
    logger = WandbLogger(name="one", id="first", project="test", save_dir=tmp_path, mode="offline")
    measured = logged(trainer(logger=logger), module(config=CONFIG), data)
    logger.experiment.finish()
    (run,) = wandb_runs(tmp_path)
    assert (run["id"], run["project"], run["exit"]) == ("first", "test", 0)
    for name, steps in STEPS.items():
        assert [step for step, _ in run["history"][name]] == steps
    for name in measured[0]:
        assert [value for _, value in run["history"][f"val/{name}"]] == [each[name] for each in measured]
    assert {name: run["config"][name] for name in CONFIG} == CONFIG


def mlflow_client(uri: str) -> Any:
    tracking = pytest.importorskip("mlflow.tracking")
    return tracking.MlflowClient(uri)


@pytest.mark.slow
def test_mlflow_logger(tmp_path: Path, trainer: MakeTrainer, module: MakeModule, data: DataModule) -> None:
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    logger = MLFlowLogger("test", run_name="one", tracking_uri=uri, artifact_location=(tmp_path / "files").as_uri())
    measured = logged(trainer(logger=logger), module(config=CONFIG), data)
    client, run_id = mlflow_client(uri), str(logger.run_id)
    for name, steps in STEPS.items():
        assert [each.step for each in client.get_metric_history(run_id, name)] == steps
    for name in measured[0]:
        found = [each.value for each in client.get_metric_history(run_id, f"val/{name}")]
        assert found == [each[name] for each in measured]
    run = client.get_run(run_id)
    assert run.data.params["model/name"] == "vae"
    assert run.data.params["batch_size"] == "16"
    assert run.info.status == "FINISHED"


# -- in a run of aeframe ---------------------------------------------------------------------------------------------


def small_run(folder: Path, name: str = "run", **settings: Any) -> Any:
    """Train a VAE on 130 rows of which 100 or so are to train on."""
    if not (folder / "rows.npy").exists():
        values = np.random.default_rng(0).normal(size=(130, 6)) @ np.diag([3, 2, 1, 1, 0.5, 0.1])
        np.save(folder / "rows.npy", values)
    if "resume" in settings:
        return aeframe.fit(**settings)
    return aeframe.fit(
        **{
            "model": "vae",
            "data": {"name": "numbers", "path": str(folder / "rows.npy")},
            "encoder": {"hidden": [8]},
            "latent": {"dim": 2},
            "optimizer": {"lr": {"name": "linear", "start": 1e-2, "end": 0.0}},
            "batch_size": BATCH,
            "max_epochs": 2,
            "log_every": 3,
            "pictures": False,
            "folder": str(folder / name),
            **settings,
        }
    )


def run_table(folder: Path) -> dict[tuple[str, str], list[tuple[int, float]]]:
    """Return the run's own ``metrics.csv`` by split and name."""
    found: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for row in table(folder / "metrics.csv"):
        found.setdefault((row["split"], row["name"]), []).append((int(row["step"]), float(row["value"])))
    return found


LOGGERS: dict[str, Any] = {
    "wandb": {"mode": "offline", "project": "mine"},
    "tensorboard": {},
    "csv": {"class": "lightning.pytorch.loggers.CSVLogger", "name": "csv"},
}
CALLBACKS = {"lr": {"class": "lightning.pytorch.callbacks.LearningRateMonitor", "logging_interval": "step"}}


@pytest.mark.usefixtures("_wandb")
def test_a_run_with_a_callback_and_several_loggers_and_its_resume(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run = small_run(tmp_path, callbacks=CALLBACKS, logger=LOGGERS, pictures=True)
    folder = run.folder
    own = run_table(folder)
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    assert set(config["logger"]) == set(LOGGERS)
    # The callback: the rates of the schedule, at every third batch.
    rates = own["train", "lr-autoencoder"]
    planned = own["test", "kl"][0][0]
    assert [step for step, _ in rates] == list(range(2, planned, 3))
    assert rates == [(step, pytest.approx(1e-2 * (1 - step / planned))) for step, _ in rates]
    # All numbers are in every tracker, at the same batches.
    (tracked,) = wandb_runs(folder)
    scalars = tensorboard_scalars(folder / "tensorboard")
    rows = table(next((folder / "csv").glob("*/metrics.csv")))
    assert {f"val/{name}" for name in (*TERMS, "bound")} <= set(tracked["history"])
    for (split, name), expected in own.items():
        known = name if name == "lr-autoencoder" else f"{split}/{name}"
        assert tracked["history"][known] == expected, known
        assert [step for step, _ in scalars[known]] == [step for step, _ in expected], known
        assert [v for _, v in scalars[known]] == pytest.approx([v for _, v in expected], rel=1e-5), known
        assert column(rows, known) == expected, known
    assert {name: values[-1][1] for name, values in tracked["history"].items() if name.startswith("test/")} == {
        f"test/{name}": value for name, value in run.metrics.items()
    }
    # The config is its hyper-parameters.
    assert {name: tracked["config"][name] for name in config if name not in ("folder", "resume")} == {
        name: value for name, value in config.items() if name not in ("folder", "resume")
    }
    assert (tracked["project"], tracked["exit"]) == ("mine", 0)
    hparams = (folder / "tensorboard" / "hparams.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(hparams)["latent"] == config["latent"]
    # So are the pictures.
    names = {f"pictures/{path.stem}" for path in (folder / "pictures").iterdir()}
    assert names
    assert tracked["pictures"] == names
    module = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = module.EventAccumulator(str(folder / "tensorboard")).Reload()
    assert set(events.Tags()["images"]) == names

    # A resume is the same run in every tracker, and logs nothing twice.
    small_run(tmp_path, resume=str(folder), max_epochs=3)
    first, second = wandb_runs(folder)
    assert first["id"] == second["id"] == tracked["id"]
    both = run_table(folder)
    assert len(both["val", "kl"]) == 3
    assert first["history"]["val/kl"] + second["history"]["val/kl"] == both["val", "kl"]
    steps = [step for step, _ in tensorboard_scalars(folder / "tensorboard")["val/kl"]]
    assert steps == [step for step, _ in both["val", "kl"]]


@pytest.mark.usefixtures("_wandb")
def test_two_fits_in_one_process_are_two_runs(tmp_path: Path) -> None:
    import wandb

    runs = [
        small_run(tmp_path, name, logger={"wandb": {"mode": "offline"}}, seed=seed)
        for seed, name in enumerate(["one", "two"])
    ]
    assert wandb.run is None
    found = [each for run in runs for each in wandb_runs(run.folder)]
    assert len({each["id"] for each in found}) == len(found) == 2
    assert [each["config"]["seed"] for each in found] == [0, 1]
    for run, each in zip(runs, found, strict=True):
        assert each["history"]["val/bound"] == run_table(run.folder)["val", "bound"]


@pytest.mark.usefixtures("_wandb")
def test_a_run_that_fails_ends_its_tracker_run(tmp_path: Path) -> None:
    import wandb

    with pytest.raises(AeframeError, match="training stopped"):
        small_run(tmp_path, logger={"wandb": {"mode": "offline"}}, optimizer={"lr": 1e30, "name": "sgd"})
    assert wandb.run is None
    (tracked,) = wandb_runs(tmp_path / "run")
    assert tracked["exit"] == 1


@pytest.mark.slow
def test_a_run_in_mlflow_and_its_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    run = small_run(tmp_path, logger="mlflow", pictures=True)
    small_run(tmp_path, resume=str(run.folder), max_epochs=3)
    client = mlflow_client(f"sqlite:///{run.folder / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'aeframe'")
    (tracked,) = client.search_runs([experiment.experiment_id])
    own = run_table(run.folder)
    for (split, name), expected in own.items():
        if split == "test":
            continue
        history = client.get_metric_history(tracked.info.run_id, f"{split}/{name}")
        assert [(each.step, each.value) for each in history] == expected
    assert tracked.data.params["latent/dim"] == "2"
    assert tracked.info.status == "FINISHED"
    pictures = {Path(each.path).name for each in client.list_artifacts(tracked.info.run_id, "pictures")}
    assert pictures == {path.name for path in (run.folder / "pictures").iterdir()}
    # Everything is in the run folder, and nothing in the working directory.
    assert list((tmp_path / "here").iterdir()) == []
    assert len(list((run.folder / "mlflow").rglob("*.png"))) == len(pictures)


def test_callbacks_and_loggers_on_the_command_line(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    small_run(tmp_path, "first")
    folder = tmp_path / "run"
    overrides = [
        "model=vae",
        "data=numbers",
        f"data.path={tmp_path / 'rows.npy'}",
        "encoder.hidden=[8]",
        "latent.dim=2",
        f"batch_size={BATCH}",
        "max_epochs=2",
        "log_every=3",
        "pictures=false",
        f"folder={folder}",
        "callbacks.lr.class=lightning.pytorch.callbacks.LearningRateMonitor",
        "callbacks.lr.logging_interval=epoch",
        "callbacks.stop={class: lightning.pytorch.callbacks.EarlyStopping, monitor: val/bound, min_delta: 1e6}",
        "callbacks.stop.patience=1",
        "logger=tensorboard",
        "logger.csv={class: lightning.pytorch.loggers.CSVLogger, name: csv}",
    ]
    assert aeframe_train([*overrides, "max_epochs=9"]) == 0
    own = run_table(folder)
    assert len(own["val", "bound"]) == 2
    assert len(own["train", "lr-autoencoder"]) == 2
    rows = table(next((folder / "csv").glob("*/metrics.csv")))
    scalars = tensorboard_scalars(folder / "tensorboard")
    assert column(rows, "val/bound") == own["val", "bound"]
    assert [step for step, _ in scalars["val/bound"]] == [step for step, _ in own["val", "bound"]]
