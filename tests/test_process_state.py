"""A run leaves the process it ran in as it was."""

from __future__ import annotations

import errno
import logging
import os
import random
import signal
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import version
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobRuntime

import aeframe
from aeframe.errors import AeframeError
from aeframe.experiment.compose import compose
from aeframe.experiment.workflow import train
from aeframe.training.metric_buffer import NonFiniteLossError
from aeframe.training.module import AutoencoderModule

QUICK: dict[str, Any] = {
    "model": "vae",
    "data": "breast_cancer",
    "encoder": {"hidden": [8]},
    "latent": {"dim": 2},
    "batch_size": 64,
    "pictures": False,
}


def state() -> dict[str, Any]:
    """Return everything that a run could change of its process."""
    return {
        "torch": torch.get_rng_state().tolist(),
        "numpy": [np.asarray(part).tolist() for part in np.random.get_state()],  # noqa: NPY002 -- the global one
        "python": random.getstate(),
        "threads": torch.get_num_threads(),
        "dtype": torch.get_default_dtype(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "cudnn": (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark),
        "filters": list(warnings.filters),
        "formatwarning": warnings.formatwarning,
        "levels": [logging.getLogger(name).level for name in ("", "lightning.pytorch", "lightning.fabric")],
        "handlers": {number: signal.getsignal(number) for number in signal.valid_signals()},
        # scikit-learn sets some of Intel's OpenMP when it is imported.
        "environment": {name: value for name, value in os.environ.items() if not name.startswith("KMP_")},
        "hydra": GlobalHydra.instance().hydra,
        "job": JobRuntime.instance().get("name"),
        "version base": version.getbase(),
        "folder": Path.cwd(),
    }


def changed(before: dict[str, Any]) -> list[str]:
    after = state()
    return [name for name, value in before.items() if value != after[name]]


@pytest.fixture(autouse=True)
def _somebodys_program(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Another Hydra application, with settings of its own."""
    JobRuntime.instance().set("name", "an_application")
    version.setbase("1.2")
    monkeypatch.setattr(warnings, "formatwarning", lambda *_: "theirs")
    handler = signal.signal(signal.SIGTERM, lambda *_: None)
    yield
    signal.signal(signal.SIGTERM, handler)


def test_a_run_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    before = state()
    trainer = {"threads": 2, "deterministic": True, "accelerator": "cpu"}
    aeframe.fit(**QUICK, max_epochs=1, seed=3, folder=tmp_path / "run", trainer=trainer)
    assert changed(before) == []


def test_a_run_that_is_refused_or_fails_does_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = state()
    with pytest.raises(AeframeError):
        aeframe.fit(**{**QUICK, "batch_size": 10_000}, folder=tmp_path / "run")
    assert changed(before) == []
    monkeypatch.setattr("aeframe.experiment.saving.save_model", fail)
    with pytest.raises(AeframeError, match="No space left on device"):
        aeframe.fit(**QUICK, max_epochs=1, folder=tmp_path / "run")
    assert changed(before) == []


def fail(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_composing_and_building_do_too() -> None:
    before = state()
    compose(["model=vae"])
    module, data = aeframe.build(**QUICK, seed=3)
    assert changed(before) == []
    assert (module.seed, data.batch_size) == (3, 64)


@pytest.mark.parametrize("batch", [0, 6, 7, 15])
def test_a_gradient_that_is_not_finite_is_named_and_no_checkpoint_has_it(
    batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Eight batches an epoch: the last one of an epoch, and of the run, are tried too.
    step = AutoencoderModule.on_before_optimizer_step

    def spoil(self: AutoencoderModule, optimizer: torch.optim.Optimizer) -> None:
        step(self, optimizer)
        if self.progress.batch == batch:
            next(self.model.parameters()).grad.fill_(float("nan"))  # type: ignore[union-attr]

    monkeypatch.setattr(AutoencoderModule, "on_before_optimizer_step", spoil)
    with pytest.raises(NonFiniteLossError) as error:
        aeframe.fit(**QUICK, max_epochs=2, checkpoint_every=3, folder=tmp_path / "run")
    assert str(error.value).startswith("training stopped: ")
    assert "is not finite" in str(error.value) or " is nan at batch " in str(error.value)
    for path in (tmp_path / "run" / "checkpoints").glob("*.ckpt"):
        weights = torch.load(path, weights_only=True)["state_dict"].values()
        assert all(bool(value.isfinite().all()) for value in weights if value.is_floating_point())


def test_a_label_that_is_wrong_in_the_test_split_is_refused_before_training(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(300, 3))
    labels = np.arange(300) % 2
    splits = {"train": slice(200), "val": slice(200, 250), "test": slice(250, 300)}
    arrays = {f"x_{name}": rows[part] for name, part in splits.items()}
    arrays |= {f"y_{name}": labels[part] for name, part in splits.items()}
    arrays["y_test"] = np.full(50, 7)
    np.savez(tmp_path / "rows.npz", **arrays)
    with pytest.raises(AeframeError) as error:
        aeframe.fit(
            model="cvae",
            data={"name": "numbers", "path": tmp_path / "rows.npz", "label": "y"},
            label_classes=2,
            batch_size=32,
            folder=tmp_path / "run",
        )
    assert "has the label 7; set label_classes to one more than the largest label" in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_run_whose_logger_is_missing_can_be_started_once_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(package: str) -> None:
        raise AeframeError(f"logger '{package}' needs the package {package}")

    with monkeypatch.context() as patch:
        patch.setattr("aeframe.training.loggers._require", missing)
        with pytest.raises(AeframeError, match="needs the package tensorboard"):
            aeframe.fit(**QUICK, max_epochs=1, folder=tmp_path / "run", logger="tensorboard")
    assert aeframe.fit(**QUICK, max_epochs=1, folder=tmp_path / "run").folder == tmp_path / "run"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("GradientAccumulationScheduler", "works in automatic optimization only; set accumulate="),
        ("StochasticWeightAveraging", "averages after the last checkpoint, but a run saves the model of its best one"),
    ],
)
def test_a_callback_that_would_have_no_effect_is_refused(name: str, sentence: str, tmp_path: Path) -> None:
    options = {"scheduling": {4: 2}} if name.startswith("Gradient") else {"swa_lrs": 0.01}
    callback = {"class": f"lightning.pytorch.callbacks.{name}", **options}
    config = {**compose([f"folder={tmp_path / 'run'}"]), "callbacks": {"mine": callback}}
    with pytest.raises(AeframeError) as error:
        train(config)
    assert str(error.value).startswith(f"callback {name} {sentence}")
    assert not (tmp_path / "run").exists()


def test_a_signal_reaches_the_programs_own_handler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    train_on = AutoencoderModule.train_on

    def interrupted(self: AutoencoderModule, batch: Any) -> Any:
        if self.progress.batch == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return train_on(self, batch)

    monkeypatch.setattr(AutoencoderModule, "train_on", interrupted)
    with pytest.raises(SystemExit) as error:
        aeframe.fit(**QUICK, max_epochs=1, folder=tmp_path / "run")
    assert (error.value.code, received) == (143, [15])
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").is_file()
