"""``aeframe evaluate RUN --samples``: new samples are compared by the measures of the modality."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from aeframe.cli.main import main
from aeframe.data import SampleComparison
from aeframe.data.vector import Vector
from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.model_store.reader import load
from aeframe.model_store.writer import save_model
from aeframe.types import TrainingProgress

CONFIG: dict[str, Any] = {
    "model": {"name": "vae"},
    "encoder": {"name": "mlp", "hidden": [8]},
    "latent": {"name": "gaussian", "dim": 3},
    "loss": "mse",
    "objective": "elbo",
    "sampler": "prior",
    "modality": {"name": "vector"},
    "data": {"name": "breast_cancer"},
    "seed": 3,
    "batch_size": 20,
}


def saved_run(folder: Path) -> Path:
    """Return the folder of an untrained model."""
    modality, dataset = build("modality", CONFIG["modality"]), build("dataset", CONFIG["data"])
    modality.prepare(dataset)
    torch.manual_seed(0)
    model = assemble(CONFIG, modality.spec(dataset))
    sampler = build("sampler", CONFIG["sampler"], model=model)
    progress = TrainingProgress(batch=9, planned=9)
    save_model(folder / "model", model, modality, CONFIG, sampler, metrics={}, progress=progress)
    return folder


def verb(*argv: object) -> int:
    return main([str(argument) for argument in argv])


def test_evaluate_compares_new_samples_by_the_measures_of_the_modality(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out, figures = saved_run(tmp_path / "run"), tmp_path / "numbers.json", tmp_path / "figures"
    message = "modality Vector has no measures of its own for new samples; compare them in a feature space: --features"
    assert verb("evaluate", run, "--samples") == 2
    assert message in capsys.readouterr().err

    def compare_samples(
        self: Vector,
        samples: torch.Tensor,
        held_out: torch.Tensor,
        train: torch.Tensor,
        *,
        reconstructions: torch.Tensor,
        seed: int,
    ) -> SampleComparison:
        assert reconstructions.shape == held_out.shape
        means = [{"mean": float(x.mean()), "count": float(len(x))} for x in (samples, held_out)]
        sentence = f"{len(train)} training samples, seed {seed}"
        return SampleComparison(means[0], means[1], [sentence], lambda: {"rows": self.render({"new": samples[:4]})})

    monkeypatch.setattr(Vector, "compare_samples", compare_samples)
    assert verb("evaluate", run, "--samples", "--figures", figures, "-n", "30", "--seed", "5", "-o", out) == 0
    compared = json.loads(out.read_text())["comparison"]
    x = load(run).sample(30, seed=5)
    assert compared["samples"] == {"mean": pytest.approx(float(x.mean()), rel=1e-5), "count": 30}
    assert compared["real"]["count"] == 30
    assert compared["protocol"] == ["455 training samples, seed 5"]
    assert [path.name for path in figures.iterdir()] == ["rows.png"]
    assert "455 training samples, seed 5" in capsys.readouterr().out
    assert verb("evaluate", run, "--figures", figures) == 2
    assert "exists already; choose another path with --figures" in capsys.readouterr().err
