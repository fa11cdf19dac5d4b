"""The encoder and the decoder `video_conv`: shapes, causality and errors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from aeframe import AeframeError
from aeframe.factory import build
from aeframe.parts.networks.base import Decoder
from aeframe.types import Batch, Domain
from aeframe_video.networks import VideoConvEncoder

UNIT = Domain.parse("unit")


def pair(shape: tuple[int, ...], dim: int = 2, **options: Any) -> tuple[VideoConvEncoder, Decoder]:
    """Return an encoder and its matching decoder for a z of `dim` channels."""
    encoder = VideoConvEncoder(shape, UNIT, **options)
    config = encoder.mirrored_decoder_config()
    z_shape = (dim, *encoder.out_shape[1:]) if len(encoder.out_shape) > 1 else (dim,)
    decoder = build("decoder", config, z_shape=z_shape, out_shape=(1, *shape), encoder=encoder, build=build)
    return encoder, decoder


def encode_decode(encoder: VideoConvEncoder, decoder: Decoder, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return features, and the output of the decoder for their first two channels."""
    features = encoder(Batch(x))
    return features, decoder(features[:, :2])[:, 0]


@pytest.mark.parametrize("form", ["3d", "2+1d"])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    ("time_strides", "smallest"), [(None, (3, 3, 4)), ((1, 2), (5, 3, 4)), ((2, 1), (5, 3, 4)), ((1, 1), (9, 3, 4))]
)
def test_output_has_the_size_of_the_input(
    form: str, causal: bool, time_strides: Any, smallest: tuple[int, ...]
) -> None:
    encoder, decoder = pair(
        (3, 9, 11, 13), channels=(4, 6), form=form, causal=causal, time_strides=time_strides, blocks=1
    )
    assert encoder.out_shape == (6, *smallest)
    features, output = encode_decode(encoder, decoder, torch.rand(2, 3, 9, 11, 13))
    assert features.shape == (2, *encoder.out_shape)
    assert output.shape == (2, 3, 9, 11, 13)
    assert sum(parameter.numel() for parameter in decoder.parameters()) > 0


def test_dense_features_are_flat() -> None:
    encoder, decoder = pair((1, 8, 8, 8), dim=3, channels=(4, 6), dense=5)
    assert encoder(Batch(torch.rand(2, 1, 8, 8, 8))).shape == (2, 5)
    assert decoder(torch.randn(2, 3)).shape == (2, 1, 1, 8, 8, 8)


@pytest.mark.parametrize("form", ["3d", "2+1d"])
@pytest.mark.parametrize("norm", ["none", "group"])
@pytest.mark.parametrize("time_strides", [None, (1, 2)])
def test_causal_codes_and_frames_do_not_depend_on_later_frames(form: str, norm: str, time_strides: Any) -> None:
    options = {"channels": (8, 8), "form": form, "norm": norm, "time_strides": time_strides, "causal": True}
    encoder, decoder = pair((1, 16, 8, 8), blocks=1, activation=None, **options)
    chunk = 16 // encoder.out_shape[1]
    x = torch.rand(1, 1, 16, 8, 8)
    codes, output = encode_decode(encoder, decoder, x)
    for frames in (chunk, 16 - chunk):
        changed = x.clone()
        changed[:, :, frames:] = torch.rand(1, 1, 16 - frames, 8, 8)
        changed_codes, changed_output = encode_decode(encoder, decoder, changed)
        num_codes = frames // chunk
        assert torch.allclose(changed_codes[:, :, :num_codes], codes[:, :, :num_codes], atol=1e-6)
        assert torch.allclose(changed_output[:, :, :frames], output[:, :, :frames], atol=1e-6)
        # A shorter clip has the same codes and frames.
        short_encoder, short_decoder = pair((1, frames, 8, 8), blocks=1, activation=None, **options)
        short_encoder.load_state_dict(encoder.state_dict())
        short_decoder.load_state_dict(decoder.state_dict())
        short_codes, short_output = encode_decode(short_encoder, short_decoder, x[:, :, :frames])
        assert torch.allclose(short_codes, codes[:, :, :num_codes], atol=1e-6)
        assert torch.allclose(short_output, output[:, :, :frames], atol=1e-6)
    assert not torch.allclose(changed_codes, codes)


