"""The adversarial penalty: the adaptive weight by hand, and which optimizer group receives which gradients."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.parts.critics.samples import DiscriminatorX
from aeframe.testing.freezing import freeze_others
from aeframe.training.optimizer_groups import make_optimizer_groups
from aeframe.types import Batch, DataSpec, Domain, ForwardOutput, TrainingProgress

PROGRESS = TrainingProgress(batch=5, planned=10)
LINEAR = {"name": "mlp", "hidden": ()}
IMAGE, FLAT = (1, 8, 8), (6,)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def model_with(
    shape: tuple[int, ...] = FLAT,
    *,
    adaptive: bool = False,
    domain: str = "real",
    latent: str = "point",
    **options: Any,
) -> Autoencoder:
    """Return a model with the penalty, and a discriminator with these options."""
    config = {
        "activation": "tanh",
        "encoder": {"name": "mlp", "hidden": (5,)},
        "latent": {"name": latent, "dim": 3},
        "loss": "mse" if domain == "real" else "categorical",
        "penalties": {"adversarial": {"adaptive": adaptive}},
        "critics": {"discriminator_x": options},
    }
    return assemble(config, DataSpec(shape, Domain.parse(domain)))


def penalty_of(model: Autoencoder, out: ForwardOutput) -> Tensor:
    value: Tensor = model.penalties["adversarial"](model, out)
    return value


def test_it_is_the_generator_s_loss_of_the_reconstruction() -> None:
    model = model_with(IMAGE, loss="least_squares")
    out, critic = model(Batch(torch.randn(3, *IMAGE))), model.critics["discriminator_x"]
    assert isinstance(critic, DiscriminatorX)
    expected = critic.generator_loss(Batch(model.loss.mean(out.output)))
    assert expected.shape == (3,)
    torch.testing.assert_close(penalty_of(model, out), expected)


# -- the adaptive weight ---------------------------------------------------------------------------------------------


def linear_discriminator() -> tuple[Autoencoder, Tensor, Tensor]:
    """Return a model with a discriminator w x + b, and w and b."""
    model = model_with(adaptive=True, network=LINEAR)
    critic = model.critics["discriminator_x"]
    assert isinstance(critic, DiscriminatorX)
    (head,) = critic.network.heads
    return model, head.linear.weight[0], head.linear.bias


def test_the_adaptive_weight_by_hand() -> None:
    model, w, b = linear_discriminator()
    x = torch.randn(4, *FLAT)
    out = model(Batch(x))
    x_hat = model.loss.mean(out.output)
    # The gradient of the squared error is 2 (x_hat - x), that of the hinge loss -w.
    weight = 2 * (x_hat - x).norm(dim=1) / (w.norm() + 1e-4)
    value = penalty_of(model, out)
    torch.testing.assert_close(value, -(x_hat @ w + b) * weight.detach())
    # No gradient flows through the weight, so the term's gradient has the norm of the reconstruction's.
    (adversarial,) = torch.autograd.grad(value.sum(), out.output, retain_graph=True)
    torch.testing.assert_close(adversarial.flatten(1), -w * weight.detach()[:, None])
    (reconstruction,) = torch.autograd.grad(out.reconstruction.sum(), out.output)
    norms = (gradient.flatten(1).norm(dim=1) for gradient in (adversarial, reconstruction))
    torch.testing.assert_close(*norms, rtol=1e-3, atol=0)


def test_the_adaptive_weight_is_at_most_ten_thousand() -> None:
    model, w, b = linear_discriminator()
    with torch.no_grad():
        w.zero_()
        b.fill_(-1.0)
    assert penalty_of(model, model(Batch(1e3 * torch.randn(4, *FLAT)))).tolist() == [1e4] * 4


@pytest.mark.parametrize("adaptive", [False, True])
def test_the_term_is_the_same_in_an_evaluation_without_gradients(adaptive: bool) -> None:
    model = model_with(IMAGE, adaptive=adaptive).eval()
    x = torch.randn(3, *IMAGE)
    expected = penalty_of(model, model(Batch(x)))
    with torch.no_grad():
        out = model(Batch(x))
        torch.testing.assert_close(penalty_of(model, out), expected.detach())
    assert not out.output.requires_grad


def test_it_is_computed_for_the_first_of_importance_samples() -> None:
    model, x = model_with(latent="gaussian").eval(), torch.randn(3, *FLAT)
    out = model(Batch(x), num_samples=4)
    out.output = torch.cat([out.output[:3], torch.randn_like(out.output[3:])])
    value = model.penalties["adversarial"](model, out.first_sample())
    torch.testing.assert_close(value, penalty_of(model, model(Batch(x))))


# -- optimizer groups -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("adaptive", [False, True])
def test_each_optimizer_group_trains_its_own_weights_only(adaptive: bool) -> None:
    model = model_with(IMAGE, adaptive=adaptive, lecam=0.1, r1=0.1)
    groups = make_optimizer_groups(model, {"name": "sgd", "lr": 0.1})
    assert [group.name for group in groups] == ["autoencoder", "discriminator_x"]
    out = model(Batch(torch.randn(3, *IMAGE)))
    for group in groups:
        with freeze_others(group, groups):
            group.terms(model, out, PROGRESS).total().mean().backward()
        for other in groups:
            reached = any(weight.grad is not None and bool(weight.grad.any()) for weight in other.parameters)
            assert reached == (other is group)
        model.zero_grad()


def test_a_late_start_is_a_schedule_that_takes_no_time() -> None:
    schedule = build("schedule", {"name": "linear", "end": 0.8, "over": 0, "delay": 0.25})
    weights = [schedule(TrainingProgress(batch=batch, planned=100)) for batch in (0, 24, 25, 26, 100)]
    assert weights == [0.0, 0.0, 0.8, 0.8, 0.8]


# -- data ----------------------------------------------------------------------------------------------------------


def test_values_under_the_mask_are_not_used() -> None:
    model = model_with(IMAGE, adaptive=True)
    x, mask = torch.randn(3, *IMAGE), torch.rand(3, *IMAGE) < 0.6
    first, second = (penalty_of(model, model(Batch(values, mask))) for values in (x, x.masked_fill(~mask, math.nan)))
    torch.testing.assert_close(first, second)


def test_classes_are_refused() -> None:
    model = model_with(domain="category(4)")
    with pytest.raises(AeframeError) as error:
        model.terms(model(Batch(torch.randint(4, (3, *FLAT)))), PROGRESS)
    assert str(error.value) == (
        "the reconstruction of Categorical has classes, through which no gradient flows from another network; "
        "leave out the penalties adversarial, feature_consistency, feature_matching and "
        "perceptual"
    )
