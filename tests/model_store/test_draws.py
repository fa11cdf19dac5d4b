"""Samples are drawn from the likelihood, or an error states that the loss has none."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from aeframe.data import TensorSource
from aeframe.errors import AeframeError
from aeframe.model_store.inputs import check_draw
from aeframe.parts.losses.base import Loss
from aeframe.parts.losses.distances import AbsoluteError, SquaredError
from aeframe.parts.losses.likelihoods import Bernoulli, Gaussian
from aeframe.types import DataSpec, Domain

REAL = Domain("real")


@pytest.mark.parametrize(
    ("loss", "can_draw"),
    [
        (SquaredError((3,), REAL), False),
        (AbsoluteError((3,), REAL), False),
        (Gaussian((3,), REAL), True),
        (Gaussian((3,), REAL, variance="shared"), True),
        (Gaussian((3,), REAL, variance="optimal"), False),
        (Bernoulli((3,)), True),
    ],
)
def test_a_loss_that_can_draw_has_noise(loss: Loss, can_draw: bool) -> None:
    output = torch.full((50, 1, 3), 0.3)
    assert loss.can_draw is can_draw
    assert torch.equal(loss.sample(output), loss.mean(output)) is not can_draw


def test_a_draw_from_a_loss_without_noise_is_refused() -> None:
    spec = DataSpec((3,), Domain("real"))
    check_draw("model 'ae'", SquaredError((3,), REAL), spec, draw=False)
    with pytest.raises(AeframeError) as error:
        check_draw("model 'ae'", SquaredError((3,), REAL), spec, draw=True)
    assert str(error.value) == (
        "model 'ae' draws samples from a likelihood with noise, found the loss SquaredError, which has none for new "
        "samples; leave out draw to take the mean, or train with loss=gaussian loss.variance=shared"
    )


def test_the_methods_of_a_model_draw_or_refuse(save: Any) -> None:
    saved, _ = save(loss="mse")
    x = torch.randn(5, 30)
    for call in (
        lambda: saved.sample(2, draw=True),
        lambda: saved.decode(saved.encode(x), draw=True),
        lambda: saved.reconstruct(x, draw=True),
    ):
        with pytest.raises(AeframeError, match="train with loss=gaussian"):
            call()
    drawing, _ = save(loss={"name": "gaussian", "variance": "shared"})
    drawn = drawing.reconstruct(x, draw=True)
    assert (drawn - drawing.reconstruct(x)).std() > 0.5
    # A draw is a function of the sample and the seed.
    assert torch.allclose(drawing.reconstruct(x[2:], draw=True, batch_size=2), drawn[2:], atol=1e-6)
    assert not torch.equal(drawing.reconstruct(x, draw=True, seed=9), drawn)


def test_a_score_per_element_divides_by_the_observed_ones(save: Any) -> None:
    saved, _ = save()
    x, mask = torch.randn(3, 30), torch.ones(3, 30, dtype=torch.bool)
    mask[1, 10:] = False
    mask[2] = False
    total = saved.score(x, mask=mask, draws=2)
    per = saved.score(x, mask=mask, draws=2, per="element")
    assert torch.allclose(per[:2], total[:2] / torch.tensor([30.0, 10.0]))
    assert per[2].isnan()
    assert torch.allclose(saved.score(x, per="element"), saved.score(x) / 30)
    with pytest.raises(AeframeError) as error:
        saved.score(x, per="elements")
    assert str(error.value) == (
        "model 'vae' scores per sample or element, found 'elements', did you mean 'element'?; choose one"
    )


def test_anomaly_scores_have_the_options_of_their_scale(save: Any) -> None:
    saved, _ = save()
    x = torch.randn(40, 30)
    source = TensorSource(x)
    scaled = saved.with_scale("bound", source, source, per="element", draws=3)
    found = scaled.anomalies(x, by="bound", locate=False)
    assert torch.allclose(found.score, saved.score(x, per="element", draws=3), rtol=1e-4)
    total = saved.with_scale("reconstruction", source, source, per="sample").anomalies(x).score
    assert torch.allclose(total, 30 * saved.with_scale("reconstruction", source, source).anomalies(x).score)
    for by, options, message in (
        (
            "reconstruction",
            {"draws": 2},
            "draws z for the scores bound and likelihood, found draws 2 by reconstruction",
        ),
        ("mahalanobis", {"per": "element"}, "scores whole samples by mahalanobis, found per element"),
        ("bound", {"per": "token"}, "scores per sample or element, found 'token'"),
        ("bound", {"draws": 0}, "takes draws of at least 1, found 0"),
    ):
        with pytest.raises(AeframeError, match=message):
            saved.with_scale(by, source, source, **options)
