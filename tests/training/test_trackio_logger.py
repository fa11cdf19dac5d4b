"""The logger of trackio: with a stand-in for the package, and with the package where it is installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lightning.pytorch.loggers import Logger

import aeframe
from aeframe.cli.main import main
from aeframe.errors import AeframeError
from aeframe.experiment.main import main as aeframe_train
from aeframe.training.loggers import close_loggers, log_page, log_pictures, trackio
from aeframe.training.trackio_logger import TrackioLogger

STAND_IN = """
import json, os
from pathlib import Path

def _write(*call):
    with Path(os.environ["TRACKIO_DIR"], "calls.jsonl").open("a") as file:
        file.write(json.dumps(call) + "\\\\n")

def init(**options):
    environment = {"offline": os.environ.get("HF_HUB_OFFLINE"), "space": os.environ.get("TRACKIO_SPACE_ID")}
    _write("init", {**options, **environment})
    if options["name"] == "broken":
        raise ValueError("this run is broken")

def log(values, step=None):
    _write("log", values, step)

def finish():
    _write("finish")

def Image(path):
    return f"image {Path(path).name}"

def Html(text):
    return f"html {text}"
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a package ``trackio`` on the path of this process and of others, which writes down its calls."""
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "trackio.py").write_text(STAND_IN.replace("\\\\n", "\\n"), encoding="utf-8")
    monkeypatch.syspath_prepend(str(modules))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(modules), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("TRACKIO_SPACE_ID", "somebody/space")
    return tmp_path / "run"


def calls(folder: Path) -> list[Any]:
    lines = (folder / "trackio" / "calls.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_values_and_media_are_written_in_order(stand_in: Path) -> None:
    logger = trackio(stand_in, "one", project="mine")
    page = stand_in.parent / "report.html"
    page.write_text("<p>", encoding="utf-8")
    logger.log_hyperparams({"model": {"name": "vae"}, "folder": Path("x")})
    logger.log_metrics({"val/loss": float("nan"), "val/kl": 2}, step=3)
    log_pictures([logger], [Path("a/latent.png")], 4)
    assert log_page([logger, _Other()], "report", page, 5) == ["Trackio"]
    close_loggers([logger], status="success")
    init, values, picture, html, finish = calls(stand_in)
    assert init[1] == {
        "project": "mine",
        "name": "one",
        "group": None,
        "config": {"model": {"name": "vae"}, "folder": "x"},
        "resume": "allow",
        "embed": False,
        "auto_log_gpu": False,
        "auto_log_cpu": False,
        "offline": "1",
        "space": None,
    }
    assert (str(values), picture, html, finish) == (
        "['log', {'val/loss': nan, 'val/kl': 2.0}, 3]",
        ["log", {"pictures/latent": "image latent.png"}, 4],
        ["log", {"report": "html <p>"}, 5],
        ["finish"],
    )


def test_a_value_after_the_end_continues_the_run(stand_in: Path) -> None:
    logger = trackio(stand_in, "one")
    for step in (1, 2):
        logger.log_metrics({"loss": 1.0}, step)
        close_loggers([logger], status="success")
    kinds = [call[0] for call in calls(stand_in)]
    assert kinds == ["init", "log", "finish", "init", "log", "finish"]


def test_a_writer_that_fails_is_one_warning(stand_in: Path) -> None:
    logger = trackio(stand_in, "broken")
    logger.log_metrics({"loss": 1.0}, 1)
    with pytest.warns(UserWarning, match="no longer logged to trackio: its process ended with exit code 1; see '"):
        close_loggers([logger], status="success")
    logger.log_metrics({"loss": 1.0}, 2)
    close_loggers([logger], status="success")
    assert "this run is broken" in (stand_in / "trackio" / "errors.txt").read_text(encoding="utf-8")


def test_a_missing_package_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(AeframeError, match=r"needs the package trackio, .* run pip install 'aeframe\[trackio\]'"):
        trackio(tmp_path, "one")


class _Other(Logger):
    """A logger that stores no pages."""

    name = version = "other"

    def log_metrics(self, metrics: Any, step: int | None = None) -> None: ...

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None: ...


READ = """
import json, sys, trackio
from trackio.sqlite_storage import SQLiteStorage
runs = list(trackio.Api().runs("aeframe"))
print(json.dumps([[run.name, run.config, SQLiteStorage.get_logs("aeframe", run.name)] for run in runs], default=str))
"""


def test_a_run_is_stored_in_its_folder_and_continued(tmp_path: Path) -> None:
    pytest.importorskip("trackio")
    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    options: dict[str, Any] = {"verbose": False, "folder": str(tmp_path / "run")}
    run = aeframe.fit(x, model="vae", latent={"dim": 2}, max_epochs=1, logger={"trackio": {}}, **options)
    aeframe.fit(x, resume=str(run.folder), max_epochs=2, verbose=False)
    environment = {**os.environ, "TRACKIO_DIR": str(run.folder / "trackio")}
    done = subprocess.run([sys.executable, "-c", READ], env=environment, capture_output=True, text=True, check=True)
    ((name, config, logs),) = json.loads(done.stdout.splitlines()[-1])
    assert name == "run"
    assert config["latent"]["dim"] == 2
    assert len([row for row in logs if "val/kl" in row]) == 2
    assert [row["test/mse"] for row in logs if "test/mse" in row][-1] == pytest.approx(
        json.loads((run.folder / "metrics.json").read_text(encoding="utf-8"))["test"]["mse"]
    )
    assert any(key.startswith("pictures/") for row in logs for key in row)
    assert isinstance(trackio(run.folder, "run"), TrackioLogger)


def test_evaluations_and_reports_are_logged(stand_in: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    csv = stand_in.parent / "x.csv"
    np.savetxt(csv, x, delimiter=",", header="a,b,c", comments="")
    overrides = ["model=ae", "data=numbers", f"data.path={csv}", "max_epochs=1", "verbose=false", "pictures=false"]
    assert aeframe_train([*overrides, "logger=trackio", f"folder={stand_in}"]) == 0
    before = len(calls(stand_in))
    assert main(["evaluate", str(stand_in), "--split", "validation", "--log"]) == 0
    assert main(["report", str(stand_in), "--log"]) == 0
    assert capsys.readouterr().out.endswith("report.html\nsent to Trackio\n")
    _, evaluated, _, _, report, _ = calls(stand_in)[before:]
    assert evaluated[1]["evaluate/validation/mse"] > 0
    assert report[1]["report"].startswith("html <!DOCTYPE html>")
    assert report[2] >= evaluated[2] > 0
    config = (stand_in / "config.yaml").read_text(encoding="utf-8")
    (stand_in / "config.yaml").write_text(config.replace("name: trackio", "class: os.getcwd"), encoding="utf-8")
    assert main(["evaluate", str(stand_in), "--log"]) == 2
    assert "--log needs a run with a tracker, and run '" in capsys.readouterr().err
