"""One run on two hosts, which are network namespaces of this machine joined by a cable of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from aeframe.testing.subprocess_io import TIMEOUT

pytestmark = pytest.mark.slow
WORDS = [
    "model=vae", "data=breast_cancer", "encoder.hidden=[8]", "latent.dim=2", "max_epochs=1", "batch_size=64",
    "trainer.accelerator=cpu", "trainer.threads=1", "pictures=false",
]  # fmt: skip
ADDRESSES = ("10.77.0.1", "10.77.0.2")


@pytest.fixture
def hosts() -> Iterator[list[str]]:
    """Two connected network namespaces, by name."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("needs network namespaces: the command ip (Debian's iproute2), and root")
    names = [f"ae{letter}{os.getpid()}" for letter in "ab"]
    cables = [f"v{letter}{os.getpid()}" for letter in "ab"]
    with ExitStack() as stack:
        for name in names:
            if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
                pytest.skip("network namespaces are not allowed here")
            stack.callback(subprocess.run, ["ip", "netns", "del", name], check=False)
        ip("link", "add", cables[0], "netns", names[0], "type", "veth", "peer", "name", cables[1], "netns", names[1])
        for name, cable, address in zip(names, cables, ADDRESSES, strict=True):
            ip("-n", name, "addr", "add", f"{address}/24", "dev", cable)
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", cable, "up")
        yield names


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def test_torchrun_on_two_hosts_is_one_run(hosts: list[str], tmp_path: Path) -> None:
    processes = []
    for rank, host in enumerate(hosts):
        # gloo takes the address of the host's name otherwise.
        environment = {**os.environ, "GLOO_SOCKET_IFNAME": f"v{'ab'[rank]}{os.getpid()}", "OMP_NUM_THREADS": "1"}
        launch = [
            "-m", "torch.distributed.run", "--nnodes=2", f"--node-rank={rank}", "--nproc-per-node=1",
            f"--master-addr={ADDRESSES[0]}", "--master-port=29533", "-m", "aeframe.experiment.main",
        ]  # fmt: skip
        processes.append(
            subprocess.Popen(
                ["ip", "netns", "exec", host, sys.executable, *launch, *WORDS],
                cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )
        )  # fmt: skip
    texts = [process.communicate(timeout=TIMEOUT)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(texts)
    (folder,) = (tmp_path / "runs").iterdir()
    assert (folder / "model" / "model.safetensors").exists()
    # The first host reports, the second one is silent.
    assert "vae on breast_cancer" in texts[0]
    assert "vae on breast_cancer" not in texts[1]
