"""The metrics ``mig``, ``sap``, ``dci`` and ``factor_vae_score`` on codes whose scores are known."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.evaluation.metrics.base import ModelMetric
from aeframe.factory import build
from aeframe.types import FACTORS, Batch, ForwardOutput, Latent

NAMES = ("mig", "sap", "dci", "factor_vae_score")
SCORES = ("mig", "sap", "dci_disentanglement", "dci_completeness", "dci_informativeness", "factor_vae_score")


def update(metric: ModelMetric, z: Tensor, factors: Tensor | None, index: Tensor) -> None:
    batch = Batch(torch.zeros(len(z), 6), index=index, extras={} if factors is None else {FACTORS: factors})
    metric.update(None, ForwardOutput(batch, batch, Latent(z, z), z, torch.zeros(len(z))))  # type: ignore[arg-type]


def scores(z: Tensor, factors: Tensor, *parts: Tensor, **options: Any) -> dict[str, float]:
    """Return the scores of all metrics, updated with the rows `parts` one after the other."""
    values: dict[str, float] = {}
    for name in NAMES:
        metric = build("metric", {"name": name, **options})
        for rows in parts or (torch.arange(len(z)),):
            update(metric, z[rows], factors[rows], rows)
        values |= {score: float(value) for score, value in metric.compute().items()}
    return values


def independent(num: int = 600) -> Tensor:
    """Three independent factors of 3, 4 and 5 values."""
    torch.manual_seed(0)
    return torch.stack([torch.randint(values, (num,)) for values in (3, 4, 5)], 1)


def two_coins(num: int = 400) -> Tensor:
    """All combinations of two factors of two values, equally often."""
    rows = torch.arange(num)
    return torch.stack([rows % 2, rows // 2 % 2], 1)


def test_factors_as_codes_are_perfect() -> None:
    values = scores(independent().float(), independent())
    assert set(values) == set(SCORES)
    # Chance information and accuracy of the second dimension are near 0, not 0.
    assert values == pytest.approx(dict.fromkeys(SCORES, 1.0), abs=0.05)
    assert values["dci_disentanglement"] == values["dci_informativeness"] == values["factor_vae_score"] == 1
    assert scores(two_coins().float(), two_coins())["mig"] == pytest.approx(1, abs=1e-12)


def test_sum_and_difference_of_two_coins() -> None:
    # Each dimension has half of the information about each coin: H(a) - H(a | a + b) = log 2 - log(2) / 2.
    a, b = two_coins().T
    z = torch.stack([a + b, a - b], 1).float()
    values = scores(z, two_coins())
    assert values["mig"] == pytest.approx(0, abs=1e-12)
    assert values["sap"] == pytest.approx(0, abs=0.1)
    assert values["dci_informativeness"] == 1
    assert values["dci_disentanglement"] < 0.1
    assert values["dci_completeness"] < 0.1
    # One dimension with half of the information, and another that is constant.
    assert scores(torch.stack([a + b, 0 * a], 1).float(), two_coins())["mig"] == pytest.approx(0.5, abs=1e-12)


def test_a_factor_in_two_dimensions_is_disentangled_but_not_complete() -> None:
    a, b = two_coins(1000).T
    torch.manual_seed(0)
    # Each copy alone is unreliable, so both are important.
    copies = (a + 0.45 * torch.randn(2, len(a))).unbind()
    values = scores(torch.stack([*copies, b.float()], 1), two_coins(1000))
    assert values["dci_disentanglement"] > 0.85
    assert values["dci_completeness"] < 0.85
    assert values["mig"] < 0.7


def test_rotated_codes_are_informative_but_entangled() -> None:
    factors = independent()
    z = (factors - factors.float().mean(0)) / factors.float().std(0)
    rotation = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1))).Q
    perfect, rotated = scores(z, factors), scores(z @ rotation, factors)
    assert rotated["dci_informativeness"] > 0.85
    for name in ("mig", "sap", "dci_disentanglement", "dci_completeness"):
        assert rotated[name] < perfect[name] - 0.4, name


def test_random_codes_are_at_chance() -> None:
    values = scores(torch.randn(600, 4, generator=torch.Generator().manual_seed(3)), independent())
    assert values.pop("factor_vae_score") == pytest.approx(1 / 3, abs=0.15)
    assert values == pytest.approx(dict.fromkeys(values, 0.0), abs=0.06)
    # A few thresholds fit even noise, if there are few samples.
    assert scores(torch.randn(80, 1, generator=torch.Generator().manual_seed(0)), independent(80))["sap"] < 0.08


def test_codes_that_are_constant_score_nothing() -> None:
    values = scores(torch.ones(600, 4), independent())
    assert values.pop("factor_vae_score") == pytest.approx(1 / 3, abs=0.06)
    assert values == dict.fromkeys(values, 0.0)


def test_order_sign_and_scale_of_the_dimensions_do_not_matter() -> None:
    torch.manual_seed(1)
    z = torch.cat([independent() + 0.3 * torch.randn(600, 3), torch.randn(600, 1)], 1)
    changed = (z * torch.tensor([-2.0, 3.0, -0.5, 10.0]))[:, [2, 0, 3, 1]]
    first, second = scores(z, independent()), scores(changed, independent())
    assert second == pytest.approx(first, abs=0.03)
    assert second["mig"] == pytest.approx(first["mig"], abs=1e-9)


def test_equal_for_any_batches() -> None:
    torch.manual_seed(1)
    z = independent() + 0.3 * torch.randn(600, 3)
    order = torch.randperm(600)
    for options in ({}, {"samples": 200}):
        assert scores(z, independent(), *order.split([7, 250, 343]), **options) == scores(z, independent(), **options)
    assert scores(z, independent(), samples=200) != scores(z, independent(), samples=200, seed=1)


def test_unknown_values_and_constant_factors_are_left_out() -> None:
    torch.manual_seed(1)
    z, factors = independent() + 0.3 * torch.randn(600, 3), independent()
    expected = scores(z[100:], factors[100:], torch.arange(500))
    marked = torch.cat([factors, torch.full((600, 1), 2), torch.full((600, 1), -1)], 1)
    marked[:100, 1] = -1
    metric = build("metric", {"name": "mig"})
    update(metric, z, marked, torch.arange(600) - 100)
    assert float(metric.compute()["mig"]) == expected["mig"]
    assert metric.protocol() == "500 samples, 3 factors, codes in 20 bins, seed 0"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("factors", "reason"),
    [
        (None, "the samples have no known factors of variation"),
        (torch.full((30, 2), -1), "found 30 samples, 0 factors that vary, expected at least 20 and 1"),
        (torch.zeros(30, 2).long(), "found 30 samples, 0 factors that vary, expected at least 20 and 1"),
        (torch.arange(30)[:, None] - 12, "found 18 samples, 1 factors that vary, expected at least 20 and 1"),
    ],
)
def test_without_factors_there_are_no_scores(name: str, factors: Tensor | None, reason: str) -> None:
    metric = build("metric", {"name": name})
    update(metric, torch.randn(30, 2), factors, torch.arange(30))
    assert metric.compute() == {}
    assert metric.protocol() == f"not measured: {reason}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "sap", "samples": 10}, "metric sap takes samples of at least 20, found 10"),
        ({"name": "mig", "bins": 1}, "metric mig takes bins of at least 2, found 1"),
        ({"name": "dci", "trees": 0}, "metric dci takes trees of at least 1, found 0"),
        (
            {"name": "factor_vae_score", "group": 1},
            "metric factor_vae_score takes votes of at least 1 and group of at least 2, found 800 and 1",
        ),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(AeframeError) as caught:
        build("metric", options)
    assert str(caught.value) == message


# -- several processes -----------------------------------------------------------------------------------------------


def _share(rank: int, port: int, results: Any) -> None:
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    results[rank] = scores(*_noisy(), torch.arange(rank * 250, 250 + rank * 350), samples=300)
    dist.destroy_process_group()


def _noisy() -> tuple[Tensor, Tensor]:
    factors = independent()
    return factors + 0.3 * torch.randn(600, 3, generator=torch.Generator().manual_seed(0)), factors


def test_two_processes_agree_with_one() -> None:
    import socket

    import torch.multiprocessing as mp

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with mp.Manager() as manager:
        results = manager.dict()
        mp.start_processes(_share, (port, results), nprocs=2, start_method="fork")
        both = dict(results)
    assert both[0] == both[1] == scores(*_noisy(), samples=300)
    assert not any(math.isnan(value) for value in both[0].values())
