"""In which folder a run starts, and whether it begins, continues or is complete."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aeframe.data.in_memory import SampleSplits
from aeframe.data.samples import Samples
from aeframe.errors import AeframeError
from aeframe.experiment.compose import compose
from aeframe.experiment.objects import RunObjects
from aeframe.experiment.resume import MAY_CHANGE
from aeframe.experiment.start import Start, command_digest, started
from aeframe.runs import claim
from aeframe.runs.folder import RunFolder
from aeframe.runs.lock import run_lock


@pytest.fixture(autouse=True)
def _no_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("SLURM_JOB_ID", "TORCHELASTIC_RUN_ID", "AEFRAME_RUN_ID"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(claim, "_claimed", set())


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch, workplace: Path) -> Path:
    """Pretend to be in Slurm job 7; return its first folder."""
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    return Path("runs/7-ae-breast_cancer")


@pytest.fixture
def new_process(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return a function after which this process has claimed no folder, like one that starts."""
    return lambda: monkeypatch.setattr(claim, "_claimed", set())


def start(*overrides: str, objects: RunObjects | None = None, leave: str = "checkpoint") -> Start:
    """Return the start of a run, and leave behind what a run does: a checkpoint, an error, or nothing but its files."""
    config = compose(list(overrides))
    with ExitStack() as stack:
        found = stack.enter_context(started(config, None, objects or RunObjects()))
        if leave == "error":
            raise AeframeError("the data cannot be read")
        folder = found.folder
        if not found.continues:
            folder.create()
            folder.write_state("training", found.command or None)
            folder.write_config({**found.config(config), "batch_size": config["batch_size"] or 64, "resume": None})
        if leave == "checkpoint":
            folder.checkpoints.mkdir(exist_ok=True)
            folder.last.touch()
    return found


def message(*overrides: str, **arguments: Any) -> str:
    with pytest.raises(AeframeError) as error:
        start(*overrides, **arguments)
    return str(error.value)


# -- a folder that the command names -----------------------------------------------------------------------------------


def test_auto_begins_a_run_and_continues_it(workplace: Path) -> None:
    words = ["resume=auto", "folder=run", "latent.dim=3"]
    begun = start(*words, "max_epochs=4", leave="files")
    assert (begun.path, begun.continues, begun.chosen) == ("run", False, {})
    # Without a checkpoint the run is begun again.
    assert not start(*words, "max_epochs=4").continues
    continued = start(*words, "max_epochs=5")
    # The batch size was chosen from the data; the command leaves it out.
    assert (continued.path, continued.continues, continued.chosen) == ("run", True, {"batch_size": 64})
    config = continued.config(compose([*words, "max_epochs=5"]))
    assert (config["resume"], config["max_epochs"], config["batch_size"]) == ("run", 5, 64)


@pytest.mark.parametrize("resume", ["auto", "null"])
def test_another_command_in_a_named_folder_is_an_error(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, resume: str
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    start("folder=run", "optimizer.lr=0.01")
    assert message("folder=run", f"resume={resume}", "optimizer.lr=0.5", "seed=3") == (
        f"resume=auto found run 'run' with optimizer.lr=0.01, but this command has optimizer.lr=0.5; set it as it was, "
        f"or choose another folder (resume can change {', '.join(MAY_CHANGE)})"
    )


def test_auto_needs_a_folder_outside_of_a_queue() -> None:
    assert message("resume=auto") == "resume=auto requires the run's folder, found none; set folder=PATH"


def test_outside_of_a_queue_each_command_begins_a_run(workplace: Path) -> None:
    first, second = start(), start()
    assert [first.continues, second.continues] == [False, False]
    assert first.path != second.path


def test_only_false_is_no_folder() -> None:
    with pytest.raises(AeframeError, match=r"^setting 'resume' expects str \| False \| null, found True"):
        compose(["resume=true"])


# -- a folder of a job -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({"SLURM_JOB_ID": "9"}, "9"),
        ({"SLURM_JOB_ID": "12", "SLURM_ARRAY_JOB_ID": "9", "SLURM_ARRAY_TASK_ID": "3"}, "9_3"),
        ({"TORCHELASTIC_RUN_ID": "mine"}, "mine"),
    ],
)
def test_the_folder_has_the_name_of_the_job(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], name: str
) -> None:
    for variable, value in {"WORLD_SIZE": "1", **variables}.items():
        monkeypatch.setenv(variable, value)
    assert start().path == f"runs/{name}-ae-breast_cancer"


def test_each_command_of_a_job_has_its_folder_also_after_a_requeue(job: Path, new_process: Callable[[], None]) -> None:
    commands = [["seed=0"], ["seed=1"], ["seed=0", "max_epochs=3"], ["seed=0", "trainer.precision=64-true"]]
    folders = [str(job), *(f"{job}.{number}" for number in (2, 3, 4))]
    for command, folder in zip(commands, folders, strict=True):
        new_process()
        assert start(*command).path == folder
    for command, folder in reversed(list(zip(commands, folders, strict=True))):
        new_process()
        again = start(*command, "verbose=false", "trainer.devices=1")
        assert (again.path, again.continues) == (folder, True)


