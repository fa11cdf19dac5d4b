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
        folder = Path(config["folder"])
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
    assert rows()[3]["run"] == "runs/sweeps/now/3-vae-breast_cancer"
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
    assert "failed: point 1 (seed=13): seed 13 brings no luck; take <another>\n" in out
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
        unfinished, missing = csv.DictReader(file)
    assert (unfinished["status"], missing["status"]) == ("unfinished", "missing")
    assert unfinished["error"].startswith("the run did not end")
    assert capsys.readouterr().out.endswith(
        "unfinished: point 0 (seed=15): the run did not end: it was interrupted, killed, or is still training\n"
        "missing: point 1 (seed=1): not begun\n"
        "0 of 2 points are finished; for the others: aeframe-train -m resume=other/sweeps/now\n"
        "other/sweeps/now/sweep.html\n"
    )


def test_a_sweep_whose_folder_is_damaged_does_not_begin(capsys: pytest.CaptureFixture[str]) -> None:
    record = Path("runs/sweeps/now/points/7.json")
    record.parent.mkdir(parents=True)
    record.write_text('{"number": "x"}', encoding="utf-8")
    assert main(["-m", "seed=0,1"]) == 2
    assert capsys.readouterr().err == (
        "error: 'runs/sweeps/now/points/7.json' is not the record of a point of a sweep; delete it\n"
    )


# -- the same command again ------------------------------------------------------------------------------------------


def trained_points(folder: str = "mine") -> list[str]:
    """Return the numbers and names of the runs in the folder of a sweep."""
    return sorted(path.name for path in Path(folder).iterdir() if path.is_dir() and path.name != "points")


def test_the_same_command_trains_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["-m", "seed=0,1,15,3", "folder=mine", "resume=auto"]
    assert main(command) == 143
    assert trained_points() == ["0-ae-breast_cancer", "1-ae-breast_cancer"]
    first = Path("mine/points/0.json").stat().st_mtime_ns
    # The point that was interrupted ends this time.
    command[1] = "seed=0,1,3"
    assert main(command) == 0
    assert trained_points()[2:] == ["3-ae-breast_cancer"]
    assert Path("mine/points/0.json").stat().st_mtime_ns == first
    captured = capsys.readouterr()
    assert "sweep 'mine': 2 of 3 points are finished\n" in captured.err
    assert main(command) == 0
    assert "sweep 'mine': 3 of 3 points are finished\n" in capsys.readouterr().err


def test_further_points_get_further_numbers() -> None:
    assert main(["-m", "seed=0,1", "folder=mine"]) == 0
    assert main(["-m", "seed=5,0", "folder=mine", "resume=auto", "progress=false"]) == 0
    assert trained_points() == ["0-ae-breast_cancer", "1-ae-breast_cancer", "2-ae-breast_cancer"]
    plan = json.loads(Path("mine/plan.json").read_text(encoding="utf-8"))
    assert [point[0] for point in plan["points"]] == ["seed=0", "seed=1", "seed=5"]


def test_a_sweep_is_continued_in_another_place(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["-m", "seed=0,1", "folder=mine"]) == 0
    (workplace / "other").mkdir()
    Path("mine").rename("other/moved")
    monkeypatch.chdir(workplace / "other")
    trained = sys.modules["aeframe.experiment.workflow"].train
    seeds = []

    def train(config: dict[str, Any], **options: Any) -> types.SimpleNamespace:
        seeds.append(config["seed"])
        found: types.SimpleNamespace = trained(config, **options)
        return found

    monkeypatch.setattr(sys.modules["aeframe.experiment.workflow"], "train", train)
    assert main(["-m", "resume=moved", "seed=0,1,2,2"]) == 0
    assert seeds == [2]
    with Path("moved/sweep.csv").open(encoding="utf-8") as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["finished"] * 3


def test_several_folders_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-m", "seed=0,1", "folder=a,b"]) == 2
    assert capsys.readouterr().err == (
        "error: a sweep has one folder, found several values; set one folder=PATH, the points are in it\n"
    )


def test_a_sweep_is_continued_by_its_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-m", "seed=0,13,1", "latent.dim=3"]) == 2
    assert main(["-m", "resume=runs/sweeps/now"]) == 2
    err = capsys.readouterr().err
    assert "sweep 'runs/sweeps/now': 2 of 3 points are finished\n" in err
    assert err.count("error: point 1 (seed=13): seed 13 brings no luck") == 2
    assert main(["-m", "resume=runs/sweeps/now", "seed=0,2"]) == 0
    assert "3-ae-breast_cancer" in trained_points("runs/sweeps/now")
    assert main(["-m", "resume=nowhere"]) == 2
    assert capsys.readouterr().err.endswith(
        "error: resume=nowhere has no sweep to continue: expected a folder with plan.json; correct the path\n"
    )


def test_a_run_whose_record_was_not_written_is_not_trained_again(monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["-m", "seed=0,1", "folder=mine"]) == 0
    Path("mine/points/1.json").unlink()
    Path("mine/1-ae-breast_cancer/state.json").write_text('{"status": "finished"}', encoding="utf-8")
    monkeypatch.setattr(sys.modules["aeframe.experiment.workflow"], "train", None)
    assert main(["-m", "seed=0,1", "folder=mine", "resume=auto"]) == 0
    assert json.loads(Path("mine/points/1.json").read_text(encoding="utf-8"))["status"] == "finished"


@pytest.mark.parametrize(
    ("folder", "arguments", "message"),
    [
        (
            "mine",
            ["folder=mine"],
            "folder 'mine' has a sweep of 2 points; continue it with resume=auto, or choose another with folder=PATH",
        ),
        ("other", ["folder=other"], "'other' is no folder of a sweep, and not empty; choose another with folder=PATH"),
        ("mine", ["resume=auto"], "resume=auto requires the folder of the sweep, found none; set folder=PATH"),
    ],
)
def test_a_folder_in_use_is_refused(
    folder: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-m", "seed=0,1", "folder=mine"]) == 0
    Path("other").mkdir()
    Path("other/notes.txt").touch()
    before = sorted(path for path in Path(folder).rglob("*"))
    assert main(["-m", "seed=0,1", *arguments]) == 2
    assert capsys.readouterr().err.endswith(f"error: {message}\n")
    assert sorted(path for path in Path(folder).rglob("*")) == before


def test_the_sweeps_of_one_process_have_folders_of_their_own() -> None:
    assert main(["-m", "seed=0,1"]) == 0
    assert main(["-m", "seed=0,1"]) == 0
    assert trained_points("runs/sweeps/now") == trained_points("runs/sweeps/now.2")


def test_a_queued_job_continues_the_sweep_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEFRAME_RUN_ID", "")
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    assert main(["-m", "seed=15,1"]) == 143
    assert main(["-m", "seed=2,3"]) == 0
    assert main(["-m", "seed=15,1"]) == 143
    assert sorted(path.name for path in Path("runs/sweeps").iterdir()) == ["77", "77.2"]


def test_a_sweep_that_is_running_is_not_continued(capsys: pytest.CaptureFixture[str]) -> None:
    from aeframe.runs.lock import run_lock

    assert main(["-m", "seed=0,1", "folder=mine"]) == 0
    with run_lock(Path("mine")):
        assert main(["-m", "seed=0,1,2", "folder=mine", "resume=auto"]) == 2
    assert "error: run 'mine' is in use by process" in capsys.readouterr().err
