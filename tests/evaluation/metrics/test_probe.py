"""The metric ``probe``: labels from codes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from aeframe.errors import AeframeError
from aeframe.evaluation.evaluator import Evaluator, measure
from aeframe.types import Batch, TrainingProgress

CPU = torch.device("cpu")


@pytest.fixture
def model(make_model: Any) -> Any:
    """A model of ten numbers whose code is the first two."""
    made = make_model((10,), encoder={"name": "mlp", "hidden": []}, latent={"name": "point", "dim": 2})
    (layer,) = [layer for layer in made.latent.modules() if isinstance(layer, torch.nn.Linear)]
    with torch.no_grad():
        layer.weight.copy_(torch.eye(2, 10))
        layer.bias.zero_()
    return made


def samples(num: int = 300) -> Batch:
    """Three classes that differ in the first two numbers; the others have a larger variance and say nothing."""
    torch.manual_seed(0)
    label = torch.arange(num) % 3
    x = torch.cat([torch.eye(3)[label][:, :2] * 4 + 0.3 * torch.randn(num, 2), 10 * torch.randn(num, 8)], 1)
    return Batch(x, index=torch.arange(num), extras={"label": label})


def measured(model: Any, *batches: Batch, **options: Any) -> dict[str, float]:
    evaluator = Evaluator(model, {"probe": options})
    return measure(evaluator, batches, TrainingProgress(batch=1, planned=1), CPU)


def test_codes_that_hold_the_label_are_better_than_components(model: Any) -> None:
    values = measured(model, samples())
    for name in ("probe_accuracy", "knn_accuracy", "kmeans_ari", "kmeans_nmi"):
        assert values[name] > 0.99
        assert values[f"pca_{name}"] < 0.7
    # A linear map of all numbers finds the first two; distances of all do not.
    assert values["raw_probe_accuracy"] > 0.99
    assert values["raw_knn_accuracy"] < 0.7
    assert values["random_knn_accuracy"] < 0.7


def test_equal_for_any_batches(model: Any) -> None:
    batch = samples()
    parts = [batch.rows(torch.arange(300)[start::3]) for start in (2, 0, 1)]
    assert measured(model, *parts) == measured(model, batch)
    few = measured(model, *parts, samples=60)
    assert few == measured(model, batch, samples=60)


def test_missing_and_rare_labels_are_left_out(model: Any) -> None:
    batch = samples()
    batch.extras["label"][5:25] = -1
    batch.extras["label"][25:28] = 7
    assert measured(model, batch)["knn_accuracy"] > 0.99
    batch.extras["label"][:] = 1
    assert "knn_accuracy" not in measured(model, batch)
    assert "knn_accuracy" not in measured(model, Batch(batch.x))


def test_options_are_checked(model: Any) -> None:
    with pytest.raises(AeframeError, match="takes samples of at least 10 and neighbours of at least 1, found 5 and 5"):
        Evaluator(model, {"probe": {"samples": 5}})
