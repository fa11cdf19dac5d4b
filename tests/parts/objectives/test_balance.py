"""KL balancing, hand-worked, and where it ends."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.parts.latents.hierarchy.base import GroupedPosterior, normal
from aeframe.types import Batch, DataSpec, Domain, ForwardOutput, Latent, LossTerms, TrainingProgress

BEGUN, HALFWAY, ENDED = (TrainingProgress(batch=batch, planned=100) for batch in (0, 50, 100))
# Groups of one number and of two. Means over the batch for each number: 2 and 1.5, so the weights are 8/7 and 6/7.
KL = torch.tensor([[4.0, 1.0, 1.0], [0.0, 1.0, 3.0]])
BALANCED = [(4 * 8 + 2 * 6) / 7, 4 * 6 / 7]


def make(latent: dict[str, Any] | None = None, **options: Any) -> Autoencoder:
    torch.manual_seed(0)
    config = {
        "encoder": {"name": "mlp", "hidden": (5,)},
        "latent": latent or {"name": "ladder", "dims": [1, 2], "hidden": 4},
        "prior": "normal" if latent else "top_down",
        "loss": "mse",
        "objective": {"name": "elbo", "balance": True, **options},
    }
    return assemble(config, DataSpec((6,), Domain("real")))


def terms_at(model: Autoencoder, progress: TrainingProgress, kl: Tensor = KL) -> tuple[ForwardOutput, LossTerms]:
    """The terms of a pass with these divergences: N(sqrt(2 KL), 1) against N(0, 1)."""
    mean = (2 * kl).sqrt().requires_grad_()
    q, p = normal(torch.zeros(2, 6)), normal(torch.zeros(2, 6))
    q.loc = mean
    batch = Batch(torch.zeros(2, 6))
    latent = Latent(mean, mean, posterior=GroupedPosterior(mean, q, p, lambda _: q))
    made = ForwardOutput(batch, batch, latent, torch.zeros(2, 1, 6), torch.full((2,), 10.0))
    return made, model.terms(made, progress)


def test_balancing_hand_worked() -> None:
    _, terms = terms_at(make(beta={"name": "linear"}), HALFWAY)
    assert terms.raw["kl"].tolist() == pytest.approx([6.0, 4.0])
    assert terms.raw["kl_balanced"].tolist() == pytest.approx(BALANCED)
    assert terms.weights == {"reconstruction": 1.0, "kl": 0.0, "kl_balanced": 0.5}
    assert terms.bound is not None
    assert terms.bound.tolist() == pytest.approx([16.0, 14.0])


def test_the_weights_have_no_gradient() -> None:
    p, terms = terms_at(make(beta=0.5), HALFWAY)
    (gradient,) = torch.autograd.grad(terms.raw["kl_balanced"].sum(), p.latent.mean)
    # d/dm of m^2 / 2 is m, and each group has its weight.
    expected = p.latent.mean.detach() * torch.tensor([8 / 7, 6 / 7, 6 / 7])
    torch.testing.assert_close(gradient, expected)


def test_groups_that_hold_alike_for_each_number_are_left_alone() -> None:
    _, terms = terms_at(make(beta=0.5), HALFWAY, torch.tensor([[1.0, 2.0, 0.0], [1.0, 0.5, 1.5]]))
    torch.testing.assert_close(terms.raw["kl_balanced"], terms.raw["kl"])


def test_where_nothing_is_held_the_groups_are_alike() -> None:
    _, terms = terms_at(make(beta=0.5), HALFWAY, torch.zeros(2, 3))
    assert terms.raw["kl_balanced"].tolist() == [0.0, 0.0]


def test_it_ends_with_the_warm_up_and_is_for_training_only() -> None:
    model = make(beta={"name": "linear", "over": 0.5})
    assert list(terms_at(model, BEGUN)[1].raw) == ["reconstruction", "kl", "kl_balanced"]
    assert terms_at(model, ENDED)[1].weights == {"reconstruction": 1.0, "kl": 1.0}
    assert terms_at(model.eval(), BEGUN)[1].weights == {"reconstruction": 1.0, "kl": 0.0}


def test_a_latent_without_groups_is_refused() -> None:
    model = make({"name": "gaussian", "dim": 3})
    with pytest.raises(AeframeError) as error:
        model.terms(model(Batch(torch.zeros(2, 6))), ENDED)
    assert str(error.value) == (
        "objective elbo with balance=true requires a latent with groups, but this one has none; set balance=false"
    )


@pytest.mark.parametrize("option", ["free_bits", "capacity"])
def test_it_is_refused_beside_what_changes_the_kl_too(option: str) -> None:
    with pytest.raises(AeframeError) as error:
        build("objective", {"name": "elbo", "balance": True, option: 1.0})
    assert str(error.value) == f"objective elbo takes {option} or balance, not both; leave one at its default"
