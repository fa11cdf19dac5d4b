"""Runs as jobs of Slurm: the script of the documentation, requeued, in arrays, and several in one job."""

from __future__ import annotations

import csv
import hashlib
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from .one_machine import Cluster

SCRIPT = Path(__file__).parents[2] / "configs" / "cluster" / "slurm.sh"
SMALL = [
    "data=breast_cancer", "encoder.hidden=[8]", "latent.dim=2", "trainer.accelerator=cpu", "trainer.threads=1",
    "pictures=false", "progress=false",
]  # fmt: skip
LONG = ["model=vae", *SMALL, "max_epochs=200"]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture
def submit(cluster: Cluster, work: Path) -> Callable[..., str]:
    """Return a function that submits the script with the arguments of a run, and returns the job's number."""

    def submitted(*words: str, options: tuple[str, ...] = (), script: Path = SCRIPT) -> str:
        here = ("--gpus-per-node=0", "--cpus-per-task=1")
        return cluster.run("sbatch", "--parsable", *here, *options, str(script), *words, cwd=work).strip()

    return submitted


def output(work: Path, job: str) -> str:
    return (work / f"slurm-{job}.out").read_text(encoding="utf-8")


def wait(cluster: Cluster, work: Path, job: str) -> None:
    try:
        cluster.wait(job)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{output(work, job)}") from None


def runs(work: Path, pattern: str) -> list[str]:
    return sorted(path.name for path in (work / "runs").glob(pattern))


def bits(run: Path) -> dict[str, str]:
    """Return hashes of what a run computed: the weights, and all numbers that it measured."""
    model = (run / "model" / "model.safetensors").read_bytes()
    with (run / "metrics.csv").open(encoding="utf-8") as file:
        rows = [{name: value for name, value in row.items() if "time" not in name} for row in csv.DictReader(file)]
    return {"weights": hashlib.sha256(model).hexdigest(), "metrics": repr(rows)}


def wait_for_a_checkpoint(work: Path, job: str) -> None:
    end = time.monotonic() + 120
    while not list(work.glob(f"runs/{job}-*/checkpoints/last.ckpt")):
        assert time.monotonic() < end, output(work, job)
        time.sleep(0.1)


def start_again(cluster: Cluster, job: str) -> None:
    """Start a job that was requeued at once; Slurm makes it wait two minutes."""
    cluster.wait(job, until=("PENDING",))
    # A node refuses a job whose credential is of the second in which its former start ended.
    cluster.wait_until_idle()
    cluster.run("scontrol", "update", f"JobId={job}", "StartTime=now+2seconds")


@pytest.fixture(scope="session")
def undisturbed(cluster: Cluster, work: Path) -> dict[str, str]:
    """Return what a run computes that nothing interrupts."""
    cluster.run("srun", "--quiet", "aeframe-train", *LONG, "folder=undisturbed", "resume=false", cwd=work)
    return bits(work / "undisturbed")


@pytest.mark.parametrize("option", ["--ntasks-per-node=2", "--nodes=2"])
def test_the_tasks_of_a_job_are_one_run(option: str, cluster: Cluster, work: Path, submit: Callable[..., str]) -> None:
    job = submit("model=ae", *SMALL, "max_epochs=1", options=(option,))
    wait(cluster, work, job)
    assert runs(work, f"{job}-*") == [f"{job}-ae-breast_cancer"]
    assert "Warning" not in output(work, job)
    assert output(work, job).count("ae on breast_cancer") == 1


# Slurm sends SIGUSR1 before a time limit, whose unit is minutes.
@pytest.mark.parametrize("command", [("scontrol", "requeue"), ("scancel", "--signal=USR1")], ids=["requeue", "limit"])
def test_a_job_that_starts_again_ends_with_the_bits_of_an_undisturbed_run(
    command: tuple[str, ...], cluster: Cluster, work: Path, submit: Callable[..., str], undisturbed: dict[str, str]
) -> None:
    job = submit(*LONG)
    wait_for_a_checkpoint(work, job)
    cluster.run(*command, job)
    start_again(cluster, job)
    wait(cluster, work, job)
    assert runs(work, f"{job}-*") == [f"{job}-vae-breast_cancer"]
    assert bits(work / "runs" / f"{job}-vae-breast_cancer") == undisturbed


def test_a_task_of_an_array_has_its_number_as_seed_and_a_folder_of_its_own(
    cluster: Cluster, work: Path, submit: Callable[..., str]
) -> None:
    job = submit("model=ae", *SMALL, "max_epochs=1", "seed=${oc.env:SLURM_ARRAY_TASK_ID}", options=("--array=3-4",))
    for task in (3, 4):
        wait(cluster, work, f"{job}_{task}")
    folders = [work / "runs" / name for name in runs(work, f"{job}_*")]
    assert [folder.name for folder in folders] == [f"{job}_{task}-ae-breast_cancer" for task in (3, 4)]
    seeds = [yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))["seed"] for folder in folders]
    assert seeds == [3, 4]


def test_several_runs_of_a_job_have_folders_of_their_own(
    cluster: Cluster, work: Path, submit: Callable[..., str]
) -> None:
    script = work / "several.sh"
    train = f"srun --exact --ntasks=1 aeframe-train model=ae {' '.join(SMALL)} max_epochs=1"
    # Two steps at the same time, and one after them.
    script.write_text(f"#!/bin/bash\n{train} seed=0 &\n{train} seed=1 &\nwait\n{train} seed=2\n", encoding="utf-8")
    job = submit(script=script, options=("--ntasks=2",))
    wait(cluster, work, job)
    names = runs(work, f"{job}-*")
    assert len(names) == 3, output(work, job)
    first = {name: bits(work / "runs" / name) for name in names}
    # Once more, as a requeue would: each run is complete.
    cluster.run("scontrol", "requeue", job)
    start_again(cluster, job)
    wait(cluster, work, job)
    assert runs(work, f"{job}-*") == names
    assert {name: bits(work / "runs" / name) for name in names} == first


def test_points_of_a_sweep_are_tasks_of_an_array_with_two_processes_each(cluster: Cluster, work: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    launcher = {"timeout_min": 5, "cpus_per_task": 1, "mem_gb": 2, "tasks_per_node": 2}
    printed = cluster.run(
        "aeframe-train", "-m", "model=ae", "seed=0,1", *SMALL, "max_epochs=1", "folder=sweep", "trainer.devices=2",
        "hydra/launcher=submitit_slurm", *(f"hydra.launcher.{name}={value}" for name, value in launcher.items()),
        cwd=work,
    )  # fmt: skip
    with (work / "sweep" / "sweep.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["finished", "finished"], printed
    configs = [
        yaml.safe_load((work / "sweep" / f"{number}-ae-breast_cancer" / "config.yaml").read_text(encoding="utf-8"))
        for number in (0, 1)
    ]
    assert [config["seed"] for config in configs] == [0, 1]
    assert all(config["trainer"]["devices"] == 2 for config in configs)


def test_the_page_on_clusters_starts_the_script_that_is_tested_here() -> None:
    page = (SCRIPT.parents[2] / "docs" / "how-to" / "cluster.md").read_text(encoding="utf-8")
    assert "(../../configs/cluster/slurm.sh)" in page
    assert re.findall(r"^sbatch .*? (\S+\.sh) ", page, re.MULTILINE) == [SCRIPT.name] * 2
