"""KL balancing of the groups of a hierarchy: weights by hand, and only during warm-up."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.parts.latents.hierarchy.base import GroupedPosterior, normal_from
from aeframe.types import Batch, DataSpec, Domain, ForwardOutput, Latent, LossTerms, TrainingProgress

START, HALFWAY, END = (TrainingProgress(batch=batch, planned=100) for batch in (0, 50, 100))
# Groups of one and two dimensions. Their means over batch and dimensions are 2 and 1.5: the weights are 8/7 and 6/7.
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
    """Return an output with these divergences of N(sqrt(2 KL), 1) from N(0, 1), and its terms."""
    mean = (2 * kl).sqrt().requires_grad_()
    q, p = normal_from(torch.zeros(2, 6)), normal_from(torch.zeros(2, 6))
    q.loc = mean
    batch = Batch(torch.zeros(2, 6))
    latent = Latent(mean, mean, posterior=GroupedPosterior(mean, q, p, lambda _: q))
    out = ForwardOutput(batch, batch, latent, torch.zeros(2, 1, 6), torch.full((2,), 10.0))
    return out, model.terms(out, progress)


def test_balancing_by_hand() -> None:
    _, terms = terms_at(make(beta={"name": "linear"}), HALFWAY)
    assert terms.raw["kl"].tolist() == pytest.approx([6.0, 4.0])
    assert terms.raw["kl_balanced"].tolist() == pytest.approx(BALANCED)
    assert terms.weights == {"reconstruction": 1.0, "kl": 0.0, "kl_balanced": 0.5}
    assert terms.bound is not None
    assert terms.bound.tolist() == pytest.approx([16.0, 14.0])


def test_the_weights_have_no_gradient() -> None:
    out, terms = terms_at(make(beta=0.5), HALFWAY)
    (gradient,) = torch.autograd.grad(terms.raw["kl_balanced"].sum(), out.latent.mean)
    # d/dm of m^2 / 2 is m, and each group has its weight.
    expected = out.latent.mean.detach() * torch.tensor([8 / 7, 6 / 7, 6 / 7])
    torch.testing.assert_close(gradient, expected)


def test_groups_with_the_same_mean_keep_their_kl() -> None:
    _, terms = terms_at(make(beta=0.5), HALFWAY, torch.tensor([[1.0, 2.0, 0.0], [1.0, 0.5, 1.5]]))
    torch.testing.assert_close(terms.raw["kl_balanced"], terms.raw["kl"])


def test_zero_divergences_are_finite() -> None:
    _, terms = terms_at(make(beta=0.5), HALFWAY, torch.zeros(2, 3))
    assert terms.raw["kl_balanced"].tolist() == [0.0, 0.0]


def test_it_applies_during_warm_up_and_in_training_only() -> None:
    model = make(beta={"name": "linear", "over": 0.5})
    assert list(terms_at(model, START)[1].raw) == ["reconstruction", "kl", "kl_balanced"]
    assert terms_at(model, END)[1].weights == {"reconstruction": 1.0, "kl": 1.0}
    assert terms_at(model.eval(), START)[1].weights == {"reconstruction": 1.0, "kl": 0.0}


def test_a_latent_without_groups_is_refused() -> None:
    model = make({"name": "gaussian", "dim": 3})
    with pytest.raises(AeframeError) as error:
        model.terms(model(Batch(torch.zeros(2, 6))), END)
    assert str(error.value) == (
        "objective elbo with balance=true requires a latent with groups, but this one has none; set balance=false"
    )


@pytest.mark.parametrize("option", ["free_bits", "capacity"])
def test_another_variant_of_the_kl_is_refused(option: str) -> None:
    with pytest.raises(AeframeError) as error:
        build("objective", {"name": "elbo", "balance": True, option: 1.0})
    assert str(error.value) == f"objective elbo takes {option} or balance, not both; leave one at its default"