def test_causal_codes_depend_on_all_of_their_own_frames() -> None:
    encoder, decoder = pair((1, 8, 8, 8), channels=(8, 8), causal=True)
    x = torch.rand(1, 1, 8, 8, 8, requires_grad=True)
    features, output = encode_decode(encoder, decoder, x)
    for code in range(2):
        (gradient,) = torch.autograd.grad(features[:, :, code].sum(), x, retain_graph=True)
        depends = gradient.abs().sum((0, 1, 3, 4)) > 0
        assert depends[4 * code : 4 * (code + 1)].all()
        assert not depends[4 * (code + 1) :].any()
    # A frame depends on the code of its own group.
    for frame in range(8):
        (gradient,) = torch.autograd.grad(output[:, :, frame].sum(), features, retain_graph=True)
        assert float(gradient[:, :, frame // 4].abs().sum()) > 0


@pytest.mark.parametrize("causal", [False, True])
def test_only_networks_that_are_not_causal_depend_on_later_frames(causal: bool) -> None:
    encoder, decoder = pair((1, 8, 8, 8), channels=(8, 8), time_kernel=5, causal=causal)
    x = torch.rand(1, 1, 8, 8, 8, requires_grad=True)
    features, output = encode_decode(encoder, decoder, x)
    for early, (inputs, later) in ((features[:, :, 0], (x, 4)), (output[:, :, 3], (features, 1))):
        (gradient,) = torch.autograd.grad(early.sum(), inputs, retain_graph=True)
        assert bool(gradient[:, :, later:].any()) != causal


@pytest.mark.parametrize("form", ["3d", "2+1d"])
def test_time_kernel_of_one_processes_frames_separately(form: str) -> None:
    encoder, decoder = pair((1, 5, 8, 8), channels=(4, 6), time_kernel=1, form=form, blocks=1)
    assert encoder.out_shape == (6, 5, 2, 2)
    x = torch.rand(2, 1, 5, 8, 8)
    order = torch.tensor([3, 0, 4, 1, 2])
    permuted = encode_decode(encoder, decoder, x[:, :, order])
    for expected, result in zip(encode_decode(encoder, decoder, x), permuted, strict=True):
        assert torch.allclose(expected[:, :, order], result, atol=1e-6)


def test_kernel_sizes_of_both_forms() -> None:
    def kernels(form: str) -> set[tuple[int, ...]]:
        encoder, decoder = pair((1, 8, 8, 8), channels=(4, 6), form=form, kernel=5)
        layers = [*encoder.layers.modules(), *decoder.modules()]
        convolutions = [layer for layer in layers if isinstance(layer, (nn.Conv3d, nn.ConvTranspose3d))]
        return {tuple(layer.kernel_size) for layer in convolutions} - {(1, 1, 1)}

    assert kernels("2+1d") == {(1, 5, 5), (3, 1, 1), (4, 1, 1), (1, 6, 6)}
    assert kernels("3d") == {(3, 5, 5), (4, 6, 6)}


def test_masked_values_have_no_effect() -> None:
    encoder, _ = pair((1, 8, 8, 8))
    x, mask = torch.rand(2, 1, 8, 8, 8), torch.rand(2, 1, 8, 8, 8) > 0.5
    assert torch.equal(encoder(Batch(x, mask)), encoder(Batch(x.masked_fill(~mask, torch.nan), mask)))


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        (
            (1, 8, 8),
            {},
            "encoder video_conv requires clips (C, T, H, W), found the shape (1, 8, 8); choose encoder=conv or mlp",
        ),
        ((1, 4, 8, 8), {"time_kernel": 2}, "encoder video_conv requires an odd time_kernel such as 1 or 3, found 2"),
        ((1, 4, 8, 8), {"kernel": 2}, "encoder video_conv needs an odd kernel such as 3 or 5, found 2"),
        ((1, 4, 8, 8), {"blocks": -1}, "encoder video_conv requires blocks of at least 0, found -1"),
        (
            (1, 4, 8, 8),
            {"time_strides": (2,)},
            "encoder video_conv requires time_strides of 1 or 2, one for each of its 2 stages, found [2]",
        ),
        (
            (1, 4, 8, 8),
            {"time_strides": (4, 1)},
            "encoder video_conv requires time_strides of 1 or 2, one for each of its 2 stages, found [4, 1]",
        ),
        (
            (1, 4, 8, 8),
            {"time_strides": (2, 1), "time_kernel": 1},
            "encoder video_conv with time_kernel=1 requires time_strides of 1, since others would drop frames, found "
            "[2, 1]; set time_kernel=3, or time_strides=null",
        ),
    ],
)
def test_invalid_options(shape: Any, options: Any, message: str) -> None:
    with pytest.raises(AeframeError) as raised:
        VideoConvEncoder(shape, UNIT, **options)
    assert str(raised.value) == message


def test_decoder_of_other_data() -> None:
    with pytest.raises(AeframeError) as raised:
        build("decoder", "video_conv", z_shape=(3,), out_shape=(1, 1, 8, 8), encoder=None, build=build)
    assert str(raised.value) == (
        "decoder video_conv requires clips (C, T, H, W), found the shape (1, 1, 8, 8); choose decoder=conv or mlp"
    )
