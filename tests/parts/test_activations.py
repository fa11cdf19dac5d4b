"""The traits of each registered activation, compared with measured values."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.parts.activations import ActivationTraits, MakeActivation, SteepSigmoid, traits
from aeframe.parts.networks.mlp import dense_layers
from aeframe.registry import registry

NAMES = [entry.name for entry in registry().entries("activation") if entry.plugin == "core"]
# Inputs where 1 - tanh(7) = 1.7e-6 is not rounded to 0, on a grid that is fine enough for minima.
NEAR = torch.linspace(-7, 7, 140_001, dtype=torch.float64)
FAR = torch.tensor([-1e4, 1e4], dtype=torch.float64)


@pytest.fixture(params=NAMES)
def activation(request: pytest.FixtureRequest) -> nn.Module:
    module: nn.Module = build("activation", request.param)
    # In training rrelu draws its slope at random.
    return module.double().eval()


def outputs_of(module: nn.Module, t: Tensor) -> Tensor:
    """Return the outputs of t ``(N,)``; of rows (t, 0) for a module that is not elementwise."""
    if traits(module).elementwise:
        return module(t)
    pairs = torch.stack([t, torch.zeros_like(t)], dim=1)
    # softmax2d is along the channels, the others along the last axis.
    inputs = pairs[:, :, None, None] if isinstance(module, nn.Softmax2d) else pairs
    return module(inputs).reshape(len(t), -1)[:, 0]


def test_every_activation_of_torch_is_registered() -> None:
    of_torch = {getattr(nn, name) for name in torch.nn.modules.activation.__all__} - {nn.MultiheadAttention}
    registered = [registry().load("activation", name) for name in NAMES]
    assert [kind.__name__ for kind in of_torch if not any(issubclass(own, kind) for own in registered)] == []


def test_low_and_high(activation: nn.Module) -> None:
    stated = traits(activation)
    with torch.no_grad():
        near, far = outputs_of(activation, NEAR), outputs_of(activation, FAR)
    for bound, value, end in (
        (stated.low, near.min(), far.min()),
        (-stated.high, -near.max(), -far.max()),
    ):
        if math.isinf(bound):
            # The slope of leaky_relu is only 0.01.
            assert end <= -99
        else:
            assert min(value, end) >= bound - 1e-7
            assert min(value, end) <= bound + 1e-3


def test_the_slopes_of_the_bounded_heads_are_one() -> None:
    t = torch.zeros(1, requires_grad=True)
    for name in ("tanh", "steep_sigmoid"):
        (gradient,) = torch.autograd.grad(build("activation", name)(t).sum(), t)
        assert gradient.item() == 1.0
    assert build("activation", "steep_sigmoid")(torch.tensor(0.3)).item() == pytest.approx((1 + math.tanh(0.6)) / 2)


def test_attained(activation: nn.Module) -> None:
    stated = traits(activation)
    with torch.no_grad():
        value = outputs_of(activation, NEAR / 4 if isinstance(activation, SteepSigmoid) else NEAR)
    measured = (bool((value - stated.low).min() < 1e-7), bool((stated.high - value).min() < 1e-7))
    assert measured == stated.attained


def test_saturates(activation: nn.Module) -> None:
    t = FAR.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(outputs_of(activation, t).sum(), t)
    assert bool((gradient.abs() < 1e-6).any()) == traits(activation).saturates


def test_learnable(activation: nn.Module) -> None:
    assert (len(list(activation.parameters())) > 0) == traits(activation).learnable


def test_same_shape(activation: nn.Module) -> None:
    x = torch.randn(2, 4, 6, 6, dtype=torch.float64)
    assert (activation(x).shape == x.shape) == traits(activation).same_shape


def test_elementwise(activation: nn.Module) -> None:
    x = torch.randn(1, 4, 2, 2, dtype=torch.float64)
    other = x + torch.randn_like(x)
    other[0, 0, 0, 0] = x[0, 0, 0, 0]
    stays = torch.equal(activation(x)[0, 0, 0, 0], activation(other)[0, 0, 0, 0])
    assert stays == traits(activation).elementwise


def test_covers_includes_bounds_that_are_not_attained() -> None:
    assert ActivationTraits(0.0, 1.0).covers(0.0, 1.0)
    assert not ActivationTraits(0.0, 1.0).covers(-1.0, 1.0)
    assert not ActivationTraits(0.0).covers(-math.inf, math.inf)
    assert ActivationTraits().covers(-math.inf, math.inf)


def test_softmax_is_along_the_last_axis_by_default() -> None:
    x = torch.randn(2, 3, 4)
    torch.testing.assert_close(build("activation", "softmax")(x).sum(-1), torch.ones(2, 3))
    torch.testing.assert_close(build("activation", {"name": "softmax", "dim": 1})(x).sum(1), torch.ones(2, 4))
    torch.testing.assert_close(build("activation", "softmin")(x), (-x).softmax(-1))
    torch.testing.assert_close(build("activation", "log_softmax")(x), x.log_softmax(-1))


def test_threshold_options() -> None:
    x = torch.tensor([-1.0, 0.5, 2.0])
    assert build("activation", "threshold")(x).tolist() == [0.0, 0.5, 2.0]
    assert build("activation", {"name": "threshold", "threshold": 1.0, "value": 3.0})(x).tolist() == [3.0, 3.0, 2.0]


class _Own(nn.Module):
    traits = ActivationTraits(0.0, 5.0)


def test_traits_of_a_class_of_the_table_and_by_default() -> None:
    assert traits(_Own) == traits(_Own()) == ActivationTraits(0.0, 5.0)
    assert traits(nn.Sigmoid) == ActivationTraits(0.0, 1.0, saturates=True)
    assert traits(nn.Linear) == ActivationTraits()


def test_a_factory_returns_new_modules_with_its_options() -> None:
    make = MakeActivation.from_config({"name": "leaky_relu", "negative_slope": 0.3}, build)
    first, second = make(), make()
    assert first is not second
    assert isinstance(first, nn.LeakyReLU)
    assert first.negative_slope == 0.3
    assert make.config == {"name": "leaky_relu", "negative_slope": 0.3}
    assert MakeActivation.named("relu").traits == traits(nn.ReLU)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (3, "expected an activation's name or {name: ..., options}, found 3"),
        (
            {"name": "leaky_relu", "slope": 0.1},
            "activation 'leaky_relu' has no option 'slope', did you mean 'negative_slope'?; "
            "its options are negative_slope, inplace",
        ),
        (
            {"name": "elu", "alpha": "much"},
            "activation 'elu': option 'alpha' expects float, found 'much' "
            "(Input should be a valid number, unable to parse string as a number)",
        ),
    ],
)
def test_error_messages_of_wrong_activations(config: Any, message: str) -> None:
    with pytest.raises(AeframeError) as error:
        MakeActivation.from_config(config, build)
    assert str(error.value) == message


def test_a_misspelt_name_is_an_error_with_the_nearest_name() -> None:
    with pytest.raises(AeframeError, match=r"^unknown activation 'sigmod', did you mean 'sigmoid'\?; known are celu, "):
        MakeActivation.named("sigmod")


def test_an_activation_that_changes_the_shape_is_an_error() -> None:
    make = MakeActivation.named("relu")
    assert make.same_shape("mlp") is make
    with pytest.raises(AeframeError) as error:
        MakeActivation.named("glu").same_shape("mlp")
    assert str(error.value) == "mlp needs an activation that keeps its input's shape, 'glu' does not"


class Doubling(nn.Module):
    """Twice its input, behind weights of 1, or of 3 in the first layer."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x

    def initialise_layer(self, layer: nn.Linear, *, first: bool) -> None:
        layer.weight.fill_(3.0 if first else 1.0)


def test_an_activation_sets_the_weights_of_the_layers_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    make = MakeActivation({"name": "doubling"}, lambda kind, config: Doubling())
    monkeypatch.setattr(make, "_target", lambda: Doubling)
    layers = [layer for layer in dense_layers([2, 3, 4], make, norm=False, dropout=0.0) if isinstance(layer, nn.Linear)]
    assert [float(layer.weight.detach().unique()) for layer in layers] == [3.0, 1.0]
    linear = nn.Linear(2, 3)
    weight = linear.weight.clone()
    assert MakeActivation.named("relu").begin(linear) is linear
    assert torch.equal(linear.weight, weight)
