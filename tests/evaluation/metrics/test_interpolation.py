"""The metric ``interpolation``: decoded midpoints beside reconstructions and means."""

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
    """A model of five numbers whose code is the first two, and which reconstructs these."""
    made = make_model((5,), encoder={"name": "mlp", "hidden": []}, latent={"name": "point", "dim": 2}, loss="mse")
    (encoder,) = [layer for layer in made.latent.modules() if isinstance(layer, torch.nn.Linear)]
    with torch.no_grad():
        encoder.weight.copy_(torch.eye(2, 5))
        made.decoder.last.weight.copy_(torch.eye(5, 2))
        encoder.bias.zero_()
        made.decoder.last.bias.zero_()
    return made


def circle(num: int = 60) -> Batch:
    """Points on a circle in the first two numbers."""
    angle = torch.arange(num) * 2 * torch.pi / num
    x = torch.cat([angle.cos().unsqueeze(1), angle.sin().unsqueeze(1), torch.zeros(num, 3)], 1)
    return Batch(x, index=torch.arange(num))


def measured(model: Any, *batches: Batch, **options: Any) -> dict[str, float]:
    values = measure(Evaluator(model, {"interpolation": options}), batches, TrainingProgress(batch=1, planned=1), CPU)
    return {name: value for name, value in values.items() if name.startswith("interpolation")}


def test_midpoints_of_a_linear_model_are_means(model: Any) -> None:
    values = measured(model, circle())
    assert values["interpolation"] == pytest.approx(values["interpolation_mean"], rel=1e-5)
    # Inside of the circle, several neighbours away from it.
    assert values["interpolation"] > 3
    # Perfect reconstructions are as far from other samples as the samples are.
    assert values["interpolation_ends"] == pytest.approx(1, rel=1e-5)


def test_midpoints_on_the_data_are_at_the_floor(model: Any) -> None:
    def generate(z: torch.Tensor, **_: Any) -> torch.Tensor:
        unit = z / z.norm(dim=1, keepdim=True).clamp_min(1e-6)
        return torch.cat([unit, torch.zeros(len(z), 3)], 1)

    model.generate = generate
    values = measured(model, circle(61))
    assert values["interpolation"] <= 1
    assert values["interpolation_ends"] == pytest.approx(1, rel=1e-3)
    assert values["interpolation_mean"] > 3


def test_the_distances_by_loops(model: Any) -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 5)
    values = measured(model, Batch(x, index=torch.arange(4)))
    means = []
    # Every way to form two pairs; the metric has one of them.
    for partner in (1, 2, 3):
        a, b = [0, partner], [row for row in (1, 2, 3) if row != partner]

        def distance(p: torch.Tensor, rows: list[int]) -> float:
            return min(float((p - x[row]).norm()) for row in rows)

        unit = sum(distance(x[row], b if row in a else a) for row in range(4)) / 4
        means.append((distance(x[a].mean(0), b) + distance(x[b].mean(0), a)) / 2 / unit)
    assert min(abs(values["interpolation_mean"] - each) for each in means) < 1e-5


def test_equal_for_any_batches(model: Any) -> None:
    batch = circle()
    parts = [batch.rows(torch.arange(60)[start::3]) for start in (2, 0, 1)]
    for options in ({}, {"samples": 20}):
        assert measured(model, *parts, **options) == pytest.approx(measured(model, batch, **options), rel=1e-6)


def test_samples_with_missing_elements_are_left_out(model: Any) -> None:
    batch = circle()
    mask = torch.ones(60, 5, dtype=torch.bool)
    mask[::3, 1] = False
    x = batch.x.masked_fill(~mask, torch.nan)
    kept = batch.rows(torch.arange(60)[mask.all(1)])
    assert measured(model, Batch(x, mask=mask, index=batch.index)) == pytest.approx(measured(model, kept), rel=1e-6)
    assert measured(model, circle(3)) == {}
    with pytest.raises(AeframeError) as caught:
        measured(model, Batch(x, mask=mask & False, index=batch.index))
    assert str(caught.value) == (
        "metric interpolation is for complete samples, and all samples of the split have missing elements or padding; "
        "leave it out with metrics.interpolation=null"
    )


def test_it_is_left_out_where_it_is_not_defined(make_model: Any, model: Any) -> None:
    assert measured(make_model((4,), domain="category(3)", loss="categorical"), Batch(torch.zeros(2, 4))) == {}
    with pytest.raises(AeframeError) as caught:
        measured(model, circle(), samples=3)
    assert str(caught.value) == "metric interpolation takes samples of at least 4, found 3"
