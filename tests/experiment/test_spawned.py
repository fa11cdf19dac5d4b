"""``trainer.strategy=ddp_spawn``: a run in two processes that this one starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from safetensors.torch import load_file

import aeframe
from aeframe.errors import AeframeError
from aeframe.experiment.spawned import is_spawned

SETTINGS: dict[str, Any] = {
    "model": "ae",
    "encoder": {"hidden": [8]},
    "latent": {"dim": 2},
    "batch_size": 8,
    "max_epochs": 1,
    "pictures": False,
    "verbose": False,
}
TRAINER: dict[str, Any] = {"accelerator": "cpu", "devices": 2, "strategy": "ddp_spawn", "threads": 1}


class Stop(Callback):
    """Raise an error of the user in the second process."""

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_rank == 1:
            raise AeframeError("the cause; correct it")


@pytest.fixture
def rows() -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)


@pytest.mark.slow
def test_a_spawned_run_is_that_of_one_process(rows: Any, tmp_path: Path) -> None:
    one = aeframe.fit(rows, folder=str(tmp_path / "one"), **SETTINGS, trainer={"accelerator": "cpu", "threads": 1})
    two = aeframe.fit(rows, folder=str(tmp_path / "two"), **SETTINGS, trainer=TRAINER)
    assert two.metrics == pytest.approx(one.metrics, rel=1e-4)
    torch.testing.assert_close(two.model.encode(rows), one.model.encode(rows), rtol=0, atol=1e-5)
    weights = [load_file(run.folder / "model" / "model.safetensors") for run in (one, two)]
    torch.testing.assert_close(weights[1], weights[0], rtol=0, atol=1e-5)


@pytest.mark.slow
def test_an_error_in_a_spawned_process_names_it(rows: Any, tmp_path: Path) -> None:
    with pytest.raises(AeframeError, match=r"^rank 1 of 2 on host '.*' ended the run: the cause; correct it$"):
        aeframe.fit(rows, folder=str(tmp_path / "run"), **SETTINGS, trainer=TRAINER, callbacks=[Stop()])


def test_an_object_that_cannot_be_sent_is_an_error(rows: Any, tmp_path: Path) -> None:
    class Local(Callback):
        pass

    with pytest.raises(AeframeError, match=r"^trainer.strategy=ddp_spawn sends all objects .*; define its class or"):
        aeframe.fit(rows, folder=str(tmp_path / "run"), **SETTINGS, trainer=TRAINER, callbacks=[Local()])
    assert not (tmp_path / "run").exists()


def test_spawned_processes_are_on_one_machine() -> None:
    settings = {"accelerator": "cpu", "strategy": "ddp_spawn", "devices": 2, "num_nodes": 2}
    with pytest.raises(AeframeError, match=r"starts processes on this machine only, found trainer.num_nodes=2"):
        is_spawned(settings)
    assert not is_spawned({**settings, "devices": 1, "num_nodes": 1})
    assert not is_spawned({**settings, "strategy": "ddp"})
