"""The discretised logistic mixture: normalisation, bins by hand, means, samples and colours."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from scipy import special
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.parts.losses.base import Loss
from aeframe.types import Batch, Domain


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def make(domain: str = "unit", shape: tuple[int, ...] = (4,), **options: Any) -> Loss:
    config = {"name": "discretised_logistic_mixture", **options}
    loss: Loss = build("loss", config, shape=shape, domain=Domain.parse(domain))
    return loss


def parameters(shape: tuple[int, ...], components: int, *, mean: float, log_scale: float, heads: int = 3) -> Tensor:
    """Return random parameters near a mean and a log-scale."""
    output = torch.randn(heads, components, *shape)
    output[1] = mean + 0.3 * output[1]
    output[2] = log_scale + 0.3 * output[2]
    return output.flatten(0, 1).unsqueeze(0)


def greys(levels: int, domain: str) -> Tensor:
    low = Domain.parse(domain).bounds[0]
    return torch.linspace(low, 1, levels)


@pytest.mark.parametrize("domain", ["unit", "signed"])
@pytest.mark.parametrize("mean", [-40.0, -1.0, 0.1, 0.99, 40.0])
@pytest.mark.parametrize("log_scale", [-50.0, -7.0, -4.0, 0.0, 3.0, 50.0])
def test_the_probabilities_of_256_values_sum_to_one(domain: str, mean: float, log_scale: float) -> None:
    loss = make(domain, components=3)
    output = parameters((4,), 3, mean=mean, log_scale=log_scale)
    x = greys(256, domain).unsqueeze(1).expand(-1, 4)
    log_p = -loss.elements(output.expand(256, -1, -1), x)
    torch.testing.assert_close(log_p.double().exp().sum(0), torch.ones(4).double(), rtol=2e-5, atol=0)
    assert log_p.isfinite().all()


@pytest.mark.parametrize("levels", [2, 3, 256])
def test_a_value_has_the_mass_within_half_a_step(levels: int) -> None:
    output = parameters((4,), 3, mean=0.1, log_scale=-1.5)
    weights, means, log_scales = output[0].double().unflatten(0, (3, 3)).numpy()
    weights, scales = special.softmax(weights, axis=0), np.exp(log_scales)
    edges = np.linspace(-1, 1, 2 * levels - 1)[1::2]
    cdf = np.stack([(weights * special.expit((edge - means) / scales)).sum(0) for edge in edges])
    expected = np.diff(cdf, axis=0, prepend=0, append=1)
    x = greys(levels, "unit").unsqueeze(1).expand(-1, 4)
    found = -make(components=3, levels=levels).elements(output.expand(levels, -1, -1), x)
    np.testing.assert_allclose(found.exp(), expected, rtol=1e-4, atol=1e-9)


def test_unit_and_signed_data_have_the_same_loss() -> None:
    output, x = parameters((4,), 5, mean=0.0, log_scale=-2.0), torch.randint(256, (1, 4)) / 255
    torch.testing.assert_close(
        make("unit")(output, Batch(x)), make("signed")(output, Batch(2 * x - 1)), rtol=1e-5, atol=1e-5
    )
    # Values are rounded to the nearest step.
    torch.testing.assert_close(make()(output, Batch((x + 0.4 / 255).clamp(max=1))), make()(output, Batch(x)))


@pytest.mark.parametrize("log_scale", [-6.0, -3.0, 0.0, 2.0])
@pytest.mark.parametrize("mean", [-3.0, 0.2, 0.9])
def test_the_reconstruction_is_the_mean_of_the_grey_values_to_half_a_step(mean: float, log_scale: float) -> None:
    loss, output = make(components=3), parameters((4,), 3, mean=mean, log_scale=log_scale)
    x = greys(256, "unit").unsqueeze(1).expand(-1, 4)
    p = (-loss.elements(output.expand(256, -1, -1), x)).exp()
    torch.testing.assert_close(loss.mean(output)[0], (p * x).sum(0), rtol=0, atol=0.5 / 255)


def test_samples_have_the_stated_probabilities() -> None:
    loss = make("signed", components=2, levels=5)
    output = parameters((4,), 2, mean=0.2, log_scale=-1.0)
    drawn = loss.sample(output.expand(20000, -1, -1))
    x = greys(5, "signed")
    p = (-loss.elements(output.expand(5, -1, -1), x.unsqueeze(1).expand(-1, 4))).exp()
    for level, share in zip(x, p, strict=True):
        torch.testing.assert_close(drawn.isclose(level).float().mean(0), share, rtol=0, atol=0.012)


# -- colours -----------------------------------------------------------------------------------------------------


def colours() -> tuple[Loss, Tensor, Tensor]:
    """Return a loss with five levels, all 125 colours of three channels, and parameters for them."""
    loss = make("signed", (3, 1), components=2, levels=5, linear_colours=True)
    output = parameters((3, 1), 2, mean=0.1, log_scale=-1.0, heads=4)
    every = torch.tensor(list(itertools.product(greys(5, "signed").tolist(), repeat=3))).unsqueeze(-1)
    return loss, output, every


def test_joint_and_conditional_probabilities_of_colours_sum_to_one() -> None:
    loss, output, every = colours()
    shares = -loss.elements(output.expand(125, -1, -1, -1), every)[..., 0]
    assert shares.sum(1).exp().sum().item() == pytest.approx(1.0, rel=1e-5)
    blue = shares[:, 2].exp().unflatten(0, (25, 5)).sum(1)
    torch.testing.assert_close(blue, torch.ones(25), rtol=1e-5, atol=0)


def test_a_colour_equals_the_formula_of_the_paper() -> None:
    loss, output, _ = colours()
    weights, means, log_scales, slopes = output[0, :, :, 0].double().unflatten(0, (4, 2)).numpy()
    x = np.array([0.5, -1.0, 1.0])
    total = 0.0
    for k in range(2):
        a, b, c = np.tanh(slopes[k])
        moved = means[k] + np.array([0.0, a * x[0], b * x[0] + c * x[1]])
        above = special.expit((x + 0.25 - moved) / np.exp(log_scales[k]))
        below = special.expit((x - 0.25 - moved) / np.exp(log_scales[k]))
        above[2], below[1] = 1.0, 0.0
        total += special.softmax(weights.sum(1))[k] * np.prod(above - below)
    found = loss(output, Batch(torch.tensor(x).float().reshape(1, 3, 1)))
    assert found.item() == pytest.approx(-np.log(total), rel=1e-4)


def test_sampled_colours_have_the_stated_probabilities() -> None:
    loss, output, every = colours()
    p = (-loss(output.expand(125, -1, -1, -1), Batch(every))).exp()
    drawn = loss.sample(output.expand(20000, -1, -1, -1))
    level = ((drawn[..., 0] + 1) * 2).round().long()
    found = torch.bincount(level @ torch.tensor([25, 5, 1]), minlength=125) / 20000
    torch.testing.assert_close(found, p, rtol=0, atol=0.012)
    torch.testing.assert_close(loss.mean(output)[0, 0], (p * every[:, 0, 0]).sum().reshape(1), rtol=0, atol=0.25)


def test_error_messages_of_wrong_options() -> None:
    who = "loss discretised_logistic_mixture"
    for options, sentence in (
        ({"components": 1}, f"{who} needs components and levels of at least 2, found 1 and 256"),
        (
            {"linear_colours": True},
            f"{who} needs three channels for linear_colours, found the shape (4,); set linear_colours=false",
        ),
    ):
        with pytest.raises(AeframeError) as error:
            make(**options)
        assert str(error.value) == sentence
