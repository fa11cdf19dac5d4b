"""Codebooks against averages worked by hand; codebooks of several devices stay equal."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from aeframe.parts.latents.quantized.codebook import CodebookOptions, LearnedCodebook
from aeframe.parts.schedules import fixed


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def make(size: int = 3, dim: int = 2, **options: Any) -> LearnedCodebook:
    settings = {"update": "ema", "decay": 0.5, "kmeans_init": False, "revive": 0.0, **options}
    return LearnedCodebook(
        CodebookOptions(size, dim, tokens=1, commitment=fixed(0.25), rotation_trick=False, **settings)
    )


def hand_made(**options: Any) -> LearnedCodebook:
    codebook = make(**options)
    codebook.table.copy_(torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 8.0]]))
    codebook.cluster_sum.copy_(codebook.table)
    return codebook


VECTORS = torch.tensor([[1.0, 0.0], [3.0, 2.0], [5.0, 0.0], [1.0, 1.0]])
CODES = torch.tensor([0, 1, 1, 0])


def state(codebook: LearnedCodebook) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in codebook.state_dict().items()}


# -- moving averages ---------------------------------------------------------------------------------------------


def test_averages_by_hand_over_two_batches() -> None:
    codebook = hand_made(decay=0.75)
    assert codebook.nearest(VECTORS).tolist() == CODES.tolist()
    codebook.ema_update(VECTORS, CODES)
    # Sizes: 3/4 of 1 and 1/4 of 2, 2, 0. Sums: 3/4 of the codes and 1/4 of (2, 1), (8, 2), 0.
    torch.testing.assert_close(codebook.cluster_size, torch.tensor([1.25, 1.25, 0.75]))
    torch.testing.assert_close(codebook.cluster_sum, torch.tensor([[0.5, 0.25], [5.0, 0.5], [0.0, 6.0]]))
    codes = torch.tensor([[0.4, 0.2], [4.0, 0.4], [0.0, 8.0]])
    torch.testing.assert_close(codebook.vectors, codes, atol=1e-4, rtol=1e-4)
    codebook.ema_update(VECTORS[:1], CODES[:1])
    torch.testing.assert_close(codebook.cluster_size, torch.tensor([1.1875, 0.9375, 0.5625]))
    torch.testing.assert_close(codebook.cluster_sum, torch.tensor([[0.625, 0.1875], [3.75, 0.375], [0.0, 4.5]]))


def test_the_smoothed_sizes_divide_the_sums() -> None:
    codebook = hand_made(decay=0.0)
    codebook.ema_update(VECTORS, CODES)
    # (n + 1e-5) * 4 / (4 + 3e-5) for n = 2, 2 and 0: a code that no vector chose has a sum of zero and is finite.
    smoothed = (torch.tensor([2.0, 2.0, 0.0]) + 1e-5) * 4 / (4 + 3e-5)
    expected = torch.tensor([[2.0, 1.0], [8.0, 2.0], [0.0, 0.0]]) / smoothed.unsqueeze(1)
    torch.testing.assert_close(codebook.vectors, expected, atol=0, rtol=1e-6)


@pytest.mark.parametrize("revive", [0.0, 0.9])
def test_a_vector_that_is_not_counted_changes_nothing(revive: float) -> None:
    once, twice = hand_made(revive=revive), hand_made(revive=revive)
    twice.load_state_dict(once.state_dict())
    once.ema_update(VECTORS[:2], CODES[:2])
    twice.ema_update(VECTORS, CODES, torch.tensor([True, True, False, False]))
    torch.testing.assert_close(twice.cluster_size, once.cluster_size)
    if revive:
        # Code 2 is dead: one of the two counted vectors replaces it.
        assert (VECTORS[:2] == twice.vectors[2]).all(1).any()
    else:
        torch.testing.assert_close(twice.vectors, once.vectors)


@pytest.mark.parametrize("update", ["ema", "gradient"])
def test_a_batch_without_a_counted_vector_changes_nothing(update: str) -> None:
    codebook = make(update=update, revive=0.9)
    codebook.ema_update(VECTORS, CODES)
    before = state(codebook)
    codebook.ema_update(VECTORS, CODES, torch.zeros(4, dtype=torch.bool))
    assert [name for name, value in before.items() if not torch.equal(value, codebook.state_dict()[name])] == ["draws"]


# -- k-means and revival -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_kmeans_ends_at_the_means_of_its_clusters(distance: str) -> None:
    cosine = distance == "cosine"
    codebook = make(size=6, dim=3, kmeans_init=True, distance=distance)
    vectors = torch.randn(40, 3)
    vectors = torch.nn.functional.normalize(vectors, dim=1) if cosine else vectors
    # Enough iterations to converge.
    for _ in range(5):
        codebook.set_vectors(vectors)
    error = (vectors - codebook.vectors[codebook.nearest(vectors)]).square().sum()
    assert error < 0.6 * (vectors - vectors.mean(0)).square().sum()
    assert codebook.cluster_size.sum() == 40
    torch.testing.assert_close(codebook.cluster_sum, codebook.vectors * codebook.cluster_size[:, None])
    if cosine:
        torch.testing.assert_close(codebook.vectors.norm(dim=1), torch.ones(6))


@pytest.mark.parametrize(("size", "num", "revived"), [(50, 8, 8), (8, 50, 8)])
def test_dead_codes_become_different_vectors_of_the_batch(size: int, num: int, revived: int) -> None:
    codebook = make(size=size, revive=0.5)
    codebook.cluster_size.zero_()
    vectors = torch.randn(num, 2)
    before = codebook.vectors.clone()
    codebook.ema_update(vectors, torch.zeros(num, dtype=torch.long))
    changed = (codebook.vectors[:, None] == vectors).all(2)
    # Code 0 was chosen by all vectors.
    assert int(changed.any(1).sum()) == min(revived, size - 1)
    assert int(changed.sum(0).max()) == 1
    assert not torch.equal(before[0], codebook.vectors[0])


def test_random_orders_are_permutations_without_a_pattern() -> None:
    codebook = make(size=4)
    orders = torch.stack([codebook._random_order(4) for _ in range(6000)])
    assert (orders.sort(1).values == torch.arange(4)).all()
    # Each of the 24 permutations 250 times; the bound of chi squared is passed once in a million.
    counts = (orders @ torch.tensor([64, 16, 4, 1])).unique(return_counts=True)[1]
    assert len(counts) == 24
    assert float(((counts - 250.0) ** 2 / 250).sum()) < 73.6
    first = torch.tensor([False, True, False, True])
    assert set(codebook._random_order(4, first=first)[:2].tolist()) == {1, 3}


# -- state -------------------------------------------------------------------------------------------------------


def test_all_state_is_in_buffers() -> None:
    codebook, batches = make(size=8, kmeans_init=True, revive=0.9), torch.randn(6, 20, 2)

    def train(codebook: LearnedCodebook, batches: Tensor) -> dict[str, Tensor]:
        for vectors in batches:
            codebook.initialize(vectors)
            codebook.ema_update(vectors, codebook.nearest(vectors))
        return state(codebook)

    fresh, begun = state(codebook), train(codebook, batches[:3])
    expected = train(codebook, batches[3:])
    for other in (make(size=8, kmeans_init=True, revive=0.9), make(size=8, revive=0.9), copy.deepcopy(codebook)):
        other.load_state_dict(begun)
        found = train(other, batches[3:])
        assert [name for name, value in expected.items() if not torch.equal(found[name], value)] == []
    # A state from before the first batch is initialised by the next one.
    codebook.load_state_dict(fresh)
    assert not codebook.is_initialized
    train(codebook, batches[:3])
    assert [name for name, value in begun.items() if not torch.equal(codebook.state_dict()[name], value)] == []


# -- several processes -------------------------------------------------------------------------------------------

_PROCESS = """
import sys
import torch
import torch.distributed as dist
from aeframe.devices import LocalRows, shared_batch
from aeframe.factory import build
from aeframe.testing import RowNoise
rank, world, at = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
torch.set_num_threads(1)
torch.manual_seed(0)
residual = {"name": "rvq", "num_quantizers": 3, "quantizer_dropout": 1.0}
configs = [{"name": "vq"}, residual, {**residual, "shared": True}]
latents = [build("latent", {**c, "codebook_size": 6, "dim": 2, "revive": 0.5}, feature_shape=(2, 3)) for c in configs]
batches = torch.randn(3, 10, 2, 3)
torch.manual_seed(rank)
if world > 1:
    dist.init_process_group("gloo", init_method=f"file://{at}/meet", rank=rank, world_size=world)
rows = None if world == 1 else LocalRows(10, rank, world)
own = slice(None) if rows is None else slice(rows.start, rows.stop)
for latent in latents:
    for batch in batches:
        with shared_batch(rows), RowNoise(torch.arange(10)[own]):
            latent(batch[own], sample=True)
torch.save([codebook.vectors for latent in latents for codebook in latent.codebooks], f"{at}/{world}-{rank}.pt")
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
