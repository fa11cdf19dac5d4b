"""The activation of the reconstruction: its default by the domain of the data, and where it is the identity."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch

from aeframe.experiment.compose import compose
from aeframe.factory import build, defaults
from aeframe.model.assembly import assemble
from aeframe.parts.losses.base import BoundedMean, Loss
from aeframe.registry import registry
from aeframe.types import DataSpec, Domain

EXPECTED = {
    "unit": "steep_sigmoid",
    "binary": "steep_sigmoid",
    "signed": "tanh",
    "real": "identity",
    "simplex": "identity",
}
SHAPES: dict[str, tuple[int, ...]] = {"ssim": (1, 16, 16), "ms_ssim": (1, 16, 16), "snr": (1, 16)}
MODEL: dict[str, Any] = {
    "corruption": "none",
    "encoder": {"name": "mlp", "hidden": []},
    "latent": {"name": "topk", "dim": 8, "k": 2},
    "prior": "normal",
    "objective": "deterministic",
}


def bounded_losses() -> list[tuple[str, str]]:
    """Return the name of each loss whose mean has an activation, once for each of its domains."""
    pairs = []
    for entry in registry().entries("loss"):
        loss = registry().load("loss", entry.name)
        if inspect.isclass(loss) and issubclass(loss, BoundedMean):
            pairs += [(entry.name, domain) for domain in sorted(loss.domains)]
    return pairs


def make(name: str, domain: str, **options: Any) -> BoundedMean:
    shape = SHAPES.get(name, (5,))
    spec = DataSpec(shape, Domain.parse(domain))
    loss: Any = build("loss", {"name": name, **options}, shape=shape, domain=spec.domain, spec=spec)
    return loss


@pytest.mark.parametrize(("name", "domain"), bounded_losses())
def test_the_default_is_that_of_the_domain(name: str, domain: str) -> None:
    assert defaults("loss", name)["activation"] is None
    loss = make(name, domain)
    assert loss.options_in_use == {"activation": EXPECTED[domain]}
    low, high = Domain.parse(domain).bounds
    assert loss.output_range.covers(low, high)
    output = torch.randn(2, loss.num_outputs, *SHAPES.get(name, (5,)))
    activation = build("activation", EXPECTED[domain])
    torch.testing.assert_close(loss.mean(output), activation(output[:, 0]))


@pytest.mark.parametrize("name", sorted({name for name, _ in bounded_losses()} - {"jaccard"}))
def test_a_stated_activation_replaces_the_default(name: str) -> None:
    domain = "signed" if name == "snr" else "unit"
    output = torch.randn(2, make(name, domain).num_outputs, *SHAPES.get(name, (5,)))
    assert torch.equal(make(name, domain, activation="identity").mean(output), output[:, 0])


def test_a_column_of_mixed_data_has_no_bounds() -> None:
    loss: Loss = build("loss", "mixed", domain=Domain.mixed((0, 3)))
    assert loss.mean(torch.tensor([[[5.0, 1.0, 0.0, 0.0]]])).tolist() == [[5.0, 0.0]]


@pytest.mark.parametrize(
    ("decoder", "loss", "expected"),
    [
        ("reshape", "mse", "identity"),
        ("reshape", {"name": "mse"}, "identity"),
        ("reshape", {"name": "mse", "activation": "sigmoid"}, "sigmoid"),
        ("mirror", "mse", "steep_sigmoid"),
    ],
)
def test_a_sum_of_directions_has_no_activation(decoder: str, loss: Any, expected: str) -> None:
    model = assemble({**MODEL, "decoder": decoder, "loss": loss}, DataSpec((6,), Domain("unit")))
    assert model.loss.options_in_use == {"activation": expected}


def test_the_linear_autoencoder_stays_linear() -> None:
    model = assemble(compose(["model=linear_ae"]), DataSpec((6,), Domain("unit")))
    assert model.loss.options_in_use == {"activation": "identity"}
