"""Transposed convolutions draw no lattice on flat areas before training."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from aeframe.factory import build
from aeframe.parts.networks.phases import equalise_phases


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def lattice_share(image: Tensor) -> float:
    """Return the share of the power of ``(..., 8 n, 8 n)`` that has period 2 or 4, beside that of the mean."""
    power = torch.fft.fft2(image.double()).abs().square().flatten(0, -3).sum(0)
    step = len(power) // 4
    lattice = power[::step, ::step].sum() - power[0, 0]
    return float(lattice / (power.sum() - power[0, 0]))


@pytest.mark.parametrize(
    "layer",
    [
        nn.ConvTranspose1d(3, 2, 8, stride=4),
        nn.ConvTranspose2d(3, 2, 4, stride=2, padding=1),
        nn.ConvTranspose2d(3, 2, (6, 3), stride=(3, 1), padding=(1, 1)),
        nn.ConvTranspose3d(3, 2, (3, 4, 4), stride=(1, 2, 2), padding=(1, 1, 1)),
    ],
    ids=str,
)
def test_a_constant_input_has_a_constant_output(layer: Any) -> None:
    x = torch.randn(1, 3, *[1] * len(layer.stride)).expand(1, 3, *[10] * len(layer.stride))

    def inner() -> Tensor:
        with torch.no_grad():
            return layer(x)[(..., *[slice(8, 16) if s > 1 else slice(3, 7) for s in layer.stride])].flatten(2)

    assert bool((inner().std(-1) > 1e-3).all())
    assert equalise_phases(layer) is layer
    assert bool((inner().std(-1) < 1e-6).all())


def test_weights_and_their_sums_keep_their_variances() -> None:
    layer = nn.ConvTranspose2d(64, 64, 4, stride=2)
    weight = layer.weight.detach()

    def variances() -> list[float]:
        phase = weight[:, :, ::2, ::2]
        return [float(weight.var()), float(phase.sum((2, 3)).var())]

    before = variances()
    equalise_phases(layer)
    assert variances() == pytest.approx(before, rel=0.05)


@pytest.mark.parametrize("name", ["conv", "resnet"])
def test_features_without_detail_are_decoded_without_a_lattice(name: str) -> None:
    decoder = build("decoder", {"name": name, "channels": [32, 16]}, z_shape=(4, 16, 16), out_shape=(1, 3, 64, 64))
    # Smooth features: of half a period over the picture.
    ramp = torch.linspace(0, torch.pi, 16).cos()
    z = torch.randn(8, 4, 1, 1) * ramp[:, None] + torch.randn(8, 4, 1, 1) * ramp
    with torch.no_grad():
        inner = decoder(z)[:, 0, :, 16:48, 16:48]
    # With independent weights the share is 0.5 to 0.8, now below 0.1.
    assert lattice_share(inner) < 0.2
