from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from aeframe.evaluation.metrics.latent_usage import ActiveUnits, CodebookUse
from aeframe.types import Batch, ForwardOutput, Latent


def forward_output(mean: Tensor, codes: Tensor | None = None) -> ForwardOutput:
    batch = Batch(torch.zeros(len(mean), 6))
    return ForwardOutput(
        batch, batch, Latent(mean, mean, codes=codes), torch.zeros(len(mean), 1, 6), torch.zeros(len(mean))
    )


def test_active_units_are_those_with_a_varying_mean(make_model: Any) -> None:
    model = make_model(latent={"name": "gaussian", "dim": 4})
    # Variances 1, 0.04, 0.0025 and 0, with different means.
    deviation = torch.tensor([1.0, 0.2, 0.05, 0.0])
    mean = torch.stack([deviation, -deviation] * 10) + torch.tensor([0.0, 100.0, -3.0, 5.0])
    metric = ActiveUnits(model)
    for part in mean.split([3, 17]):
        metric.update(model, forward_output(part))
    assert metric.compute()["active_units"].item() == 2
    assert metric.protocol() == "posterior means of 20 samples"
    for threshold, expected in ((0.001, 3), (0.5, 1)):
        metric = ActiveUnits(model, threshold=threshold)
        metric.update(model, forward_output(mean))
        assert metric.compute()["active_units"].item() == expected


def test_units_are_counted_over_training_samples_if_there_are_any(make_model: Any) -> None:
    model = make_model(latent={"name": "gaussian", "dim": 2})
    metric = ActiveUnits(model)
    # Two held-out samples that are alike are too few to count units.
    metric.update(model, forward_output(torch.zeros(2, 2)))
    assert metric.compute() == {}
    assert metric.protocol() == "not measured: a variance over 2 samples is too uncertain"
    mean = torch.tensor([[1.0, 0.0], [-1.0, 0.0]]).repeat(15, 1)
    metric.update_training(model, Batch(torch.zeros(30, 6)), Latent(mean, mean))
    metric.reset()
    metric.update(model, forward_output(torch.zeros(2, 2)))
    assert metric.compute()["active_units"].item() == 1
    assert metric.protocol() == "posterior means of 30 training samples"


def test_every_position_of_a_spatial_code_is_a_unit(make_model: Any) -> None:
    latent = {"name": "gaussian", "dim": 2, "spatial": True}
    model = make_model((1, 8, 8), encoder={"name": "conv", "channels": [4]}, latent=latent)
    mean = torch.zeros(20, *model.latent.shape)
    mean[::2, 0, 1, 1] = 1.0
    mean[::2, 1, 0, 3] = 1.0
    metric = ActiveUnits(model)
    metric.update(model, forward_output(mean))
    assert metric.compute()["active_units"].item() == 2


def test_codebook_use_by_hand(make_model: Any) -> None:
    model = make_model(latent={"name": "vq", "codebook_size": 8, "dim": 2, "tokens": 2})
    metric = CodebookUse(model)
    metric.update(model, forward_output(torch.zeros(2, 2, 2), torch.tensor([[[0], [0]], [[1], [3]]])))
    values = {name: value.item() for name, value in metric.compute().items()}
    entropy = -(0.5 * math.log(0.5) + 2 * 0.25 * math.log(0.25))
    assert values == {"codebook_used": 3 / 8, "codebook_perplexity": pytest.approx(math.exp(entropy))}


def test_usage_of_each_level_by_hand(make_model: Any) -> None:
    latent = {"name": "rvq", "codebook_size": 4, "dim": 2, "tokens": 2, "num_quantizers": 3}
    model = make_model(latent=latent)
    metric = CodebookUse(model)
    # Two samples at two positions; the second level is left out of one of them, the third of both.
    codes = torch.tensor([[[0, 3, -1], [1, 3, -1]], [[2, -1, -1], [0, -1, -1]]])
    for part in codes.split(1):
        metric.update(model, forward_output(torch.zeros(1, 2, 2), part))
    values = {name: value.item() for name, value in metric.compute().items()}
    # First level: codes with frequencies 2, 1 and 1; second: one code, twice; third: none.
    first = math.exp(-(0.5 * math.log(0.5) + 2 * 0.25 * math.log(0.25)))
    assert values == {
        "codebook_used": pytest.approx((3 / 4 + 1 / 4 + 0) / 3),
        "codebook_perplexity": pytest.approx((first + 1 + 1) / 3),
        "codebook_used/1": 3 / 4,
        "codebook_perplexity/1": pytest.approx(first),
        "codebook_used/2": 1 / 4,
        "codebook_perplexity/2": pytest.approx(1),
        "codebook_used/3": 0,
        "codebook_perplexity/3": pytest.approx(1),
    }


def test_usage_of_each_level_of_a_quantiser(make_model: Any) -> None:
    model = make_model(latent={"name": "rvq", "codebook_size": 8, "num_quantizers": 2, "groups": 2}).eval()
    metric = CodebookUse(model)
    with torch.no_grad():
        out = model(Batch(torch.randn(32, 6)))
    metric.update(model, out)
    values = metric.compute()
    assert out.latent.codes is not None
    for level in range(4):
        used = len(out.latent.codes[..., level].unique()) / 8
        assert values[f"codebook_used/{level + 1}"].item() == pytest.approx(used)


@pytest.mark.parametrize(("latent", "num"), [({"name": "vq", "codebook_size": 8}, 8), ({"name": "fsq"}, 1000)])
def test_codebook_use_of_quantisers(make_model: Any, latent: dict[str, Any], num: int) -> None:
    model = make_model(latent=latent).eval()
    metric = CodebookUse(model)
    with torch.no_grad():
        out = model(Batch(torch.randn(32, 6)))
    metric.update(model, out)
    values = metric.compute()
    assert out.latent.codes is not None
    assert values["codebook_used"].item() == pytest.approx(len(out.latent.codes.unique()) / num)
    assert 1 <= values["codebook_perplexity"].item() <= num


def test_latents_that_each_metric_applies_to(make_model: Any) -> None:
    gaussian, point, vq = (make_model(latent=name) for name in ("gaussian", "point", "vq"))
    assert [ActiveUnits.applies(model) for model in (gaussian, point, vq)] == [True, False, False]
    assert [CodebookUse.applies(model) for model in (gaussian, point, vq)] == [False, False, True]
