"""The summary of a sweep, which is made of the files that its points write."""

from __future__ import annotations

import csv
import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import yaml

from aeframe.errors import AeframeError
from aeframe.experiment.main import main
from aeframe.interruption import Interrupted


@pytest.fixture(autouse=True)
def workflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the workflow with one that writes the files of a finished run; some seeds fail."""

    def train(config: dict[str, Any], *, job: int, **_: Any) -> types.SimpleNamespace:
        seed, dim = config["seed"], config["latent"]["dim"]
        if seed == 13:
            raise AeframeError("seed 13 brings no luck; take <another>")
        if seed == 14:
            raise RuntimeError("a mistake\nin the code")
        if seed == 15:
            raise Interrupted(15, "ended by SIGTERM")
        folder = Path(config["folder"] or Path(config["root"], f"run-{job}"))
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        (folder / "metrics.json").write_text(json.dumps({"test": {"mse": dim + seed / 10}}), encoding="utf-8")
        return types.SimpleNamespace(folder=folder, monitored=10.0 * dim + seed)

    module = types.ModuleType("aeframe.experiment.workflow")
    module.train = train  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "aeframe.experiment.workflow", module)
    monkeypatch.setenv("AEFRAME_RUN_ID", "now")


def rows() -> list[dict[str, str]]:
    with Path("runs/sweeps/now/sweep.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_points_are_listed_with_settings_and_metrics(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-m", "model=vae", "latent.dim=2,3", "seed=0,1", "data=breast_cancer"]) == 0
    found = [
        (row["point"], row["status"], row["latent.dim"], row["seed"], row["val/bound"], row["mse"]) for row in rows()
    ]
    assert found == [
        ("0", "finished", "2", "0", "20.0", "2.0"),
        ("1", "finished", "2", "1", "21.0", "2.1"),
        ("2", "finished", "3", "0", "30.0", "3.0"),
        ("3", "finished", "3", "1", "31.0", "3.1"),
    ]
    # Settings that all points share are left out.
    assert "model" not in rows()[0]
    assert rows()[3]["run"] == "runs/sweeps/now/run-3"
    out = capsys.readouterr().out
    assert "│ ★ 0   │ 2 " in out
    assert "│ latent.dim=3 │    2 │ 30.5 ± 0.71 │ 3.05 ± 0.071 │" in out
    assert "best point: latent.dim=2, seed=0, by val/bound, on the validation split (lower is better): runs/" in out
    assert out.endswith("runs/sweeps/now/sweep.html\n")
    page = Path("runs/sweeps/now/sweep.html").read_text(encoding="utf-8")
    assert "Sweep of 4 points" in page
    assert "Means over seeds" in page


def test_a_failed_point_is_listed_with_its_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-m", "seed=0,13,1", "monitor=r2", "verbose=false"]) == 2
    assert [(row["seed"], row["status"], row["error"], row["val/r2"]) for row in rows()] == [
        ("0", "finished", "", str(10.0 * 16)),
        ("13", "failed", "seed 13 brings no luck; take <another>", ""),
        ("1", "finished", "", str(10.0 * 16 + 1)),
    ]
    out = capsys.readouterr().out
    assert "no result: seed=13: seed 13 brings no luck; take <another>\n" in out
    assert "best point: seed=1, by val/r2, on the validation split (higher is better)" in out
    page = Path("runs/sweeps/now/sweep.html").read_text(encoding="utf-8")
    assert "take &lt;another&gt;" in page
    assert "<another>" not in page


def test_an_exception_and_a_signal_leave_a_summary(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError):
        main(["-m", "seed=0,14"])
    assert [(row["status"], row["error"]) for row in rows()] == [
        ("finished", ""),
        ("failed", "RuntimeError: a mistake in the code"),
    ]
    assert main(["-m", "seed=15,1", "root=other"]) == 143
    with Path("other/sweeps/now/sweep.csv").open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert row["status"] == "unfinished"
    assert row["error"].startswith("the run did not end")


def test_a_sweep_whose_folder_is_damaged_warns(capsys: pytest.CaptureFixture[str]) -> None:
    record = Path("runs/sweeps/now/points/7.json")
    record.parent.mkdir(parents=True)
    record.write_text('{"number": "x"}', encoding="utf-8")
    assert main(["-m", "seed=0,1"]) == 0
    assert capsys.readouterr().err == (
        "warning: the sweep 'runs/sweeps/now' has no summary: 'runs/sweeps/now/points/7.json' is not the record of a "
        "point of a sweep; delete it\n"
    )
