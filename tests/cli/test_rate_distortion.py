"""``aeframe rate-distortion``: points, the Pareto front, and runs that have none."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from aeframe.cli.main import main

POINTS = {"a": (1.0, 9.0), "b": (3.0, 4.0), "c": (4.0, 4.0), "d": (8.0, 2.0)}
"""Rate and distortion; c is worse than b."""


def write_run(folder: Path, metrics: dict[str, float], *, loss: str = "gaussian", beta: float = 1.0) -> None:
    folder.mkdir(parents=True)
    config = f"model:\n  name: vae\nloss:\n  name: {loss}\nobjective:\n  name: elbo\n  beta: {beta}\n"
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    (folder / "metrics.json").write_text(json.dumps({"test": metrics}), encoding="utf-8")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number, (name, (rate, distortion)) in enumerate(POINTS.items()):
        write_run(tmp_path / "runs" / name, {"kl": rate, "reconstruction": distortion}, beta=1 / (1 + number))
    return tmp_path / "runs"


def test_the_front_is_marked(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, picture = tmp_path / "curve.csv", tmp_path / "curve.png"
    assert main(["rate-distortion", str(root), "-o", str(table), "--picture", str(picture)]) == 0
    rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    assert [Path(row["run"]).name for row in rows] == ["a", "b", "c", "d"]
    assert [row["front"] for row in rows] == ["1", "1", "0", "1"]
    assert [float(row["sum"]) for row in rows] == [10, 7, 8, 10]
    assert "objective.beta" in rows[0]
    assert picture.read_bytes()[:4] == b"\x89PNG"
    assert capsys.readouterr().out.count("*") == 3
    assert main(["rate-distortion", str(root), "-o", str(table)]) == 2


@pytest.mark.parametrize(
    ("metrics", "loss", "message"),
    [
        (
            {"reconstruction": 1.0},
            "gaussian",
            "has no finite test metric kl, so it has no point on the",
        ),
        ({"kl": 1.0, "reconstruction": 1.0}, "mse", "has the loss mse, whose distortion is not in nats as its rate is"),
        ({"kl": 1.0, "reconstruction": 1.0}, "bernoulli", "compare the rate and distortion of runs with the same loss"),
    ],
)
def test_other_runs_are_refused(
    metrics: dict[str, float], loss: str, message: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(root / "e", metrics, loss=loss)
    assert main(["rate-distortion", str(root)]) == 2
    assert message in capsys.readouterr().err
