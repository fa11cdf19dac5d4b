"""The maximum mean discrepancy: by hand, without bias, and in closed form for normals."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.model.autoencoder import Autoencoder
from aeframe.parts.objectives.mmd import MaximumMeanDiscrepancy
from aeframe.types import Batch, TrainingProgress

PROGRESS = TrainingProgress(batch=50, planned=100)
Make = Callable[..., Autoencoder]


def contributions(objective: MaximumMeanDiscrepancy, z: Tensor, prior_samples: Tensor) -> Tensor:
    return objective._contributions(z, prior_samples, slice(len(z)))


def test_imq_by_hand() -> None:
    # C is 2 in one dimension: k(0, 1) = 2/3, k(0, 2) = 1/3; across 1, 1/3, 2/3 and 2/3.
    objective = MaximumMeanDiscrepancy(scales=(1.0,))
    values = contributions(objective, torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [2.0]]))
    assert values.tolist() == pytest.approx([1 - 2 * (1 + 1 / 3) / 2, 1 - 2 * (2 / 3)])
    assert float(values.mean()) == pytest.approx(2 / 3 + 1 / 3 - 2 * 2 / 3)


def test_rbf_by_hand_and_the_kernel_is_the_mean_over_scales() -> None:
    z, prior_samples = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [2.0]])
    both = contributions(MaximumMeanDiscrepancy(kernel="rbf", scales=(1.0, 4.0)), z, prior_samples)
    single = [
        contributions(MaximumMeanDiscrepancy(kernel="rbf", scales=(scale,)), z, prior_samples) for scale in (1.0, 4.0)
    ]
    torch.testing.assert_close(both, (single[0] + single[1]) / 2)
    k = torch.tensor([0.0, 1.0, 4.0]).div(-2).exp()
    assert float(single[0].mean()) == pytest.approx(float(k[1] + k[2] - (k[0] + k[2] + k[1] + k[1]) / 2))


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_equal_distributions_have_no_discrepancy_in_the_mean(kernel: str) -> None:
    objective = build("objective", {"name": "mmd", "kernel": kernel})
    estimates = torch.stack(
        [contributions(objective, torch.randn(6, 3), torch.randn(6, 3)).mean() for _ in range(3000)]
    )
    error = estimates.std() / len(estimates) ** 0.5
    assert abs(float(estimates.mean())) < 4 * float(error)
    # Small enough to detect the bias of comparing samples with themselves.
    assert 4 * float(error) < 0.02


def test_rbf_between_two_normals_is_the_closed_form() -> None:
    objective = MaximumMeanDiscrepancy(kernel="rbf", scales=(0.5,))
    dim, shift = 3, torch.tensor([1.0, 0.5, 0.0])
    estimates = torch.stack(
        [contributions(objective, torch.randn(50, dim) + shift, torch.randn(50, dim)).mean() for _ in range(400)]
    )
    # The difference d of two samples is N(shift, 2), so E exp(-|d|^2 / C) is a Gaussian integral.
    c = 0.5 * 2 * dim
    expected = 2 * (1 + 4 / c) ** (-dim / 2) * (1 - (-shift.square().sum() / (c + 4)).exp())
    error = estimates.std() / len(estimates) ** 0.5
    assert abs(float(estimates.mean() - expected)) < 4 * float(error)


def test_without_beta_the_bound_is_the_reconstruction(make: Make) -> None:
    model = make({"name": "mmd", "weight": 3.0}, latent="point")
    out = model(Batch(torch.randn(8, 6)))
    terms = model.terms(out, PROGRESS)
    assert terms.weights == {"reconstruction": 1.0, "mmd": 3.0}
    assert terms.bound is out.reconstruction


def test_with_beta_the_bound_is_the_evidence_lower_bound(make: Make) -> None:
    model = make({"name": "mmd", "beta": 0.5})
    out = model(Batch(torch.randn(8, 6)))
    terms = model.terms(out, PROGRESS)
    assert terms.weights == {"reconstruction": 1.0, "kl": 0.5, "mmd": 100.0}
    assert terms.bound is not None
    torch.testing.assert_close(terms.bound, out.reconstruction + model.prior.kl(out.latent).sum(1))


def test_a_kl_without_a_posterior_is_refused(make: Make) -> None:
    model = make({"name": "mmd", "beta": 0.5}, latent="point")
    with pytest.raises(AeframeError) as error:
        model.terms(model(Batch(torch.randn(8, 6))), PROGRESS)
    assert str(error.value) == "a KL divergence requires a latent that provides a posterior"


def test_minimising_the_term_moves_codes_to_the_prior() -> None:
    objective = MaximumMeanDiscrepancy()
    z = (0.5 * torch.randn(64, 3) + 2).requires_grad_()
    optimizer = torch.optim.Adam([z], lr=0.1)
    for _ in range(150):
        optimizer.zero_grad()
        contributions(objective, z, torch.randn(64, 3)).mean().backward()
        optimizer.step()
    assert z.detach().median(0).values.abs().max() < 0.4
    assert 0.7 < float((z.detach().quantile(0.84, 0) - z.detach().quantile(0.16, 0)).mean()) / 2 < 1.4


def test_the_term_of_a_single_sample_is_finite(make: Make) -> None:
    model = make({"name": "mmd"}, latent="point").eval()
    assert model.terms(model(Batch(torch.randn(1, 6))), PROGRESS).raw["mmd"].isfinite().all()


def test_missing_or_zero_scales_are_refused() -> None:
    for scales in ((), (1.0, 0.0)):
        with pytest.raises(AeframeError) as error:
            build("objective", {"name": "mmd", "scales": scales})
        assert str(error.value) == f"objective mmd needs one or more scales above 0, found {list(scales)}"
