"""`diagnose` against hand-worked cases: models that copy, ignore the condition, or reconstruct constants."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal

from aeframe.data.memory import TensorSource
from aeframe.evaluation.diagnosis import diagnose
from aeframe.types import Batch


class Returns(nn.Module):
    """A decoder that returns the same value for all elements, plus the condition times `slope`."""

    def __init__(self, value: float, size: int, slope: float = 0.0, noise: Tensor | None = None) -> None:
        super().__init__()
        self.value, self.size, self.slope, self.noise = value, size, slope, noise
        self.unused = nn.Parameter(torch.zeros(()))

    def forward(self, decoder_input: Tensor, batch: Batch) -> Tensor:
        output = decoder_input.new_full((len(decoder_input), 1, self.size), self.value)
        if self.slope:
            output = output + self.slope * decoder_input[:, -1, None, None]
        return output if self.noise is None else output + self.noise[batch.index][:, None]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def test_variance_of_elements(make_model: Any) -> None:
    x = torch.randn(100, 6) * torch.tensor([1.0, 1, 1, 1, 1, 30])
    values = diagnose(make_model(), TensorSource(x), batch_size=32, seed=0)
    variance = x.double().var(0, correction=0)
    assert values["largest_variance"] == pytest.approx(float(variance.max() / variance.sum()))
    assert values["variance_ratio"] == pytest.approx(float(variance.max() / variance.median()))
    assert values["code_size"] == 3
    assert "at_bound" not in values
    assert "condition_effect" not in values


@pytest.mark.parametrize(
    ("value", "expected"),
    # A sigmoid of -20 and 20 is at 0 and 1, where 3 and 1 of the 4 elements are not; 0.5 is at neither.
    [(-20.0, 3 / 4), (20.0, 1 / 4), (0.0, 0.0)],
)
def test_outputs_at_a_bound(make_model: Any, value: float, expected: float) -> None:
    x = torch.tensor([0.0, 1.0, 1.0, 1.0]).expand(20, 4)
    model = make_model((4,), "unit", loss={"name": "mse", "activation": "sigmoid"})
    model.decoder = Returns(value, 4)
    values = diagnose(model, TensorSource(x), batch_size=8, seed=0)
    # Each element is away from one bound only.
    assert values["at_bound"] == pytest.approx(expected)


def test_effect_of_the_condition(make_model: Any) -> None:
    x, condition = torch.randn(64, 6), torch.randint(0, 2, (64, 1)).float()
    source = TensorSource(x, condition=condition)
    model = make_model((6,), condition=1)
    # The reconstruction is the condition: its variance is p (1 - p), and each change of the condition changes it by 1.
    model.decoder = Returns(0.0, 6, slope=1.0)
    share = float(condition.mean())
    effect = diagnose(model, source, batch_size=64, seed=0)["condition_effect"]
    assert effect == pytest.approx(1 / (share * (1 - share)))
    # The reconstruction ignores the condition.
    model.decoder = Returns(0.0, 6, noise=torch.randn(64, 6))
    assert diagnose(model, source, batch_size=64, seed=0)["condition_effect"] == 0
    # Samples in the order of their conditions, as in a sorted file, are compared with others too.
    model.decoder = Returns(0.0, 6, slope=1.0)
    ordered = TensorSource(x, condition=condition.sort(0).values)
    assert diagnose(model, ordered, batch_size=64, seed=0)["condition_effect"] == pytest.approx(effect)


def test_codes_beside_the_prior(make_model: Any) -> None:
    model = make_model((2,), latent={"name": "identity"}, encoder={"name": "mlp", "hidden": []})
    model.encoder = nn.Identity()
    model.encoder.forward = lambda batch: batch.x  # type: ignore[method-assign]
    x = torch.randn(512, 2)
    x = (x - x.mean(0)) / x.std(0)
    model.decoder = Returns(0.0, 2)
    assert diagnose(model, TensorSource(x), batch_size=100, seed=0)["prior_kl"] == pytest.approx(0, abs=1e-5)
    # A standard deviation of 2 and a mean of 1 in every dimension.
    value = diagnose(model, TensorSource(2 * x + 1), batch_size=100, seed=0)["prior_kl"]
    kl = torch.distributions.kl_divergence(Normal(1.0, 2.0), Normal(0.0, 1.0))
    assert value == pytest.approx(float(kl), rel=1e-4)


def test_data_without_distances_have_the_size_of_the_code_only(make_model: Any) -> None:
    model = make_model((5,), "category(4)", loss="categorical", latent={"name": "vq", "codebook_size": 8, "tokens": 2})
    values = diagnose(model, TensorSource(torch.randint(0, 4, (20, 5))), batch_size=8, seed=0)
    assert values == {"code_size": 128.0, "code_positions": 2.0}
