"""A queue's SIGTERM: a checkpoint, an exit code that says so, and a run that goes on from there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "aeframe.experiment.main", *words, "trainer.threads=1", "pictures=false"]


def test_a_run_that_is_terminated_goes_on(tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["max_epochs=100000", "log_every=1", f"folder={run}"]
    process = subprocess.Popen(
        command(*words), cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ}
    )
    deadline = time.monotonic() + 120
    while not (run / "checkpoints" / "last.ckpt").is_file() and process.poll() is None:
        assert time.monotonic() < deadline, "no epoch ended in two minutes"
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors.decode()
    done = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["aeframe"]["progress"]["batch"]
    assert done > 0
    again = subprocess.run(
        command(f"resume={run}", f"max_batches={done + 5}"), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["aeframe"]["progress"]["batch"] == done + 5
