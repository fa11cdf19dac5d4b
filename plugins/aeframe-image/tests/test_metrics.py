"""PSNR, SSIM and bits per dimension, compared with torchmetrics and with the formulas of the papers."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.image import PeakSignalNoiseRatio, StructuralSimilarityIndexMeasure

from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.types import Batch, DataSpec, Domain
from aeframe_image.metrics import PSNR, SSIM, BitsPerDimension, psnr
from aeframe_image.similarity import ssim


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def model(shape: tuple[int, ...] = (1, 12, 13), domain: str = "unit") -> Autoencoder:
    config = {
        "encoder": {"name": "mlp", "hidden": (5,)},
        "latent": {"name": "point", "dim": 3},
        "loss": "mse",
        "objective": "deterministic",
    }
    return assemble(config, DataSpec(shape, Domain.parse(domain))).eval()


def test_psnr_by_hand() -> None:
    x = torch.zeros(3, 1, 2, 2)
    reconstruction = torch.tensor([0.1, 1.0, 0.0]).view(3, 1, 1, 1).expand_as(x)
    # -20 log10(error / range), capped at 100 dB.
    assert psnr(reconstruction, x, 1.0).tolist() == pytest.approx([20.0, 0.0, 100.0])
    assert psnr(reconstruction, x, 2.0)[0].item() == pytest.approx(26.0206, abs=1e-4)


def test_psnr_of_an_image_equals_that_of_torchmetrics() -> None:
    x, y = torch.rand(2, 4, 3, 9, 7)
    theirs = [PeakSignalNoiseRatio(data_range=1.0)(a[None], b[None]) for a, b in zip(x, y, strict=True)]
    torch.testing.assert_close(psnr(x, y, 1.0), torch.stack(theirs))


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 12, 20), (1, 11, 11)])
def test_ssim_equals_that_of_torchmetrics(shape: tuple[int, ...]) -> None:
    x = torch.rand(4, *shape)
    y = (x + 0.2 * torch.randn_like(x)).clamp(0, 1)
    theirs = StructuralSimilarityIndexMeasure(data_range=1.0)(y, x)
    torch.testing.assert_close(ssim(y, x, 1.0).mean(), theirs)


def window_ssim(x: Tensor, y: Tensor, size: int, sigma: float) -> Tensor:
    """Return the SSIM of grey images by the paper's formula, with a Gaussian window of `size` pixels."""
    offset = torch.arange(size) - size // 2
    line = torch.exp(-(offset**2) / (2 * sigma**2))
    window = (line[:, None] * line)[None, None] / line.sum() ** 2

    def mean(image: Tensor) -> Tensor:
        return F.conv2d(F.pad(image, (size // 2,) * 4, mode="reflect"), window)

    mx, my = mean(x), mean(y)
    vx, vy, cov = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    return (((2 * mx * my + c1) * (2 * cov + c2)) / ((mx**2 + my**2 + c1) * (vx + vy + c2))).flatten(1).mean(1)


@pytest.mark.parametrize(("side", "size"), [(8, 7), (5, 5), (4, 3), (3, 3)])
def test_the_window_shrinks_with_the_image(side: int, size: int) -> None:
    x = torch.rand(3, 1, side, side)
    y = (x + 0.2 * torch.randn_like(x)).clamp(0, 1)
    torch.testing.assert_close(ssim(y, x, 1.0), window_ssim(y, x, size, (size - 1) / 2 / 3.5), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("side", [3, 8, 32])
def test_ssim_of_an_image_with_itself_is_one(side: int) -> None:
    x = torch.rand(2, 3, side, side)
    assert ssim(x, x, 1.0).tolist() == pytest.approx([1.0, 1.0])
    assert (ssim(1 - x, x, 1.0) < 0.5).all()


@pytest.mark.parametrize(("kind", "single"), [(PSNR, psnr), (SSIM, ssim)])
@pytest.mark.parametrize(("domain", "span"), [("unit", 1.0), ("signed", 2.0), ("binary", 1.0)])
def test_metrics_are_means_over_images_whatever_the_batches(kind, single, domain: str, span: float) -> None:  # type: ignore[no-untyped-def]
    net = model(domain=domain)
    x = torch.rand(7, 1, 12, 13).round() if domain == "binary" else torch.rand(7, 1, 12, 13) * span - (span - 1)
    p = net(Batch(x))
    expected = single(net.loss.mean(p.output), x, span).mean()
    whole, parts = kind(), kind()
    whole.update(net, p)
    for rows in (slice(0, 3), slice(3, 4), slice(4, 7)):
        parts.update(net, net(Batch(x[rows])))
    torch.testing.assert_close(whole.compute().float(), expected)
    torch.testing.assert_close(parts.compute().float(), expected)
    whole.reset()
    whole.update(net, net(Batch(x[:1])))
    torch.testing.assert_close(whole.compute().float(), single(net.loss.mean(p.output)[:1], x[:1], span).mean())


def test_the_metrics_apply_to_bounded_images() -> None:
    assert PSNR.applies(model())
    assert SSIM.applies(model())
    assert not PSNR.applies(model(domain="real"))
    assert not SSIM.applies(model((5,)))
    assert PSNR.applies(model((1, 2, 5)))
    assert not SSIM.applies(model((1, 2, 5)))


def test_the_metrics_are_built_by_name() -> None:
    assert isinstance(build("metric", "psnr", model=model()), PSNR)
    assert isinstance(build("metric", "ssim", model=model()), SSIM)


def vae(loss: Any, domain: str) -> Autoencoder:
    config = {
        "encoder": {"name": "mlp", "hidden": (5,)},
        "latent": {"name": "gaussian", "dim": 3},
        "loss": loss,
        "objective": "elbo",
    }
    return assemble(config, DataSpec((1, 4, 4), Domain.parse(domain))).eval()


def test_bits_per_dimension_of_a_uniform_prediction() -> None:
    net = vae("bernoulli", "binary")
    for parameter in net.parameters():
        torch.nn.init.zeros_(parameter)
    # Each pixel is 1 with probability 1/2 and the posterior equals the prior: one bit per pixel.
    metric = BitsPerDimension()
    metric.update(net, net(Batch(torch.rand(6, 1, 4, 4).round()), sample=True))
    assert float(metric.compute()) == pytest.approx(1.0, abs=1e-6)


def test_bits_per_dimension_is_the_bound_in_bits() -> None:
    net = vae("discretised_logistic_mixture", "unit")
    p = net(Batch(torch.rand(6, 1, 4, 4)), sample=True)
    metric = BitsPerDimension()
    metric.update(net, p)
    bound = p.reconstruction + net.prior.kl(p.latent).flatten(1).sum(1)
    assert float(metric.compute()) == pytest.approx(float(bound.mean().detach()) / (16 * math.log(2)), rel=1e-5)
    assert metric.sampled


def test_bits_per_dimension_applies_to_discrete_data_only() -> None:
    assert BitsPerDimension.applies(vae("bernoulli", "binary"))
    assert not BitsPerDimension.applies(vae("bernoulli", "unit"))
    assert not BitsPerDimension.applies(vae("gaussian", "unit"))
    assert not BitsPerDimension.applies(model())


def test_visible_pixels_count_as_reconstructed() -> None:
    net = model((1, 12, 12))
    x = torch.rand(2, 1, 12, 12)
    p = net(Batch(x))
    hidden = torch.zeros(2, 1, 12, 12, dtype=torch.bool)
    p.encoder_input = replace(p.batch, extras={"hidden": hidden})
    metric = PSNR()
    metric.update(net, p)
    assert float(metric.compute()) == pytest.approx(100)
    hidden[..., :6] = True
    metric.reset()
    metric.update(net, p)
    error = (net.loss.mean(p.output) - x).square()[..., :6].flatten(1).sum(1) / 144
    assert float(metric.compute()) == pytest.approx(float((-10 * error.log10()).mean().detach()), rel=1e-5)
