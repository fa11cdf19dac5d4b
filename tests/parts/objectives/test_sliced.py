"""The sliced Wasserstein distance: by hand in one dimension, and in closed form for shifted and scaled sets."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.model.autoencoder import Autoencoder
from aeframe.parts.objectives.sliced import SlicedWasserstein
from aeframe.types import Batch, TrainingProgress

PROGRESS = TrainingProgress(batch=50, planned=100)
Make = Callable[..., Autoencoder]


def test_in_one_dimension_values_of_the_same_rank_are_matched() -> None:
    z, prior_samples = torch.tensor([[3.0], [0.0], [1.0]]), torch.tensor([[5.0], [1.0], [0.0]])
    # Matched are 3 and 5, 0 and 0, 1 and 1.
    assert SlicedWasserstein()._squared_distances(z, prior_samples).tolist() == pytest.approx([4.0, 0.0, 0.0])


def test_the_distance_of_a_shifted_set_is_the_mean_squared_projection_of_the_shift() -> None:
    z, shift = torch.randn(20, 4), torch.tensor([2.0, 0.0, 1.0, 0.0])
    distances = SlicedWasserstein(lines=20_000)._squared_distances(z, (z + shift)[torch.randperm(20)])
    # E (u . shift)^2 over uniform directions u is |shift|^2 / D.
    assert distances.tolist() == pytest.approx([5 / 4] * 20, rel=0.05)


def test_the_distance_of_a_set_to_its_permutation_is_zero() -> None:
    z = torch.randn(20, 4)
    torch.testing.assert_close(
        SlicedWasserstein()._squared_distances(z, z.flip(0)), torch.zeros(20), atol=1e-10, rtol=0
    )


def test_the_distance_of_two_normals_is_that_of_their_standard_deviations() -> None:
    # W_2^2 of N(0, 1) and N(0, 4) along every line is (2 - 1)^2.
    distances = (
        SlicedWasserstein(lines=20)._squared_distances(2 * torch.randn(20_000, 2), torch.randn(20_000, 2)).mean()
    )
    assert float(distances) == pytest.approx(1.0, abs=0.05)


def test_the_term_is_added_with_its_weight_and_reaches_the_encoder(make: Make) -> None:
    model = make({"name": "sliced", "weight": 2.0}, latent="point")
    out = model(Batch(torch.randn(8, 6)))
    terms = model.terms(out, PROGRESS)
    assert terms.weights == {"reconstruction": 1.0, "sliced": 2.0}
    assert terms.bound is out.reconstruction
    terms.raw["sliced"].mean().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.encoder.parameters())


def test_zero_lines_are_refused() -> None:
    with pytest.raises(AeframeError) as error:
        build("objective", {"name": "sliced", "lines": 0})
    assert str(error.value) == "objective sliced needs lines of at least 1, found 0"
