"""``aeframe diff``: what differs between two runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from aeframe.cli.main import main


def write_run(folder: Path, metrics: dict[str, float] | None, **settings: Any) -> str:
    folder.mkdir()
    config = {"loss": {"name": "mse"}, "latent": {"name": "point", "dim": 2}, "seed": 0, "folder": str(folder)}
    (folder / "config.yaml").write_text(yaml.safe_dump({**config, **settings}, sort_keys=False), encoding="utf-8")
    if metrics is not None:
        (folder / "metrics.json").write_text(json.dumps({"test": metrics}), encoding="utf-8")
    return str(folder)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(Path("a"), {"mse": 0.5, "kl": 1.0})


def test_settings_and_metrics_that_differ_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    write_run(Path("b"), {"mse": 0.25, "kl": 1.0, "r2": 0.9}, loss={"name": "nll", "df": None}, seed=3)
    assert main(["diff", "a", "b"]) == 1
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["a", "b"],
        ["loss", "mse", "nll"],
        ["seed", "0", "3"],
        ["loss.df", "-", "null"],
        ["test/mse", "0.5", "0.25"],
        ["test/r2", "-", "0.9"],
        ["3", "settings", "and", "2", "of", "3", "metrics", "differ"],
    ]
    assert main(["diff", "a", "b", "--all"]) == 1
    assert "test/kl   1.0  1.0\n" in capsys.readouterr().out


@pytest.mark.parametrize(("metrics", "text"), [({"mse": 0.5, "kl": 1.0}, "2 metrics"), (None, "no metrics yet")])
def test_equal_runs_are_one_sentence(
    metrics: dict[str, float] | None, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if metrics is None:
        Path("a/metrics.json").unlink()
    write_run(Path("b"), metrics)
    assert main(["diff", "a", "b"]) == 0
    assert capsys.readouterr().out == f"a and b are equal: all settings but the folder, and {text}\n"


def test_a_folder_without_a_run_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    assert main(["diff", "a", "empty"]) == 2
    assert capsys.readouterr().err == (
        "error: 'empty' is not a run folder: it has no config.yaml; use the folder of a run\n"
    )
