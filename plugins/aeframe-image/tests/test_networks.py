"""The VQGAN networks: shapes, stages, attention, norms and upsampling."""

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
from aeframe_image.vqgan import VQGANDecoder, VQGANEncoder
from aeframe_image.vqgan_blocks import NearestUpsample, PositionNorm, SelfAttention

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
def test_images_of_any_size_are_reconstructed(shape: tuple[int, ...], z: tuple[int, ...]) -> None:
    net = model(shape)
    p = net(Batch(torch.rand(2, *shape)))
    assert tuple(p.latent.z.shape[1:]) == z
    assert tuple(p.output.shape) == (2, 1, *shape)
    p.reconstruction.sum().backward()
    assert all(each.grad is not None and each.grad.isfinite().all() for each in net.parameters())


def test_the_f8_network_has_the_size_of_latent_diffusions() -> None:
    # Nothing is computed on the meta device.
    with torch.device("meta"):
        encoder = VQGANEncoder((3, 256, 256), Domain("signed"), channels=(128, 256, 512, 512))
        decoder = VQGANDecoder((4, 32, 32), (1, 3, 256, 256), channels=(512, 512, 256, 128))
    assert encoder.out_shape == (512, 32, 32)
    assert encoder.mirrored_decoder_config()["blocks"] == 3
    # Self-attention at the lowest resolution only.
    assert sum(isinstance(module, SelfAttention) for module in encoder.modules()) == 1
    assert sum(isinstance(module, NearestUpsample) for module in decoder.modules()) == 3
    num = sum(parameter.numel() for net in (encoder, decoder) for parameter in net.parameters())
    # Latent diffusion's network has 83.65 million parameters, including convolutions to and from the code, which are
    # part of the latent here.
    assert math.isclose(num, 83.6e6, rel_tol=0.01)


@pytest.mark.parametrize(("attention", "num"), [(None, 0), (0, 1), (1, 2), (3, 4)])
def test_attention_selects_the_stages_with_self_attention(attention: int | None, num: int) -> None:
    encoder = VQGANEncoder((1, 16, 16), Domain("unit"), channels=(8, 8, 8), blocks=1, attention=attention)
    assert sum(isinstance(module, SelfAttention) for module in encoder.modules()) == num


def test_attention_by_hand() -> None:
    attention = SelfAttention(1, 2, "position").double()
    x = torch.randn(1, 2, 3, dtype=torch.double)
    normalised = attention.norm(x)[0].T
    qkv, output = attention.query_key_value, attention.output_projection
    query, key, value = (normalised @ qkv.weight[:, :, 0].T + qkv.bias).chunk(3, dim=1)  # type: ignore[union-attr,index,operator]
    attended = (query @ key.T / math.sqrt(2)).softmax(1) @ value
    expected = x[0].T + attended @ output.weight[:, :, 0].T + output.bias  # type: ignore[union-attr,index,operator]
    torch.testing.assert_close(attention(x)[0].T, expected)


def test_position_norm_normalises_each_position_separately() -> None:
    norm = PositionNorm(2, 8)
    x = 5 * torch.randn(2, 8, 4, 4)
    torch.testing.assert_close(norm(x).square().mean(1), torch.ones(2, 4, 4))
    other = x.clone()
    other[:, :, 0, 0] = 7
    torch.testing.assert_close(norm(other)[:, :, 1:], norm(x)[:, :, 1:])


def test_upsampling_repeats_and_crops() -> None:
    upsample = NearestUpsample(1, (3, 5))
    nn.init.dirac_(upsample.conv.weight)  # type: ignore[arg-type]
    nn.init.zeros_(upsample.conv.bias)  # type: ignore[arg-type]
    x = torch.tensor([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]])
    assert upsample(x)[0, 0].tolist() == [[1, 1, 2, 2, 3], [1, 1, 2, 2, 3], [4, 4, 5, 5, 6]]


def test_classes_become_channels() -> None:
    net = model((7,), "category(5)")
    assert net(Batch(torch.randint(5, (2, 7)))).output.shape == (2, 5, 7)


def test_features_of_the_stages_for_a_perceptual_distance() -> None:
    encoder = VQGANEncoder((1, 16, 16), Domain("unit"), channels=(4, 8), blocks=1)
    assert [tuple(each.shape[1:]) for each in stages(encoder, Batch(torch.rand(2, 1, 16, 16)))] == [
        (4, 16, 16), (4, 8, 8), (8, 8, 8),
    ]  # fmt: skip


def test_more_attention_than_stages_is_refused() -> None:
    with pytest.raises(AeframeError) as caught:
        VQGANEncoder((1, 8, 8), Domain("unit"), channels=(4, 8), attention=3)
    assert str(caught.value) == ("encoder vqgan has 2 stages, found attention=3; set it from 0 to 2, or to null")
