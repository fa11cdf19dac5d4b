"""Discriminator networks and the encoders inside them: shapes, receptive fields of patches, stages."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.parts.activations import MakeActivation
from aeframe.parts.networks.discriminators import PatchDiscriminator, mean_over_patches
from aeframe.parts.networks.features import MakeEncoder, stages
from aeframe.types import Batch, DataSpec, Domain

RELU = MakeActivation.named("relu")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def real(*shape: int) -> DataSpec:
    return DataSpec(shape, Domain("real"))


def discriminator(spec: DataSpec, scales: int = 1, network: Any = None) -> PatchDiscriminator:
    make = MakeEncoder.usual(spec, build) if network is None else MakeEncoder.from_config(network, build)
    return PatchDiscriminator(spec, make, RELU, scales=scales)


@pytest.mark.parametrize(
    ("shape", "scales", "patches"),
    [
        ((6,), 1, [1]),
        ((2, 33), 1, [5]),
        ((1, 28, 28), 1, [16]),
        ((3, 17, 20), 2, [9, 4]),
        ((1, 9, 9, 9), 1, [8]),
        ((1, 16, 16, 16), 3, [8, 1, 1]),
    ],
)
def test_a_logit_for_each_patch_of_each_scale(shape: tuple[int, ...], scales: int, patches: list[int]) -> None:
    network = discriminator(real(*shape), scales)
    assert [tuple(logits.shape) for logits in network(Batch(torch.randn(3, *shape)))] == [(3, n) for n in patches]
    assert len(network.features(Batch(torch.randn(3, *shape)))) == (2 if len(shape) == 1 else 3 * scales)


def test_a_logit_depends_on_its_receptive_field_only() -> None:
    network = discriminator(real(1, 64), network={"name": "conv", "channels": (4, 4), "kernel": 3})
    x = torch.randn(1, 1, 64)
    other = x.clone()
    other[..., :20] += 1.0
    changed = (network(Batch(x))[0] != network(Batch(other))[0])[0]
    # In each stage position n depends on 2n - 1 to 2n + 1, so in two stages patch n depends on 4n - 3 to 4n + 3.
    assert changed.nonzero().flatten().tolist() == [n for n in range(16) if 4 * n - 3 < 20]


def test_each_scale_receives_averaged_values() -> None:
    network = discriminator(real(1, 8, 8), 2, network={"name": "conv", "channels": (4,)})
    x = torch.randn(2, 1, 8, 8)
    body, head = network.bodies[1], network.heads[1]
    expected = head(body(Batch(nn.functional.avg_pool2d(x, 2)))).flatten(1)
    torch.testing.assert_close(network(Batch(x))[1], expected)


def test_means_are_over_patches_and_then_over_scales() -> None:
    logits = [torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[4.0], [1.0]])]
    assert mean_over_patches(torch.square, logits).tolist() == [(2.5 + 16) / 2, 0.5]


@pytest.mark.parametrize(("shape", "scales"), [((6,), 2), ((1, 8, 8), 0)])
def test_impossible_scales_are_refused(shape: tuple[int, ...], scales: int) -> None:
    with pytest.raises(AeframeError) as error:
        discriminator(real(*shape), scales)
    assert str(error.value) == (
        f"a discriminator needs scales of at least 1, and exactly 1 for flat data, found {scales} for shape {shape}"
    )


@pytest.mark.parametrize(
    ("config", "shapes"),
    [
        ({"name": "mlp", "hidden": (5, 4)}, [(2, 5), (2, 4)]),
        # Layers of one shape are one stage.
        ({"name": "mlp", "hidden": (5, 5, 4)}, [(2, 5), (2, 4)]),
        ({"name": "conv", "channels": (3, 4), "norm": "group"}, [(2, 3, 4, 4), (2, 4, 2, 2)]),
        ({"name": "conv", "channels": (3,), "dense": 7}, [(2, 3, 4, 4), (2, 7)]),
        ({"name": "resnet", "channels": (3, 4)}, [(2, 3, 4, 4), (2, 4, 2, 2)]),
    ],
)
def test_stages_end_where_the_shape_changes(config: dict[str, Any], shapes: list[tuple[int, ...]]) -> None:
    network = MakeEncoder.from_config(config, build)(real(1, 8, 8), RELU)
    batch = Batch(torch.randn(2, 1, 8, 8))
    features = stages(network, batch)
    assert [tuple(of_stage.shape) for of_stage in features] == shapes
    assert torch.equal(features[-1], network(batch))
    # No hook is left on the network.
    assert not any(module._forward_hooks for module in network.modules())


def test_features_of_a_stage_are_taken_after_its_activation() -> None:
    network = MakeEncoder.from_config({"name": "conv", "channels": (3, 4)}, build)(real(1, 8, 8), RELU)
    assert all((features >= 0).all() for features in stages(network, Batch(torch.randn(2, 1, 8, 8))))


@pytest.mark.parametrize("value", [{"channels": (3,)}, 3, ["conv"]])
def test_a_value_that_is_not_an_encoder_is_refused(value: Any) -> None:
    with pytest.raises(AeframeError) as error:
        MakeEncoder.from_config(value, build)
    assert str(error.value) == f"expected an encoder's name or {{name: ..., options}}, found {value!r}"


def test_a_misspelt_encoder_is_named_with_its_part() -> None:
    with pytest.raises(AeframeError) as error:
        build("critic", {"name": "discriminator_x", "network": "convv"}, spec=real(1, 8, 8), activation=RELU)
    assert str(error.value).startswith(
        "critic 'discriminator_x', option 'network': unknown encoder 'convv', did you mean 'conv'?; known are conv, "
    )


def test_a_name_alone_is_an_encoder_with_its_defaults() -> None:
    network = MakeEncoder.from_config("conv", build)(real(1, 8, 8), MakeActivation.named("tanh"))
    assert any(isinstance(module, nn.Tanh) for module in network.modules())
