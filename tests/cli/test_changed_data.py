"""Verbs that read the data of a run, after the data changed or moved."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aeframe.cli.main import main
from aeframe.data.fingerprint import DataRecord
from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.model_store.reader import load
from aeframe.model_store.writer import save_model

CONFIG: dict[str, Any] = {
    "model": {"name": "ae"},
    "encoder": {"name": "mlp", "hidden": [8]},
    "latent": {"name": "point", "dim": 2},
    "loss": "mse",
    "objective": "deterministic",
    "sampler": {"name": "prior"},
    "modality": {"name": "vector"},
    "seed": 3,
    "batch_size": 20,
}
HINT = "the saved state and split are used, and samples that were added are ignored"


def rows(num: int, seed: int = 0, factor: float = 1.0) -> np.ndarray[Any, Any]:
    return factor * np.random.default_rng(seed).normal(size=(num, 6))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    np.save(tmp_path / "d.npy", rows(400))
    return tmp_path / "d.npy"


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    def make(data: dict[str, Any], *, record: bool = True) -> Path:
        torch.set_num_threads(1)
        config = {**CONFIG, "data": data}
        modality, dataset = build("modality", "vector"), build("dataset", data)
        splits, spec = modality.prepare(dataset), modality.spec(dataset)
        torch.manual_seed(0)
        model = assemble(config, spec)
        sampler = build("sampler", config["sampler"], model=model)
        stored = DataRecord.of(data, dataset, splits, spec) if record else None
        save_model(tmp_path / "run" / "model", model, modality, config, sampler, metrics={}, data=stored)
        return tmp_path / "run"

    return make


def metrics_of(run: Path, tmp_path: Path, *arguments: object, split: str = "test") -> dict[str, float]:
    out = tmp_path / "metrics.json"
    out.unlink(missing_ok=True)
    assert main(["evaluate", str(run), "--split", split, "-o", str(out), *map(str, arguments)]) == 0
    metrics: dict[str, float] = json.loads(out.read_text())[split]
    return metrics


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_added_rows_change_no_metric(
    make_run: Callable[..., Path], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], split: str
) -> None:
    run = make_run({"name": "numbers", "path": str(data)})
    before = metrics_of(run, tmp_path, split=split)
    captured = capsys.readouterr()
    assert captured.err == f"data 'numbers' at '{data}': train 320, validation 40, test 40\n"
    assert f"{320 if split == 'train' else 40} samples" in captured.out
    np.save(data, np.concatenate([rows(400), 50 + rows(100, 1, 20)]))
    assert metrics_of(run, tmp_path, split=split) == before
    assert capsys.readouterr().err.splitlines()[0] == (
        f"warning: data 'numbers' at '{data}' changed since training: 400 rows then, 500 now; {HINT}"
    )


def test_data_at_another_path(
    make_run: Callable[..., Path], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run({"name": "numbers", "path": str(data)})
    before = metrics_of(run, tmp_path)
    moved = data.rename(tmp_path / "e.npy")
    capsys.readouterr()
    assert main(["evaluate", str(run)]) == 2
    assert "there is no file" in capsys.readouterr().err
    assert metrics_of(run, tmp_path, "--data", moved) == before
    assert capsys.readouterr().err == f"data 'numbers' at '{moved}': train 320, validation 40, test 40\n"
    samples = tmp_path / "new.npy"
    arguments = ["generate", str(run), "sampler=gmm", "sampler.components=1", "-n", "2", "-o", str(samples)]
    assert main([*arguments, "--data", str(moved)]) == 0
    assert np.load(samples).shape == (2, 6)


def test_missing_rows_are_an_error(
    make_run: Callable[..., Path], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run({"name": "numbers", "path": str(data)})
    np.save(data, rows(300))
    assert main(["evaluate", str(run)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: d.npy lacks ")
    assert captured.err.endswith(
        "samples of the train split that the run was trained with (400 samples then, 300 now); pass the data of that "
        "run with --data PATH, or train a new model\n"
    )


def test_a_model_without_a_data_record_uses_its_saved_scale_and_a_new_split(
    make_run: Callable[..., Path], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run({"name": "numbers", "path": str(data)}, record=False)
    before = metrics_of(run, tmp_path)
    np.save(data, 50 + 20 * rows(400))
    assert "warning" not in capsys.readouterr().err
    # The rows are scaled with the saved state, which does not fit their new scale.
    assert metrics_of(run, tmp_path)["mse"] > 100 * before["mse"]


def test_bundled_data_have_no_path(make_run: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run({"name": "breast_cancer"})
    assert load(run).data.fingerprint["files"] == {}
    assert main(["evaluate", str(run), "--data", "d.npy"]) == 2
    assert capsys.readouterr().err == (
        "error: data 'breast_cancer' have no path, found --data d.npy; leave --data out\n"
    )
