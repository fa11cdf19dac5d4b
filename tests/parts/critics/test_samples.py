"""The discriminator of x: hand-worked losses, finite differences, masks and state."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from aeframe.model.autoencoder import Autoencoder
from aeframe.parts.critics import samples
from aeframe.parts.critics.samples import DiscriminatorX
from aeframe.types import Batch, ForwardOutput, TrainingProgress

PROGRESS = TrainingProgress(batch=5, planned=10)
IMAGE, FLAT = (1, 8, 8), (6,)

Make = Callable[..., Autoencoder]


def with_discriminator(make: Make, shape: tuple[int, ...] = FLAT, **options: Any) -> Autoencoder:
    return make(shape, critics={"discriminator_x": options})


def discriminator_of(model: Autoencoder) -> DiscriminatorX:
    critic = model.critics["discriminator_x"]
    assert isinstance(critic, DiscriminatorX)
    return critic


def critic_terms(model: Autoencoder, out: ForwardOutput) -> dict[str, Tensor]:
    return model.critic_terms(out, PROGRESS)["discriminator_x"].raw


class FixedLogits(nn.Module):
    """A network that returns these logits for the n-th batch."""

    def __init__(self, *logits: list[list[float]]) -> None:
        super().__init__()
        self.logits = [torch.tensor(of_batch) for of_batch in logits]

    def forward(self, batch: Batch) -> list[Tensor]:
        return [self.logits.pop(0)]


# -- losses --------------------------------------------------------------------------------------------------------

SOFT_2, SOFT_HALF, SOFT_1 = math.log1p(math.exp(-2)), math.log1p(math.exp(-0.5)), math.log1p(math.exp(1))


@pytest.mark.parametrize(
    ("loss", "real", "fake", "generator"),
    [
        ("hinge", (0 + 0.5) / 2, (0.5 + 2) / 2, -(-0.5 + 1) / 2),
        ("vanilla", (SOFT_2 + SOFT_HALF) / 2, (SOFT_HALF + SOFT_1) / 2, -(SOFT_HALF + SOFT_1) / 2),
        (
            "non_saturating",
            (SOFT_2 + SOFT_HALF) / 2,
            (SOFT_HALF + SOFT_1) / 2,
            (SOFT_HALF + 0.5 + SOFT_1 - 1) / 2,
        ),
        ("least_squares", (1 + 0.25) / 2, (0.25 + 1) / 2, (2.25 + 0) / 2),
    ],
)
def test_losses_by_hand_are_means_over_patches(
    make: Make, loss: str, real: float, fake: float, generator: float
) -> None:
    model = with_discriminator(make, loss=loss)
    out, critic = model(Batch(torch.randn(1, *FLAT))), discriminator_of(model)
    critic.network = FixedLogits([[2.0, 0.5]], [[-0.5, 1.0]], [[-0.5, 1.0]])  # type: ignore[assignment]
    terms = critic_terms(model, out)
    assert float(terms["real"]) == pytest.approx(real)
    assert float(terms["fake"]) == pytest.approx(fake)
    assert float(critic.generator_loss(out.batch)) == pytest.approx(generator)


def test_by_default_there_are_two_terms_and_no_other(make: Make) -> None:
    model = with_discriminator(make, IMAGE)
    terms = model.critic_terms(model(Batch(torch.randn(3, *IMAGE))), PROGRESS)["discriminator_x"]
    assert terms.weights == {"real": 1.0, "fake": 1.0}
    assert all(value.shape == (3,) for value in terms.raw.values())


def test_of_importance_samples_the_first_is_used(make: Make) -> None:
    model = make(latent={"name": "gaussian", "dim": 3}, critics={"discriminator_x": {}}).eval()
    x = torch.randn(3, *FLAT)
    out = model(Batch(x), num_samples=4)
    out.output = torch.cat([out.output[:3], torch.randn_like(out.output[3:])])
    torch.testing.assert_close(critic_terms(model, out), critic_terms(model, model(Batch(x))))


# -- LeCam ---------------------------------------------------------------------------------------------------------


def test_lecam_by_hand(make: Make) -> None:
    model = with_discriminator(make, lecam=0.3, lecam_decay=0.5)
    critic, out = discriminator_of(model), model(Batch(torch.randn(2, *FLAT)))
    critic.network = FixedLogits([[2.0], [4.0]], [[-1.0], [1.0]], [[1.0], [2.0]], [[0.0], [-1.0]])  # type: ignore[assignment]
    # Before the first batch both averages are zero; after it they are those of that batch, 3 and 0.
    assert critic_terms(model, out)["lecam"].tolist() == [2.0**2 + 1.0, 4.0**2 + 1.0]
    terms = critic.terms(model, out.detach(), PROGRESS)
    assert terms.raw["lecam"].tolist() == [1.0 + 3.0**2, 2.0**2 + 4.0**2]
    assert terms.weights["lecam"] == 0.3
    # The two batches have the weights 1/4 and 1/2.
    assert critic.averages.tolist() == pytest.approx([3 / 4 + 1.5 / 2, 0 / 4 - 0.5 / 2, 3 / 4])


def test_lecam_averages_are_updated_in_training_only(make: Make) -> None:
    model = with_discriminator(make, lecam=1.0)
    critic, out = discriminator_of(model), model(Batch(torch.randn(3, *FLAT)))
    with torch.no_grad():
        critic_terms(model, out)
    critic_terms(model.eval(), out)
    assert critic.averages.tolist() == [0, 0, 0]
    critic_terms(model.train(), out)
    assert critic.averages.all()


def test_lecam_averages_are_over_all_devices(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    model = with_discriminator(make, lecam=1.0, lecam_decay=0.5)
    monkeypatch.setattr(samples, "mean_over_batch", lambda value: value + 2)
    critic, out = discriminator_of(model), model(Batch(torch.randn(2, *FLAT)))
    critic.network = FixedLogits([[1.0], [1.0]], [[0.0], [0.0]])  # type: ignore[assignment]
    critic_terms(model, out)
    assert critic.averages.tolist() == [1.5, 1.0, 1.5]


# -- R1 ------------------------------------------------------------------------------------------------------------


def test_r1_is_half_the_squared_gradient_by_finite_differences(make: Make) -> None:
    network = {"name": "conv", "channels": (3, 4), "activation": "tanh"}
    model = with_discriminator(make, (1, 4, 4), r1=10.0, network=network).double()
    x, step = torch.randn(2, 1, 4, 4, dtype=torch.double), 1e-5
    critic = discriminator_of(model)

    def logit(x: Tensor) -> Tensor:
        (logits,) = critic.network(Batch(x))
        return logits.mean(1)

    slopes = []
    for direction in torch.eye(16, dtype=torch.double).reshape(16, 1, 4, 4):
        slopes.append((logit(x + step * direction) - logit(x - step * direction)) / (2 * step))
    expected = 0.5 * torch.stack(slopes).square().sum(0)
    terms = critic.terms(model, model(Batch(x)).detach(), PROGRESS)
    torch.testing.assert_close(terms.raw["r1"], expected, rtol=1e-6, atol=1e-12)
    assert terms.weights["r1"] == 10.0


def test_r1_trains_the_discriminator_and_is_the_same_under_no_grad(make: Make) -> None:
    model = with_discriminator(make, r1=1.0)
    critic, out = discriminator_of(model), model(Batch(torch.randn(3, *FLAT)))
    term = critic_terms(model, out)["r1"]
    gradients = torch.autograd.grad(term.sum(), list(critic.parameters()), retain_graph=True, allow_unused=True)
    assert any(gradient is not None and gradient.any() for gradient in gradients)
    with torch.no_grad():
        torch.testing.assert_close(critic_terms(model, out)["r1"], term)


# -- data and state --------------------------------------------------------------------------------------------------


def test_values_under_the_mask_are_not_used(make: Make) -> None:
    model = with_discriminator(make, IMAGE, r1=1.0)
    x, mask = torch.randn(3, *IMAGE), torch.rand(3, *IMAGE) < 0.6
    first, second = (critic_terms(model, model(Batch(values, mask))) for values in (x, x.masked_fill(~mask, math.nan)))
    torch.testing.assert_close(first, second)


def test_its_state_is_tensors_and_is_copied_whole(make: Make) -> None:
    model = with_discriminator(make, IMAGE, lecam=1.0, scales=2)
    out = model(Batch(torch.randn(3, *IMAGE)))
    critic_terms(model, out)
    restored = with_discriminator(make, IMAGE, lecam=1.0, scales=2)
    restored.load_state_dict(copy.deepcopy(model).state_dict())
    torch.testing.assert_close(critic_terms(restored.eval(), out), critic_terms(model.eval(), out))