def test_equal_runs_of_one_program_have_folders_of_their_own(job: Path, new_process: Callable[[], None]) -> None:
    for continues in (False, True):
        found = [start("seed=3") for _ in range(3)]
        assert [each.path for each in found] == [str(job), f"{job}.2", f"{job}.3"]
        assert [each.continues for each in found] == [continues] * 3
        new_process()


def test_other_samples_are_another_command(job: Path, new_process: Callable[[], None]) -> None:
    samples = [RunObjects(SampleSplits({"train": Samples(np.full((8, 2), value))})) for value in (0.0, 1.0, 0.0)]
    paths = []
    for objects in samples:
        new_process()
        paths.append(start(objects=objects).path)
    assert paths == [str(job), f"{job}.2", str(job)]


def test_false_always_begins_another_run(job: Path, new_process: Callable[[], None]) -> None:
    start()
    new_process()
    for number in (2, 3):
        begun = start("resume=false")
        assert (begun.path, begun.continues) == (f"{job}.{number}", False)
        new_process()
    assert message("resume=false", "folder=runs/7-ae-breast_cancer", leave="files").startswith(
        f"run folder '{job}' exists and is not empty;"
    )


@pytest.mark.parametrize("content", [[], ["config.yaml"], ["state.json"], [".lock"], ["metrics.csv", "log.txt"]])
def test_a_broken_start_is_begun_again(job: Path, content: list[str]) -> None:
    job.mkdir(parents=True)
    for name in content:
        (job / name).touch()
    begun = start()
    assert (begun.path, begun.continues) == (str(job), False)


def test_a_start_of_another_command_stays_its_own(job: Path, new_process: Callable[[], None]) -> None:
    start("seed=1", leave="files")
    new_process()
    assert start("seed=2").path == f"{job}.2"
    new_process()
    assert start("seed=1").path == str(job)


def test_what_is_no_run_is_left_alone(job: Path) -> None:
    job.mkdir(parents=True)
    (job / "notes.txt").write_text("mine", encoding="utf-8")
    Path(f"{job}.2").write_text("a file", encoding="utf-8")
    assert start().path == f"{job}.3"
    assert [path.name for path in job.iterdir()] == ["notes.txt"]


def test_after_an_error_before_the_run_there_is_no_folder(job: Path) -> None:
    for _ in range(2):
        assert message(leave="error") == "the data cannot be read"
        assert not job.exists()
    assert start().path == str(job)


def test_a_folder_in_use_is_left_to_its_process(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "_SECONDS_UNTIL_NAMED", 0.0)
    start("seed=1", leave="files")
    with run_lock(job):
        assert start("seed=2").path == f"{job}.2"


CLAIM = """
import sys, time
from pathlib import Path
from aeframe.errors import AeframeError
from aeframe.runs.claim import claimed_folder
folder, command = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
try:
    with claimed_folder(Path(folder), command, continues=True) as claimed:
        print(claimed.path.name, flush=True)
        sys.stdin.readline()
        (claimed.path / "config.yaml").touch()
except AeframeError as error:
    print(error, flush=True)
"""


@pytest.mark.parametrize("commands", [["a", "b", "c", "d"], ["a", "a", "a"]], ids=["different", "equal"])
def test_processes_that_start_together_never_share_a_folder(tmp_path: Path, commands: list[str]) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIM, str(tmp_path / "run"), command],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )
        for command in commands
    ]  # fmt: skip
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
    lines = [process.stdout.readline().strip() for process in processes if process.stdout is not None]
    for process in processes:
        process.communicate("\n", timeout=30)
    claimed = sorted(line for line in lines if line.startswith("run") and "'" not in line)
    if len(set(commands)) == len(commands):
        assert claimed == ["run", "run.2", "run.3", "run.4"]
        assert all(RunFolder(tmp_path / name).read_state()["command"] in commands for name in claimed)
    else:
        assert claimed == ["run"]
        refused = [line for line in lines if line not in claimed]
        assert all("which runs the same command; wait until it ends, or begin another" in line for line in refused)


# -- the digest --------------------------------------------------------------------------------------------------------


def test_a_digest_is_of_what_is_trained() -> None:
    def digest(*overrides: str, **modules: Any) -> str:
        return command_digest(compose(list(overrides)), RunObjects(modules=modules))

    same = digest("seed=1")
    assert same == digest("seed=1", "root=other", "progress=true", "trainer.devices=2", "trainer.num_nodes=3")
    for other in (["seed=2"], ["seed=1", "max_hours=2"], ["seed=1", "workers=1"], ["seed=1", "trainer.threads=2"]):
        assert digest(*other) != same
    assert digest("seed=1", encoder=torch.nn.Linear(2, 3)) == digest("seed=1", encoder=torch.nn.Linear(2, 3)) != same
    assert digest("seed=1", encoder=torch.nn.Linear(2, 4)) != digest("seed=1", encoder=torch.nn.Linear(2, 3))


def test_relative_and_absolute_paths_are_equal(workplace: Path) -> None:
    np.save(workplace / "rows.npy", np.zeros((4, 2)))
    paths = ["rows.npy", str(workplace / "rows.npy"), "other.npy"]
    digests = [command_digest(compose(["data=numbers", f"data.path={path}"]), RunObjects()) for path in paths]
    assert digests[0] == digests[1] != digests[2]
