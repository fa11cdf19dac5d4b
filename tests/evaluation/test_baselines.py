"""The reconstruction error of PCA beside that of a model."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from sklearn.decomposition import PCA

from aeframe.data.memory import TensorSource
from aeframe.evaluation import baselines, principal_directions
from aeframe.evaluation.baselines import better_baselines, pca_error


def splits_of(x: torch.Tensor, mask: torch.Tensor | None = None) -> tuple[TensorSource, TensorSource]:
    return TensorSource(x[:80], mask=None if mask is None else mask[:80]), TensorSource(x[80:])


def correlated(num_elements: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    mixed = torch.randn(120, 5, generator=generator) @ torch.randn(5, num_elements, generator=generator)
    return mixed + 0.3 * torch.randn(120, num_elements, generator=generator) + 2


@pytest.mark.parametrize("exact", [True, False])
def test_equals_the_pca_of_scikit_learn(make_model: Any, monkeypatch: pytest.MonkeyPatch, exact: bool) -> None:
    monkeypatch.setattr(principal_directions, "_MAX_EXACT", 100 if exact else 0)
    x = correlated(12)
    model = make_model((3, 4), latent={"name": "point", "dim": 4}, encoder="mlp")
    found = pca_error(model, *splits_of(x.reshape(120, 3, 4)), seed=0)
    pca = PCA(4, svd_solver="full").fit(x[:80].numpy())
    error = x[80:].numpy() - pca.inverse_transform(pca.transform(x[80:].numpy()))
    assert found is not None
    assert found.mse == pytest.approx((error**2).mean(), rel=1e-3)
    assert found.describe() == "PCA of 4 numbers, fitted to 80 training samples: mse 0.4734 on 40 samples"
    assert found.describe(found.mse) == found.describe()
    assert found.describe(0.5) == f"{found.describe()}, less than that of the model (0.5)"


def test_none_where_a_comparison_says_nothing(make_model: Any) -> None:
    x = correlated(12)
    point = {"name": "point", "dim": 4}
    assert pca_error(make_model((12,), latent={"name": "point", "dim": 12}), *splits_of(x), seed=0) is None
    assert (
        pca_error(make_model((12,), "count", latent=point, loss="poisson"), *splits_of(x.abs().round()), seed=0) is None
    )
    assert pca_error(make_model((12,), latent={"name": "topk", "dim": 8, "k": 2}), *splits_of(x), seed=0) is None
    missing = torch.ones(120, 12, dtype=torch.bool)
    missing[3, 4] = False
    assert pca_error(make_model((12,), latent=point), *splits_of(x, missing), seed=0) is None
    assert pca_error(make_model((12,), latent=point), *splits_of(x), seed=0) is not None


def test_reads_a_bounded_number_of_samples(make_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "_MAX_VALUES", 12 * 30)
    found = pca_error(make_model((12,), latent={"name": "point", "dim": 4}), *splits_of(correlated(12)), seed=0)
    assert (found.num_train, found.num_test) == (30, 30)


@pytest.mark.parametrize(
    ("metric", "values", "expected"),
    [
        (
            "r2",
            {"mse": 1.2, "mse_of_mean": 0.5},
            ["the mean training sample has a better mse, 0.5, than the model (1.2)"],
        ),
        ("r2", {"mse": 0.5, "mse_of_mean": 1.2}, []),
        ("r2", {"mse": float("nan"), "mse_of_mean": 1.2}, []),
        ("r2", {"mse": 0.5}, []),
        (
            "neighbour_ranking",
            {
                "anomaly_auroc": 0.7,
                "anomaly_auroc_of_neighbours": 0.8,
                "anomaly_ap": 0.3,
                "anomaly_ap_of_neighbours": 0.2,
            },
            ["the distance to training windows has a better anomaly_auroc, 0.8, than the model (0.7)"],
        ),
    ],
)
def test_a_better_baseline_is_named(metric: str, values: dict[str, float], expected: list[str]) -> None:
    assert better_baselines(values, {metric: {}, "mse": None}) == expected
