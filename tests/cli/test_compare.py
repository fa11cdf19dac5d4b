"""``aeframe compare``: a table of finished runs."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from aeframe.cli.main import main


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four runs in a folder: two seeds of two sizes of the code."""
    monkeypatch.setenv("COLUMNS", "200")
    for dim in (2, 8):
        for seed in (0, 1):
            folder = tmp_path / "sweeps" / f"dim{dim}-{seed}"
            folder.mkdir(parents=True)
            config: dict[str, Any] = {
                "model": {"name": "vae"},
                "latent": {"name": "gaussian", "dim": dim},
                "seed": seed,
                "folder": str(folder),
                "batch_size": 64,
            }
            (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
            metrics = {"bound": 10.0 / dim + seed, "mse": 0.5 / dim, "psnr": 20.0 + dim, "kl/0": 1.0}
            (folder / "metrics.json").write_text(json.dumps({"test": metrics}))
    return tmp_path


def printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> list[list[str]]:
    """Return the cells of the table that compare prints."""
    assert main(["compare", *map(str, arguments)]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("│", "┃"))]
    return [[cell.strip() for cell in line.strip("│┃").replace("┃", "│").split("│")] for line in lines]


def test_the_table_has_what_differs_and_the_metrics(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    header, *rows = printed(capsys, runs, "--sort", "bound")
    assert header == ["run", "latent.dim", "seed", "bound", "mse"]
    assert rows == [
        ["dim8-0", "8", "0", "1.25", "0.0625"],
        ["dim8-1", "8", "1", "2.25", "0.0625"],
        ["dim2-0", "2", "0", "5", "0.25"],
        ["dim2-1", "2", "1", "6", "0.25"],
    ]


def test_seeds_are_averaged_and_written(runs: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    header, *rows = printed(capsys, runs, "--average", "--metrics", "bound", "-o", tmp_path / "all.csv")
    assert header == ["run", "latent.dim", "bound"]
    assert rows == [["dim2-0 and 1 more", "2", "5.5 ± 0.71"], ["dim8-0 and 1 more", "8", "1.75 ± 0.71"]]
    with (tmp_path / "all.csv").open(encoding="utf-8") as file:
        first = next(csv.DictReader(file))
    assert float(first["bound"]) == 5.5
    assert float(first["psnr"]) == 22
    assert float(first["bound (deviation)"]) == pytest.approx(0.5**0.5)
    assert "kl/0" in first


def test_a_metric_that_is_best_when_high_is_sorted_so(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    header, *rows = printed(capsys, runs, "--sort", "psnr")
    assert header[3] == "psnr"
    assert [row[3] for row in rows] == ["28", "28", "22", "22"]


def test_errors(runs: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (runs / "sweeps" / "dim2-0" / "metrics.json").write_text("{}")
    for arguments, message in (
        ([tmp_path / "nowhere"], "there is no folder "),
        ([tmp_path / "empty"], "no finished run in "),
        ([runs / "sweeps" / "dim2-0"], "metrics.json' has no test metrics "),
        ([runs / "sweeps" / "dim8-0", "--sort", "bond"], "no run has the metric 'bond', did you mean 'bound'?"),
        ([runs / "sweeps" / "dim8-0", "--metrics", "bond"], "no run has the metric 'bond', did you mean 'bound'?"),
        ([runs / "sweeps" / "dim8-0", "-o", tmp_path / "a.html"], "--output writes a CSV file"),
    ):
        assert main(["compare", *map(str, arguments)]) == 2
        assert message in capsys.readouterr().err
