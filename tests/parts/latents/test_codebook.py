"""Codebooks of several processes are one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

_PROCESS = """
import sys
import torch
import torch.distributed as dist
from aeframe.build import build
from aeframe.testing import RowNoise
rank, world, at = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
torch.set_num_threads(1)
torch.manual_seed(0)
residual = {"name": "rvq", "num_quantizers": 3, "quantizer_dropout": 1.0}
configs = [{"name": "vq"}, residual, {**residual, "shared": True}]
latents = [build("latent", {**c, "codebook_size": 6, "dim": 2, "revive": 0.5}, feature_shape=(2, 3)) for c in configs]
batches = torch.randn(3, 7, 2, 3)
torch.manual_seed(rank)
if world > 1:
    dist.init_process_group("gloo", init_method=f"file://{at}/meet", rank=rank, world_size=world)
own = slice(None) if world == 1 else slice(0, 4) if rank == 0 else slice(4, 7)
for latent in latents:
    for batch in batches:
        with RowNoise(torch.arange(7)[own]):
            latent(batch[own], sample=True)
torch.save([book.vectors for latent in latents for book in latent.books], f"{at}/{world}-{rank}.pt")
if world > 1:
    dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_learn_the_codebooks_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two = [subprocess.Popen([sys.executable, "-c", _PROCESS, str(rank), "2", str(tmp_path)]) for rank in range(2)]
    monkeypatch.setattr(sys, "argv", ["-c", "0", "1", str(tmp_path)])
    exec(_PROCESS, {})
    assert [process.wait(timeout=240) for process in two] == [0, 0]
    one, first, second = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("1-0", "2-0", "2-1"))
    assert len(one) == 1 + 3 + 1
    assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))
    torch.testing.assert_close(first, one)
