"""The metric ``mcc``: recovery of the features that generated simulated data."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import aeframe
from aeframe.data.sparse_features import SparseFeatures
from aeframe.data.vector import Vector
from aeframe.errors import AeframeError
from aeframe.evaluation.evaluator import Evaluator, measure
from aeframe.evaluation.metrics.recovery import MeanCorrelationCoefficient
from aeframe.types import TRUE_CODE, Batch, ForwardOutput, Latent, TrainingProgress


def recovered(z: Tensor, true: Tensor | None, *parts: Tensor, **options: Any) -> tuple[float | None, str]:
    """Return the metric of codes z, or None, and its protocol."""
    metric = MeanCorrelationCoefficient(**options)
    for rows in parts or (torch.arange(len(z)),):
        batch = Batch(z[rows], index=rows, extras={} if true is None else {TRUE_CODE: true[rows]})
        metric.update(None, ForwardOutput(batch, batch, Latent(z[rows], z[rows]), z[rows], rows))  # type: ignore[arg-type]
    value = metric.compute().get("mcc")
    return None if value is None else float(value), metric.protocol()


def normal(num: int, dim: int, seed: int = 0) -> Tensor:
    return torch.randn(num, dim, generator=torch.Generator().manual_seed(seed))


def test_true_features_in_any_order_scale_and_sign() -> None:
    true = normal(200, 4)
    z = torch.cat([(true * torch.tensor([3.0, -1.0, 0.1, -20.0]) + 7)[:, [2, 0, 3, 1]], normal(200, 2, 1)], 1)
    assert recovered(z, true) == (pytest.approx(1), "200 samples, 4 true features, seed 0")


def test_each_dimension_is_matched_once() -> None:
    true = normal(200, 4)
    # Copies of one feature are no more than that feature, and a code of two dimensions recovers at most half of four.
    assert recovered(true[:, :2], true)[0] == pytest.approx(0.5)
    assert recovered(true[:, [0, 0, 0, 0]], true)[0] == pytest.approx(0.25, abs=0.15)
    # The best sum of both: 1 to 2 and 2 to 1, although 1 is correlated most with 1.
    a, b = normal(20_000, 2).T
    z = torch.stack([a + 0.5 * b, a], 1)
    by_hand = (1 + 0.5 / math.hypot(1, 0.5)) / 2
    assert recovered(z, torch.stack([a, b], 1))[0] == pytest.approx(by_hand, abs=0.01)


def test_random_codes_and_constant_features() -> None:
    true = normal(4000, 4)
    assert recovered(normal(4000, 4, 1), true)[0] == pytest.approx(0.02, abs=0.02)
    assert recovered(torch.ones(4000, 4), true)[0] == 0
    with_constant = torch.cat([true, torch.full((4000, 1), 0.1)], 1)
    assert recovered(true, with_constant) == (pytest.approx(1), "4000 samples, 4 true features, seed 0")


def test_equal_for_any_batches() -> None:
    true, order = normal(200, 4), torch.randperm(200, generator=torch.Generator().manual_seed(0))
    z = true + normal(200, 4, 1)
    for options in ({}, {"samples": 50}):
        assert recovered(z, true, *order.split([7, 150, 43]), **options) == recovered(z, true, **options)


def test_without_a_true_code_there_is_no_value() -> None:
    sentence = "not measured: the samples have no true code that varies"
    assert recovered(normal(20, 2), None) == recovered(normal(20, 2), torch.ones(20, 2)) == (None, sentence)
    with pytest.raises(AeframeError, match="metric mcc takes samples of at least 2, found 1"):
        MeanCorrelationCoefficient(samples=1)


def test_the_true_dictionary_recovers_all_features(make_model: Any) -> None:
    dataset = SparseFeatures(samples=2000, features=8, dim=16, active=2, noise=0)
    test = Vector(scale="none").prepare(dataset).test.batch(torch.arange(200))
    model = make_model((16,), encoder={"name": "mlp", "hidden": []}, latent={"name": "point", "dim": 8})
    (layer,) = [layer for layer in model.latent.modules() if isinstance(layer, torch.nn.Linear)]
    options: dict[str, dict[str, Any]] = {"mcc": {}}

    def value() -> float:
        evaluator = Evaluator(model, options)
        return measure(evaluator, [test], TrainingProgress(batch=1, planned=1), torch.device("cpu"))["mcc"]

    assert value() < 0.8
    with torch.no_grad():
        layer.weight.copy_(torch.linalg.pinv(torch.from_numpy(dataset.dictionary()).float()).T)
    assert value() == pytest.approx(1, abs=1e-5)


def test_training_recovers_features(tmp_path: Any) -> None:
    data = {"name": "sparse_features", "samples": 3000, "features": 16, "dim": 16, "active": 1.5}
    options: dict[str, Any] = {
        "model": "topk_sae",
        "data": data,
        "latent": {"dim": 32, "k": 2},
        "metrics": {"mcc": {}},
        "optimizer": {"lr": 0.01},
        "batch_size": 64,
        "pictures": False,
        "verbose": False,
        "trainer": {"threads": 1},
    }
    begun, trained = (
        aeframe.fit(**options, max_epochs=epochs, max_batches=batches, folder=tmp_path / str(epochs)).metrics
        for epochs, batches in ((1, 1), (5, None))
    )
    assert 0.4 < begun["mcc"] < 0.65
    assert trained["mcc"] > begun["mcc"] + 0.25
    assert trained["fve"] > 0.8
    assert trained["l0"] <= 2
