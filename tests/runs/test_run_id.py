import os
import re
from pathlib import Path

import pytest

from aeframe.runs.run_id import exported_run_id, make_run_id, name_before_restart, run_id


@pytest.fixture(autouse=True)
def no_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("SLURM_JOB_ID", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "AEFRAME_RUN_ID"):
        monkeypatch.delenv(variable, raising=False)


def test_the_id_is_made_once_and_is_in_the_environment_only_during_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AEFRAME_RUN_ID", raising=False)
    first = make_run_id()
    assert re.fullmatch(r"\d{8}-\d{6}-\d+", first)
    assert "AEFRAME_RUN_ID" not in os.environ
    with exported_run_id() as exported:
        assert os.environ["AEFRAME_RUN_ID"] == exported == first
    assert "AEFRAME_RUN_ID" not in os.environ
    assert make_run_id() == first


def test_an_exported_id_is_restored_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEFRAME_RUN_ID", "parent")
    with pytest.raises(RuntimeError), exported_run_id():
        raise RuntimeError
    assert os.environ["AEFRAME_RUN_ID"] == "parent"


def test_an_exported_id_takes_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEFRAME_RUN_ID", "parent")
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    assert run_id() == "parent"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"SLURM_JOB_ID": "4711"}, "4711"),
        ({"TORCHELASTIC_RUN_ID": "mine"}, "mine"),
        ({"SLURM_JOB_ID": "4711", "TORCHELASTIC_RUN_ID": "none"}, "4711"),
        ({"SLURM_JOB_ID": "4713", "SLURM_ARRAY_JOB_ID": "4711", "SLURM_ARRAY_TASK_ID": "2"}, "4711_2"),
    ],
)
def test_the_id_is_that_of_the_job_in_a_queue(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert make_run_id() == expected


@pytest.mark.parametrize(
    ("elastic_id", "word"),
    [("none", str(os.getppid())), ("83f7ae24-cbcf-4987-b0cc-3f6af3c796d6", "83f7ae24")],
    ids=["default", "standalone"],
)
def test_torchrun_without_a_name_has_the_time_and_keeps_it_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elastic_id: str, word: str
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", elastic_id)
    name = f"{make_run_id()}-vae-digits"
    assert re.fullmatch(rf"\d{{8}}-\d{{6}}-{word}-vae-digits", name)
    earlier = f"20250101-120000-{word}-vae-digits"
    for folder in (earlier, f"20250101-120000-{word}-ae-digits", f"{earlier}.2", "20260101-120000-99-vae-digits"):
        (tmp_path / folder).mkdir()
    assert name_before_restart(tmp_path, name) == name
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert name_before_restart(tmp_path, name) == earlier
    assert name_before_restart(tmp_path / "empty", name) == name


def test_a_named_launch_needs_no_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "mine")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert name_before_restart(tmp_path, "mine-vae-digits") == "mine-vae-digits"


def test_points_of_a_sweep_and_runs_of_one_session_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEFRAME_RUN_ID", "session")
    assert [run_id(0), run_id(1), run_id(), run_id(), run_id()] == [
        "session-0",
        "session-1",
        "session",
        "session.2",
        "session.3",
    ]
