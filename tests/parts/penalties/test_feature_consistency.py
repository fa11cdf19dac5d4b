"""Feature consistency by hand, and the parameters that it trains."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.types import Batch, DataSpec, Domain, ForwardOutput


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def model_with(*, condition: int = 0, corruption: str = "none", **options: Any) -> Autoencoder:
    """Return a model whose encoder is one linear layer from 3 numbers to 2, with a penalty."""
    config = {
        "corruption": corruption,
        "encoder": {"name": "mlp", "hidden": (2,), "activation": "identity"},
        "latent": {"name": "point", "dim": 3},
        "loss": "mse",
        "penalties": {"feature_consistency": options},
    }
    return assemble(config, DataSpec((3,), Domain("real"), condition))


def output_with(model: Autoencoder, x: Tensor, x_hat: Tensor, condition: Tensor | None = None) -> ForwardOutput:
    out = model(Batch(x, condition=condition))
    out.output = x_hat.unsqueeze(1)
    return out


def linear_of(model: Autoencoder) -> Tensor:
    (weight,) = [parameter for name, parameter in model.encoder.named_parameters() if name.endswith("weight")]
    return weight


def test_value_and_gradient_by_hand() -> None:
    model = model_with()
    weight = linear_of(model)
    with torch.no_grad():
        weight.copy_(torch.tensor([[1.0, 0.0, 2.0], [0.0, -1.0, 1.0]]))
    x = torch.tensor([[1.0, 2.0, 3.0]])
    x_hat = torch.tensor([[2.0, 4.0, 2.0]], requires_grad=True)
    value = model.penalties["feature_consistency"](model, output_with(model, x, x_hat))
    # W (x - x_hat) = W (-1, -2, 1) = (1, 3); the gradient is -sign(1, 3) W = -(1, -1, 3).
    assert value.tolist() == [4.0]
    (gradient,) = torch.autograd.grad(value.sum(), x_hat)
    assert gradient.tolist() == [[-1.0, 1.0, -3.0]]


def test_cosine_by_hand() -> None:
    model = model_with(distance="cosine")
    x, x_hat = torch.randn(4, 3), torch.randn(4, 3)
    of_x, of_x_hat = model.encode_features(Batch(x)), model.encode_features(Batch(x_hat))
    value = model.penalties["feature_consistency"](model, output_with(model, x, x_hat))
    torch.testing.assert_close(value, 1 - torch.cosine_similarity(of_x, of_x_hat))


@pytest.mark.parametrize("detach", [True, False])
def test_the_encoder_receives_a_gradient_only_without_detach(detach: bool) -> None:
    model = model_with(detach=detach)
    out = output_with(model, torch.randn(5, 3), torch.randn(5, 3))
    value = model.penalties["feature_consistency"](model, out)
    assert value.requires_grad is not detach
    if not detach:
        value.sum().backward()
        assert linear_of(model).grad is not None
    # The encoder is trainable again.
    assert all(parameter.requires_grad for parameter in model.encoder.parameters())


def test_it_trains_the_decoder() -> None:
    model = model_with()
    model.penalties["feature_consistency"](model, model(Batch(torch.randn(5, 3)))).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.decoder.parameters())


def test_the_target_is_the_clean_x() -> None:
    model = model_with(corruption="gaussian").train()
    x = torch.randn(5, 3)
    assert model.penalties["feature_consistency"](model, output_with(model, x, x)).tolist() == [0.0] * 5


def test_the_encoder_receives_the_condition() -> None:
    model = model_with(condition=2)
    x = torch.randn(5, 3)
    out = output_with(model, x, x, condition=torch.randn(5, 2))
    assert model.penalties["feature_consistency"](model, out).tolist() == [0.0] * 5
