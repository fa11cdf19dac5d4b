"""The sliced Wasserstein distance: by hand on a line, and for sets that are shifted."""

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


def test_on_a_line_the_smallest_goes_to_the_smallest() -> None:
    z, drawn = torch.tensor([[3.0], [0.0], [1.0]]), torch.tensor([[5.0], [1.0], [0.0]])
    # 3 to 5, 0 to 0, 1 to 1.
    assert SlicedWasserstein()._squared_distances(z, drawn).tolist() == pytest.approx([4.0, 0.0, 0.0])


def test_a_shifted_set_is_as_far_as_the_shift_along_a_line() -> None:
    z, shift = torch.randn(20, 4), torch.tensor([2.0, 0.0, 1.0, 0.0])
    found = SlicedWasserstein(lines=20_000)._squared_distances(z, (z + shift)[torch.randperm(20)])
    # E (u . shift)^2 of even directions u is |shift|^2 / D.
    assert found.tolist() == pytest.approx([5 / 4] * 20, rel=0.05)


def test_a_set_is_no_way_from_itself_in_another_order() -> None:
    z = torch.randn(20, 4)
    torch.testing.assert_close(
        SlicedWasserstein()._squared_distances(z, z.flip(0)), torch.zeros(20), atol=1e-10, rtol=0
    )


def test_two_normals_are_as_far_as_their_standard_deviations() -> None:
    # W_2^2 of N(0, 1) and N(0, 4) on every line is (2 - 1)^2.
    found = SlicedWasserstein(lines=20)._squared_distances(2 * torch.randn(20_000, 2), torch.randn(20_000, 2)).mean()
    assert float(found) == pytest.approx(1.0, abs=0.05)


def test_the_term_is_added_with_its_weight_and_reaches_the_encoder(make: Make) -> None:
    model = make({"name": "sliced", "weight": 2.0}, latent="point")
    p = model(Batch(torch.randn(8, 6)))
    terms = model.terms(p, PROGRESS)
    assert terms.weights == {"reconstruction": 1.0, "sliced": 2.0}
    assert terms.bound is p.reconstruction
    terms.raw["sliced"].mean().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.encoder.parameters())


def test_no_line_is_refused() -> None:
    with pytest.raises(AeframeError) as error:
        build("objective", {"name": "sliced", "lines": 0})
    assert str(error.value) == "objective sliced needs lines of at least 1, found 0"
