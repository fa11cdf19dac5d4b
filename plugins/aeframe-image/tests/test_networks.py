"""The network of VQGAN and latent diffusion: shapes, sizes, attention, and what a position sees."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from aeframe import AeframeError
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.parts.networks.features import stages
from aeframe.types import Batch, DataSpec, Domain
from aeframe_image.networks import StagesDecoder, StagesEncoder
from aeframe_image.stages import Attention, Enlarge, PositionNorm

SMALL = {"name": "vqgan", "channels": [6, 8, 10], "blocks": 1}


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def model(shape: tuple[int, ...], domain: str = "unit", **encoder: Any) -> Autoencoder:
    latent = {"name": "gaussian", "dim": 4, "spatial": True}
    loss = "categorical" if domain.startswith("category") else "mse"
    config = {"encoder": {**SMALL, **encoder}, "latent": latent, "loss": loss, "objective": "elbo"}
    return assemble(config, DataSpec(shape, Domain.parse(domain)))


@pytest.mark.parametrize(
    ("shape", "z"),
    [
        ((3, 32, 32), (4, 8, 8)),
        ((1, 28, 21), (4, 7, 6)),
        ((1, 5, 3), (4, 2, 1)),
        ((2, 9), (4, 3)),
        ((1, 6, 5, 4), (4, 2, 2, 1)),
    ],
)
def test_any_size_comes_back(shape: tuple[int, ...], z: tuple[int, ...]) -> None:
    net = model(shape)
    p = net(Batch(torch.rand(2, *shape)))
    assert tuple(p.latent.z.shape[1:]) == z
    assert tuple(p.output.shape) == (2, 1, *shape)
    p.reconstruction.sum().backward()
    assert all(each.grad is not None and each.grad.isfinite().all() for each in net.parameters())


def test_the_network_of_f8_has_its_stages() -> None:
    # Shapes alone: nothing is computed on the meta device.
    with torch.device("meta"):
        encoder = StagesEncoder((3, 256, 256), Domain("signed"), channels=(128, 256, 512, 512))
        decoder = StagesDecoder((4, 32, 32), (1, 3, 256, 256), channels=(512, 512, 256, 128))
    assert encoder.out_shape == (512, 32, 32)
    assert encoder.mirrored_decoder_config()["blocks"] == 3
    # Two blocks and a halving in each stage, three in the decoder, attention at the bottom only.
    assert sum(isinstance(each, Attention) for each in encoder.modules()) == 1
    assert sum(isinstance(each, Enlarge) for each in decoder.modules()) == 3
    num = sum(each.numel() for net in (encoder, decoder) for each in net.parameters())
    # Latent diffusion's own has 83.65 million; its 3 x 3 convolutions to and from the code are the code's own here.
    assert math.isclose(num, 83.6e6, rel_tol=0.01)


@pytest.mark.parametrize(("attention", "num"), [(None, 0), (0, 1), (1, 2), (3, 4)])
def test_attention_stands_where_it_is_asked_for(attention: int | None, num: int) -> None:
    encoder = StagesEncoder((1, 16, 16), Domain("unit"), channels=(8, 8, 8), blocks=1, attention=attention)
    assert sum(isinstance(each, Attention) for each in encoder.modules()) == num


def test_attention_by_hand() -> None:
    attention = Attention(1, 2, "position").double()
    x = torch.randn(1, 2, 3, dtype=torch.double)
    seen = attention.norm(x)[0].T
    weights = attention.ask.weight[:, :, 0]  # type: ignore[union-attr,index]
    query, key, value = (seen @ weights.T + attention.ask.bias).chunk(3, dim=1)  # type: ignore[union-attr,operator]
    heard = (query @ key.T / math.sqrt(2)).softmax(1) @ value
    expected = x[0].T + heard @ attention.answer.weight[:, :, 0].T + attention.answer.bias  # type: ignore[union-attr,index,operator]
    torch.testing.assert_close(attention(x)[0].T, expected)


def test_the_norm_of_a_position_is_its_own() -> None:
    norm = PositionNorm(2, 8)
    x = 5 * torch.randn(2, 8, 4, 4)
    torch.testing.assert_close(norm(x).square().mean(1), torch.ones(2, 4, 4))
    other = x.clone()
    other[:, :, 0, 0] = 7
    torch.testing.assert_close(norm(other)[:, :, 1:], norm(x)[:, :, 1:])


def test_enlarging_repeats_and_crops() -> None:
    enlarge = Enlarge(1, (3, 5))
    nn.init.dirac_(enlarge.conv.weight)  # type: ignore[arg-type]
    nn.init.zeros_(enlarge.conv.bias)  # type: ignore[arg-type]
    x = torch.tensor([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]])
    assert enlarge(x)[0, 0].tolist() == [[1, 1, 2, 2, 3], [1, 1, 2, 2, 3], [4, 4, 5, 5, 6]]


def test_classes_become_channels() -> None:
    net = model((7,), "category(5)")
    assert net(Batch(torch.randint(5, (2, 7)))).output.shape == (2, 5, 7)


def test_a_perceptual_distance_finds_its_stages() -> None:
    encoder = StagesEncoder((1, 16, 16), Domain("unit"), channels=(4, 8), blocks=1)
    assert [tuple(each.shape[1:]) for each in stages(encoder, Batch(torch.rand(2, 1, 16, 16)))] == [
        (4, 16, 16), (4, 8, 8), (8, 8, 8),
    ]  # fmt: skip


def test_what_is_refused() -> None:
    with pytest.raises(AeframeError) as caught:
        StagesEncoder((1, 8, 8), Domain("unit"), channels=(4, 8), attention=3)
    assert str(caught.value) == (
        "encoder vqgan has 2 stages, of which attention=3 cannot listen; set it from 0 to 2, or to null"
    )
