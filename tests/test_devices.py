"""Gathered rows, their gradients and objectives that compare samples, in two processes and in one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp
from torch import Tensor

from aeframe.data.vector import Vector
from aeframe.devices import (
    LocalRows,
    gather_rows,
    gather_rows_with_gradient,
    gather_values,
    mean_over_batch,
    num_rows,
    shared_batch,
    sum_over_batch,
)
from aeframe.testing.reference import ReferenceSetup, minimal_config, synthetic_batch
from aeframe.testing.two_process_step import gradients_of_step
from aeframe.types import DataSpec, Domain

# The conformance suite tests these objectives with their defaults; here they have other options.
OBJECTIVES: dict[str, dict[str, Any]] = {
    "rbf": {"name": "mmd", "kernel": "rbf", "beta": 0.5},
    "weighted": {"name": "total_correlation", "estimator": "weighted"},
    "adversarial": {"name": "total_correlation", "estimator": "adversarial"},
    "piwae": {"name": "importance", "groups": 4, "partial": True},
    "product": {"name": "weak_pairs", "average": "product"},
}


def setup(objective: dict[str, Any]) -> ReferenceSetup:
    spec = DataSpec((12,), Domain("real"), extras={"partner": (12,)})
    config = minimal_config("objective", objective, loss="mse", encoder={"name": "mlp", "hidden": [16]})
    config["latent"] = {"name": "gaussian", "dim": 3}
    return ReferenceSetup(config, spec, synthetic_batch(spec), Vector())


# Divided equally, as 2 and 3, and as 3 and none: the second process repeats two rows of the first.
TOTALS = (6, 5, 3)


def rows_and_gradient(total: int, rank: int | None) -> dict[str, Tensor]:
    """Return statistics of all rows, and the gradient of a loss that compares each row with all others."""
    value = torch.arange(2.0 * total).reshape(total, 2).sin().requires_grad_()
    shared = None if rank is None else LocalRows(total, rank, 2, least=2)
    local = value if shared is None else value[shared.start : shared.stop]
    with shared_batch(shared):
        rows, which = gather_rows_with_gradient(local)
        results = {
            "rows": rows.detach(),
            "positions": gather_rows(local.flatten()),
            "mean": mean_over_batch(local.mean(0)),
            "sum": sum_over_batch(local.sum(0)),
            "number": torch.tensor(num_rows(len(local))),
            "largest": gather_values(local.detach().flatten().topk(2).values).topk(2).values,
        }
    loss = (rows[which][:, None] - rows).square().sum(2).exp().mean(1).mean()
    (loss if shared is None else loss * shared.weight).backward()
    assert value.grad is not None
    gradient = value.grad
    if rank is not None:
        torch.distributed.all_reduce(gradient)
        gradient /= 2
    return {**results, "gradient": gradient}


def _run_rank(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    found = {name: gradients_of_step(setup(objective), rank) for name, objective in OBJECTIVES.items()}
    torch.save({**{str(total): rows_and_gradient(total, rank) for total in TOTALS}, **found}, folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def by_rank(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, Tensor]]]:
    """Return the results of each of two processes."""
    folder = tmp_path_factory.mktemp("two")
    mp.start_processes(_run_rank, (folder,), nprocs=2, start_method="fork")  # type: ignore[attr-defined,no-untyped-call]
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("total", TOTALS)
def test_reductions_and_gradients_equal_those_of_one_device(
    by_rank: list[dict[str, dict[str, Tensor]]], total: int
) -> None:
    expected = rows_and_gradient(total, None)
    for results in by_rank:
        torch.testing.assert_close(results[str(total)], expected)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_step_on_two_devices_equals_one_on_one(by_rank: list[dict[str, dict[str, Tensor]]], name: str) -> None:
    expected = gradients_of_step(setup(OBJECTIVES[name]), None)
    for results in by_rank:
        assert results[name].keys() == expected.keys()
        torch.testing.assert_close(results[name], expected, rtol=1e-3, atol=1e-5)
