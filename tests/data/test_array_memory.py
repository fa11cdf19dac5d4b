"""An array is copied once at most, and a large memory-mapped one is not copied at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PREPARE = """
import sys, threading, time
import numpy as np
import torch
import aeframe
from aeframe.data import vector
from aeframe.data.in_memory import SampleSplits
from aeframe.data.vector import Vector
from aeframe.data.vector_in_memory import VectorInMemory

def anonymous():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("RssAnon"))

def watch():
    while True:
        peak[0] = max(peak[0], anonymous())
        time.sleep(0.005)

is_mapped, path = sys.argv[1] == "mapped", sys.argv[2]
shape = (50_000, 1000)
x = np.lib.format.open_memmap(path, "w+", np.float32, shape) if is_mapped else np.empty(shape, np.float32)
for start in range(0, len(x), 1000):
    x[start : start + 1000] = np.random.default_rng(start).normal(size=(1000, 1000))
if is_mapped:
    vector.MAX_COPIED_BYTES = 1 << 20
    x = np.load(path, mmap_mode="r")
Vector().prepare(VectorInMemory(SampleSplits({"train": aeframe.Samples(np.zeros((20, 2)))})))  # imports
base = anonymous()
peak = [base]
threading.Thread(target=watch, daemon=True).start()
splits = Vector().prepare(VectorInMemory(SampleSplits({"train": aeframe.Samples(x)})))
splits.train.batch(torch.arange(1000))
print(x.nbytes, peak[0] - base)
"""


@pytest.mark.parametrize(("kind", "copies"), [("memory", 1), ("mapped", 0)])
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="reads the memory of a process from /proc")
def test_an_array_is_copied_at_most_once(kind: str, copies: int, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PREPARE, kind, str(tmp_path / "x.npy")], capture_output=True, text=True, check=True
    )
    bytes_of_x, growth = map(int, done.stdout.split())
    assert growth < copies * bytes_of_x + (150 << 20)
