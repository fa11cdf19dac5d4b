"""Networks: shapes of any size, masks, classes and gradients."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.parts.activations import MakeActivation
from aeframe.parts.corruptions import NoCorruption
from aeframe.parts.networks.base import Encoder
from aeframe.parts.networks.blocks import Upsample, halved_sizes, norm_layers
from aeframe.types import Batch, Domain, Shape

CONVOLUTIONAL = ["conv", "resnet"]
SIZES: list[Shape] = [(1, 28, 28), (1, 7, 7), (3, 33, 20), (2, 1, 5), (4, 19), (1, 1), (2, 5, 8, 3)]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def make_encoder(name: str, shape: Shape, domain: str = "real", **options: Any) -> Any:
    return build(
        "encoder", {"name": name, **options}, shape=shape, domain=Domain.parse(domain), corruption=NoCorruption()
    )


def make_decoder(config: dict[str, Any], z_shape: Shape, out_shape: Shape, encoder: Encoder | None = None) -> Any:
    return build("decoder", config, z_shape=z_shape, out_shape=out_shape, encoder=encoder, build=build)


def mirrored(encoder: Encoder, z_shape: Shape, out_shape: Shape) -> Any:
    return make_decoder({"name": "mirror"}, z_shape, out_shape, encoder)


def weights_of(network: nn.Module, kinds: tuple[type[nn.Module], ...]) -> list[tuple[int, ...]]:
    return [tuple(m.get_parameter("weight").shape) for m in network.modules() if isinstance(m, kinds)]


# -- shapes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dense", [None, 6])
@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_every_size_is_encoded_and_decoded(name: str, shape: Shape, dense: int | None) -> None:
    encoder = make_encoder(name, shape, channels=[8, 5], dense=dense)
    features = encoder(Batch(torch.randn(2, *shape)))
    smallest = tuple(math.ceil(n / 4) for n in shape[1:])
    assert encoder.out_shape == ((dense,) if dense else (5, *smallest))
    assert features.shape == (2, *encoder.out_shape)
    flat = mirrored(encoder, (3,), (2, *shape))
    assert flat(torch.randn(2, 3)).shape == (2, 2, *shape)
    spatial = mirrored(encoder, (3, *smallest), (2, *shape))
    assert spatial(torch.randn(2, 3, *smallest)).shape == (2, 2, *shape)


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(CONVOLUTIONAL),
    positions=st.lists(st.integers(1, 11), min_size=1, max_size=3),
    channels=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    kernel=st.sampled_from([1, 3, 5]),
    norm=st.sampled_from(["none", "layer"]),
    outputs=st.integers(1, 3),
)
def test_shapes_hold_for_any_option(
    name: str, positions: list[int], channels: list[int], kernel: int, norm: str, outputs: int
) -> None:
    shape = (2, *positions)
    encoder = make_encoder(name, shape, channels=channels, kernel=kernel, norm=norm)
    features = encoder(Batch(torch.randn(2, *shape)))
    assert features.shape == (2, *encoder.out_shape)
    decoder = mirrored(encoder, encoder.out_shape, (outputs, *shape))
    assert decoder(features).shape == (2, outputs, *shape)


def test_halved_sizes_are_those_of_the_encoder_stages() -> None:
    assert halved_sizes((28, 33), 3) == [(28, 33), (14, 17), (7, 9), (4, 5)]
    assert halved_sizes((1,), 2) == [(1,), (1,), (1,)]


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_every_network_runs_on_the_meta_device(name: str) -> None:
    with torch.device("meta"):
        encoder = make_encoder(name, (3, 9, 8))
        decoder = mirrored(encoder, encoder.out_shape, (1, 3, 9, 8))
        assert decoder(encoder(Batch(torch.randn(2, 3, 9, 8)))).shape == (2, 1, 3, 9, 8)
        tokens = make_encoder(name, (9,), "category(5)")
        assert tokens(Batch(torch.zeros(2, 9, dtype=torch.long))).is_meta


# -- symmetry ----------------------------------------------------------------------------------------------------


def test_the_mirrored_decoder_of_conv_has_reverse_sizes() -> None:
    encoder = make_encoder("conv", (1, 28, 28), dense=256)
    decoder = mirrored(encoder, (16,), (1, 1, 28, 28))
    assert weights_of(encoder, (nn.Conv2d, nn.Linear)) == [(32, 1, 3, 3), (64, 32, 3, 3), (256, 64 * 49)]
    # The weight of a transposed convolution is (in, out, *kernel).
    up = [(64, 32, 4, 4), (32, 1, 4, 4)]
    assert weights_of(decoder, (nn.ConvTranspose2d, nn.Linear)) == [(256, 16), (64 * 49, 256), *up]


def test_the_mirrored_decoder_of_resnet_has_equally_many_blocks() -> None:
    encoder = make_encoder("resnet", (1, 8, 8), channels=[8, 16], blocks=1)
    decoder = mirrored(encoder, (4, 2, 2), (1, 1, 8, 8))
    down = [(8, 1, 3, 3), (8, 8, 3, 3), (8, 8, 3, 3), (16, 8, 3, 3), (16, 16, 3, 3), (16, 16, 3, 3)]
    assert weights_of(encoder, (nn.Conv2d,)) == down
    assert weights_of(decoder, (nn.Conv2d,)) == [(16, 4, 1, 1), *[(16, 16, 3, 3)] * 2, *[(8, 8, 3, 3)] * 2]
    assert weights_of(decoder, (nn.ConvTranspose2d,)) == [(16, 8, 4, 4), (8, 1, 4, 4)]


@pytest.mark.parametrize("name", ["mlp", *CONVOLUTIONAL])
def test_a_mirrored_decoder_keeps_the_activation(name: str) -> None:
    encoder = make_encoder(name, (1, 8, 8), activation="silu")
    kinds = {type(m) for m in mirrored(encoder, (4,), (1, 1, 8, 8)).modules()}
    assert nn.SiLU in kinds
    assert nn.ReLU not in kinds


def test_the_default_activation_is_that_of_the_model() -> None:
    given_parts = {"shape": (1, 8, 8), "domain": Domain("real"), "activation": MakeActivation.named("tanh")}
    kinds = {type(m) for m in build("encoder", "conv", **given_parts).modules()}
    assert nn.Tanh in kinds
    assert nn.ReLU not in kinds


def test_an_encoder_without_a_mirrored_decoder_is_an_error() -> None:
    class Alone(Encoder):
        out_shape = (3,)

    with pytest.raises(AeframeError) as error:
        mirrored(Alone(), (3,), (1, 4))
    assert str(error.value) == (
        "decoder 'mirror': encoder Alone has no mirrored decoder; choose a decoder by name, decoder=..., or "
        "pass a module"
    )


# -- values ------------------------------------------------------------------------------------------------------


def test_upsampling_has_no_checkerboard_artefacts() -> None:
    up = Upsample(1, 1, (6, 5), kernel=3)
    nn.init.ones_(up.get_parameter("conv.weight"))
    nn.init.zeros_(up.get_parameter("conv.bias"))
    inner = up(torch.ones(1, 1, 3, 3))[0, 0, 1:-1, 1:-1]
    # Every value away from the border is the sum of equally many terms.
    assert torch.equal(inner, torch.full_like(inner, 4.0))


def test_a_residual_block_adds_its_input() -> None:
    encoder = make_encoder("resnet", (1, 8), channels=[2], blocks=1, norm="none", activation="identity")
    block = encoder.layers[1]
    x = torch.randn(3, 2, 4)
    assert torch.equal(block(x), x + block.branch(x))
    nn.init.zeros_(block.branch[-1].weight)
    nn.init.zeros_(block.branch[-1].bias)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize(("channels", "groups"), [(32, 2), (48, 3), (24, 3), (8, 1), (7, 1), (1, 1)])
def test_groups_have_more_than_one_channel(channels: int, groups: int) -> None:
    (norm,) = norm_layers("group", channels)
    assert norm.num_groups == groups
    assert norm_layers("layer", channels)[0].num_groups == 1
    assert norm_layers("none", channels) == []


@pytest.mark.parametrize("norm", ["none", "group", "layer"])
@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_features_do_not_depend_on_other_samples(name: str, norm: str) -> None:
    encoder = make_encoder(name, (1, 9, 9), channels=[8], norm=norm)
    x = torch.randn(4, 1, 9, 9)
    torch.testing.assert_close(encoder(Batch(x))[:1], encoder(Batch(x[:1])))


@pytest.mark.parametrize("name", CONVOLUTIONAL)
@pytest.mark.parametrize("activation", ["relu", "prelu", "selu"])
def test_every_parameter_has_a_gradient(name: str, activation: str) -> None:
    encoder = make_encoder(name, (2, 9, 6), channels=[8, 16], norm="group", dense=5, activation=activation)
    decoder = mirrored(encoder, (5,), (1, 2, 9, 6))
    output: Tensor = decoder(encoder(Batch(torch.randn(8, 2, 9, 6))))
    (output * torch.randn_like(output)).sum().backward()
    for network in (encoder, decoder):
        for parameter_name, parameter in network.named_parameters():
            assert parameter.grad is not None, parameter_name
            assert parameter.grad.abs().sum() > 0, parameter_name


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_bfloat16_autocast_and_double_run(name: str) -> None:
    encoder = make_encoder(name, (1, 8, 8), channels=[8])
    decoder = mirrored(encoder, encoder.out_shape, (1, 1, 8, 8))
    x = torch.randn(2, 1, 8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert decoder(encoder(Batch(x))).isfinite().all()
    assert decoder.double()(encoder.double()(Batch(x))).dtype == torch.float64


# -- classes and masks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_classes_become_one_hot_channels(name: str) -> None:
    encoder = make_encoder(name, (7,), "category(5)", channels=[4])
    x = torch.tensor([[0, 1, 2, 3, 4, 0, 1]])
    seen = encoder.channels(Batch(x))
    assert seen.shape == (1, 5, 7)
    assert torch.equal(seen.argmax(1), x)
    assert torch.equal(seen.sum(1), torch.ones(1, 7))
    assert encoder(Batch(x)).shape == (1, 4, 4)
    assert mirrored(encoder, (3,), (5, 7))(torch.randn(2, 3)).shape == (2, 5, 7)


def test_classes_of_several_channels_are_separate() -> None:
    encoder = make_encoder("conv", (2, 3, 4), "category(5)")
    x = torch.randint(0, 5, (6, 2, 3, 4))
    seen = encoder.channels(Batch(x))
    assert seen.shape == (6, 10, 3, 4)
    assert torch.equal(seen[:, :5].argmax(1), x[:, 0])
    assert torch.equal(seen[:, 5:].argmax(1), x[:, 1])


@pytest.mark.parametrize("name", CONVOLUTIONAL)
@pytest.mark.parametrize("leading", [1, 3])
def test_masked_positions_have_no_influence(name: str, leading: int) -> None:
    encoder = make_encoder(name, (2, 6, 5), channels=[8])
    mask = torch.rand(3, *(2, 6, 5)[:leading]) > 0.5
    x = torch.randn(3, 2, 6, 5)
    other = torch.where(mask.reshape(*mask.shape, *[1] * (4 - mask.ndim)), x, torch.nan)
    assert torch.equal(encoder(Batch(x, mask)), encoder(Batch(other, mask)))
    assert not torch.equal(encoder(Batch(x, mask)), encoder(Batch(x)))


def test_masked_classes_may_be_any_number() -> None:
    encoder = make_encoder("conv", (4,), "category(3)")
    mask = torch.tensor([[True, True, False, False]])
    padded = Batch(torch.tensor([[2, 0, -1, 9]]), mask)
    assert torch.equal(encoder.channels(padded)[0, :, 2:], torch.zeros(3, 2))
    assert torch.equal(encoder(padded), encoder(Batch(torch.tensor([[2, 0, 1, 1]]), mask)))


# -- mlp ---------------------------------------------------------------------------------------------------------


def test_mlp_equals_matrix_products() -> None:
    encoder = make_encoder("mlp", (2, 3), hidden=[4, 2])
    x = torch.randn(5, 2, 3)
    first, second = encoder.layers[0], encoder.layers[2]
    by_hand = torch.relu(torch.relu(x.flatten(1) @ first.weight.T + first.bias) @ second.weight.T + second.bias)
    torch.testing.assert_close(encoder(Batch(x)), by_hand)
    assert encoder.out_shape == (2,)


@settings(max_examples=25, deadline=None)
@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    hidden=st.lists(st.integers(1, 6), max_size=3),
    norm=st.booleans(),
    outputs=st.integers(1, 3),
)
def test_mlp_shapes(shape: list[int], hidden: list[int], norm: bool, outputs: int) -> None:
    encoder = make_encoder("mlp", tuple(shape), hidden=hidden, norm=norm)
    features = encoder(Batch(torch.randn(2, *shape)))
    assert encoder.out_shape == ((hidden or [math.prod(shape)])[-1],)
    assert features.shape == (2, *encoder.out_shape)
    decoder = mirrored(encoder, (3,), (outputs, *shape))
    assert decoder(torch.randn(2, 3)).shape == (2, outputs, *shape)
    assert [m.out_features for m in decoder.layers if isinstance(m, nn.Linear)] == hidden[::-1]


def test_mlp_classes_become_one_hot() -> None:
    encoder = make_encoder("mlp", (2,), "category(3)", hidden=[])
    out = encoder(Batch(torch.tensor([[2, 0]])))
    assert torch.equal(out, torch.tensor([[0.0, 0, 1, 1, 0, 0]]))


def test_mlp_dropout_is_off_in_evaluation() -> None:
    encoder = make_encoder("mlp", (6,), hidden=[32], dropout=0.5)
    x = Batch(torch.randn(3, 6))
    assert not torch.equal(encoder(x), encoder(x))
    encoder.eval()
    assert torch.equal(encoder(x), encoder(x))


# -- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape", "options", "message"),
    [
        (
            "conv",
            (30,),
            {},
            "encoder conv needs channels at positions, (C, T), (C, H, W) or (C, D, H, W), found the flat shape (30,); "
            "choose encoder=mlp",
        ),
        (
            "resnet",
            (1, 2, 3, 4, 5),
            {},
            "encoder resnet needs one to three dimensions of positions, found 4 in (2, 3, 4, 5); choose encoder=mlp",
        ),
        (
            "conv",
            (1, 8, 8),
            {"channels": []},
            "encoder conv needs channels of at least 1, one for each stage, found []",
        ),
        ("conv", (1, 8, 8), {"kernel": 4}, "encoder conv needs an odd kernel such as 3 or 5, found 4"),
        (
            "conv",
            (1, 8, 8),
            {"dense": 0},
            "encoder conv needs dense of at least 1, found 0; null leaves the dense layer out",
        ),
        (
            "resnet",
            (1, 8, 8),
            {"blocks": 0},
            "encoder resnet needs blocks of at least 1, found 0; encoder=conv has none",
        ),
        (
            "conv",
            (1, 8, 8),
            {"activation": "glu"},
            "encoder conv needs an activation that keeps its input's shape, 'glu' does not",
        ),
        ("mlp", (4,), {"hidden": [3, 0]}, "encoder mlp needs hidden sizes of at least 1, found [3, 0]"),
    ],
)
def test_error_messages_of_wrong_options(name: str, shape: Shape, options: dict[str, Any], message: str) -> None:
    with pytest.raises(AeframeError) as error:
        make_encoder(name, shape, **options)
    assert str(error.value) == message


def test_a_z_at_other_positions_is_an_error() -> None:
    with pytest.raises(AeframeError) as error:
        make_decoder({"name": "conv"}, (64, 8), (1, 1, 28, 28))
    assert str(error.value) == (
        "decoder conv needs a flat z or one at positions (7, 7), found z of shape (64, 8); "
        "set decoder.dense=256, or as many channels as the encoder has stages"
    )
    with_dense = make_decoder({"name": "conv", "dense": 16}, (64, 8), (1, 1, 28, 28))
    assert with_dense(torch.randn(2, 64, 8)).shape == (2, 1, 1, 28, 28)


def test_a_decoder_of_four_dimensions_is_an_error() -> None:
    with pytest.raises(AeframeError) as error:
        make_decoder({"name": "resnet"}, (4,), (1, 1, 2, 2, 2, 2))
    assert str(error.value) == (
        "decoder resnet needs one to three dimensions of positions, found 4 in (2, 2, 2, 2); choose decoder=mlp"
    )
