from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from aeframe.experiment.checks import check
from aeframe.experiment.compose import compose
from aeframe.registry import registry
from tests.chaos.children import Operations, differences, kill_self, result, start

_SMALL = "encoder.hidden=[16] latent.dim=2 batch_size=64"
RUNS = {
    "vae with ema, accumulation and patience, whose bound gets worse": f"model=vae data=breast_cancer {_SMALL} ema=0.9 "
    "accumulate=2 patience=3 optimizer.lr=0.3 clip=1.0 max_epochs=4 checkpoint_every=3 log_every=2",
    "vqvae": "model=vqvae data=digits max_epochs=2 batch_size=256 encoder.channels=[4,8] latent.codebook_size=16 "
    "checkpoint_every=2",
    "aae": f"model=aae data=breast_cancer {_SMALL} max_epochs=3 checkpoint_every=5 critics.discriminator_z.hidden=[8]",
    "factor_vae": f"model=factor_vae data=breast_cancer {_SMALL} max_epochs=3 checkpoint_every=5 "
    "critics.permuted_codes.hidden=[8]",
    "text": "model=vae data=sentences data.size=300 max_batches=6 batch_size=32 checkpoint_every=2 "
    "encoder.embedding=16 encoder.hidden=16",
    "omics": "model=vae data=cells_simulated data.cells=320 data.genes=40 batch_size=64 max_epochs=2 ema=0.9 "
    "accumulate=2 checkpoint_every=2",
}
NEEDS = {"vqvae": "digits", "text": "sentences", "omics": "cells_simulated"}


class Uninterrupted:
    """An uninterrupted run, and the overrides for interrupted runs to compare with it."""

    def __init__(self, folder: Path, overrides: str) -> None:
        self.folder = folder
        self.overrides = [*overrides.split(), "trainer.threads=1", "pictures=false"]
        # Imports here what each child process would import otherwise.
        check(compose(self.overrides))
        count_file = folder / "operations.json"

        def count() -> None:
            operations = Operations(folder / "uninterrupted")
            operations.install()
            exit_process = os._exit

            def write_and_exit(code: int) -> None:
                count_file.write_text(json.dumps(operations.number))
                exit_process(code)

            os._exit = write_and_exit  # type: ignore[assignment]

        child = start([*self.overrides, f"folder={folder / 'uninterrupted'}"], folder, count)
        assert child.wait() == 0, child.text()
        self.num_operations: int = json.loads(count_file.read_text())
        self.result = result(folder / "uninterrupted")

    def check_recovery(self, run: Path) -> None:
        """Resume a run, or start it again if it has no checkpoint, and compare it with the uninterrupted one."""
        has_checkpoint = run.is_dir() and any((run / "checkpoints").glob("*.ckpt"))
        child = start([f"resume={run}"] if has_checkpoint else [*self.overrides, f"folder={run}"], self.folder)
        code, text = child.wait(), child.text()
        assert code == 0 or (code == 2 and "is finished" in text), text
        assert differences(self.result, result(run)) == []

    def kill_at(self, operation: int) -> Path:
        """Kill a run with SIGKILL just before one of its operations on files; return its folder."""
        run = self.folder / f"killed-{operation}"
        child = start([*self.overrides, f"folder={run}"], self.folder, Operations(run, operation, kill_self).install)
        assert child.wait() == -9, child.text()
        return run


@pytest.fixture(scope="session", autouse=True)
def _imported() -> None:
    """Import here the modules that each child process would import otherwise."""
    import matplotlib.pyplot
    import sklearn.datasets
    import sklearn.mixture

    import aeframe.experiment.main
    import aeframe.experiment.workflow

    torch.set_num_threads(1)
    assert all((matplotlib.pyplot, sklearn.datasets, sklearn.mixture, aeframe.experiment.main))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Uninterrupted]:
    runs: dict[str, Uninterrupted] = {}

    def make(name: str) -> Uninterrupted:
        if name in NEEDS and not registry().has("dataset", NEEDS[name]):
            pytest.skip(f"data '{NEEDS[name]}' come with a plugin that is not installed")
        if name not in runs:
            runs[name] = Uninterrupted(tmp_path_factory.mktemp("chaos"), RUNS[name])
        return runs[name]

    return make
