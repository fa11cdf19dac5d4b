"""A Slurm cluster on this machine: a controller, and nodes that all are this host; no service of the system is used."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "sbatch", "scontrol", "squeue")
DEBIAN = "apt-get install --no-install-recommends slurmctld slurmd slurm-client munge"
_PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
"""Where the programs are, and aeframe-train for jobs."""
_NODES = 2
_WAIT = 60.0
"""Seconds after which a cluster that does not start is an error."""


def missing() -> str | None:
    """Return why this machine cannot be a cluster, None if it can."""
    absent = [name for name in PROGRAMS if shutil.which(name, path=_PATH) is None]
    if absent:
        return f"no {', '.join(absent)} here ({DEBIAN})"
    return None if os.geteuid() == 0 else "slurmd starts jobs as their user, which needs root"


class StartError(Exception):
    """The cluster does not start on this machine."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running cluster."""

    folder: Path
    environment: dict[str, str]
    """For commands of Slurm, and inherited by jobs."""

    def run(self, *words: str, cwd: Path | None = None) -> str:
        """Return what a command of Slurm printed.

        Raises:
            AssertionError: It failed.
        """
        done = subprocess.run(words, env=self.environment, cwd=cwd, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def state(self, job: str) -> str:
        """Return the state of a job or of a task of an array, such as ``RUNNING`` or ``COMPLETED``."""
        fields = dict(word.split("=", 1) for word in self.run("scontrol", "show", "job", job).split() if "=" in word)
        return fields["JobState"]

    def logs(self) -> str:
        """Return the ends of what the controller and the nodes wrote."""
        return _ends(self.folder, "*.log")

    def wait(self, job: str, *, until: tuple[str, ...] = ("COMPLETED",), seconds: float = 300.0) -> None:
        """Wait until a job has one of the states.

        Raises:
            AssertionError: It ended in another state, or does not end.
        """
        end = time.monotonic() + seconds
        ended = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL"}
        while (state := self.state(job)) not in until:
            assert state not in ended - set(until), f"job {job} is {state}\n{self.logs()}"
            assert time.monotonic() < end, f"job {job} is still {state}"
            time.sleep(0.2)

    def wait_until_idle(self) -> None:
        """Wait until no job runs or ends on a node."""
        _wait_for(lambda: _idle_nodes(self) == _NODES, self.folder)


@contextmanager
def one_machine_cluster(folder: Path) -> Iterator[Cluster]:
    """Start a cluster whose files are in `folder`, and stop it at the end.

    Raises:
        StartError: It does not start; the end of its logs is in the message.
    """
    # The nodes' names are of this cluster only, so a run cannot find its first process by them.
    names = {"SLURM_CONF": str(folder / "slurm.conf"), "MASTER_ADDR": "127.0.0.1"}
    environment = {**os.environ, "PATH": _PATH, **names}
    # A job's processors are counted by nproc, which honours the number of threads.
    environment.pop("OMP_NUM_THREADS", None)
    _write_config(folder)
    started: list[subprocess.Popen[bytes]] = []

    def start(*words: str) -> None:
        with (folder / f"{words[0]}.{len(started)}.out").open("wb") as log:
            started.append(subprocess.Popen(words, env=environment, stdout=log, stderr=subprocess.STDOUT))

    munge = folder / "munge"
    try:
        start(
            "munged", "--foreground", "--force", f"--key-file={munge / 'key'}", f"--socket={munge / 'socket'}",
            f"--pid-file={munge / 'pid'}", f"--log-file={munge / 'log'}", f"--seed-file={munge / 'seed'}",
        )  # fmt: skip
        _wait_for((munge / "socket").exists, folder)
        start("slurmctld", "-D")
        for number in range(1, _NODES + 1):
            start("slurmd", "-D", "-N", f"n{number}")
        cluster = Cluster(folder, environment)
        _wait_for(lambda: _idle_nodes(cluster) == _NODES, folder)
        yield cluster
        subprocess.run(["scancel", "--state=RUNNING"], env=environment, check=False)
        subprocess.run(["scancel", "--state=PENDING"], env=environment, check=False)
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
        for process in started:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _idle_nodes(cluster: Cluster) -> int:
    done = subprocess.run(
        ["sinfo", "-h", "-N", "-o", "%T"], env=cluster.environment, capture_output=True, text=True, check=False
    )
    return done.stdout.split().count("idle")


def _ends(folder: Path, pattern: str) -> str:
    return "\n".join(path.read_text(errors="replace")[-2000:] for path in sorted(folder.glob(pattern)))


def _wait_for(condition: Callable[[], bool], folder: Path) -> None:
    end = time.monotonic() + _WAIT
    while not condition():
        if time.monotonic() > end:
            raise StartError(f"the cluster does not start\n{_ends(folder, '*.out')}")
        time.sleep(0.1)


def _write_config(folder: Path) -> None:
    """Write the config of the cluster, and the key with which its processes trust each other."""
    munge = folder / "munge"
    munge.mkdir(mode=0o711)
    folder.chmod(0o711)
    (munge / "key").write_bytes(os.urandom(1024))
    (munge / "key").chmod(0o400)
    (folder / "state").mkdir()
    host = socket.gethostname().split(".")[0]
    user = getpass.getuser()
    processors = os.cpu_count() or 1
    memory = int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20 * 0.8) // _NODES
    ports = _free_ports(1 + _NODES)
    settings = {
        "ClusterName": "one", "SlurmctldHost": f"{host}(127.0.0.1)", "SlurmctldPort": ports[0],
        "SlurmUser": user, "SlurmdUser": user, "AuthType": "auth/munge", "AuthInfo": f"socket={munge / 'socket'}",
        "CredType": "cred/munge", "StateSaveLocation": folder / "state", "SlurmdSpoolDir": folder / "spool.%n",
        "SlurmctldPidFile": folder / "slurmctld.pid", "SlurmdPidFile": folder / "slurmd.%n.pid",
        "SlurmctldLogFile": folder / "slurmctld.log", "SlurmdLogFile": folder / "slurmd.%n.log",
        "ProctrackType": "proctrack/linuxproc", "TaskPlugin": "task/none", "SchedulerType": "sched/backfill",
        "SelectType": "select/cons_tres", "SelectTypeParameters": "CR_CPU", "ReturnToService": 2, "MpiDefault": "none",
        "JobAcctGatherType": "jobacct_gather/none", "AccountingStorageType": "accounting_storage/none",
        "SwitchType": "switch/none",
        # Seconds between SIGTERM and SIGKILL, and until a job that was requeued may start again.
        "KillWait": 20, "SchedulerParameters": "requeue_setup_env_fail", "MinJobAge": 3600,
    }  # fmt: skip
    lines = [f"{name}={value}" for name, value in settings.items()]
    for number, port in enumerate(ports[1:], start=1):
        (folder / f"spool.n{number}").mkdir()
        lines.append(
            f"NodeName=n{number} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={processors} "
            f"RealMemory={memory} State=UNKNOWN"
        )
    lines.append("PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:4")
    (folder / "slurm.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _free_ports(num: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(num)]
    try:
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
