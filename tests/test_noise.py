"""Noise is a function of its numbers, and of nothing that was drawn before."""

from __future__ import annotations

import itertools

import pytest
import torch

from aeframe.noise import EVALUATION, PICTURES, TRAINING, noise_of, seed_noise

CPU = torch.device("cpu")


def drawn(*numbers: int) -> list[float]:
    seed_noise(CPU, *numbers)
    return torch.randn(4).tolist()


def test_the_same_numbers_give_the_same_noise() -> None:
    first = drawn(3, TRAINING, 17)
    torch.randn(1000)
    assert drawn(3, TRAINING, 17) == first


def test_near_numbers_give_noise_that_has_nothing_in_common() -> None:
    grid = list(itertools.product(range(4), (TRAINING, EVALUATION, PICTURES), range(50)))
    assert len({tuple(drawn(*numbers)) for numbers in grid}) == len(grid)
    # Draws at neighbouring positions are uncorrelated.
    values = torch.tensor([drawn(0, TRAINING, position) for position in range(2000)])
    assert values.mean().item() == pytest.approx(0.0, abs=0.05)
    assert values.std().item() == pytest.approx(1.0, abs=0.05)
    assert (values[1:] * values[:-1]).mean().item() == pytest.approx(0.0, abs=0.05)


def test_the_order_and_the_count_of_the_numbers_matter() -> None:
    assert drawn(1, 2) != drawn(2, 1)
    assert drawn(0) != drawn(0, 0)
    assert drawn(1) != drawn(0, 1)


def test_numbers_of_any_size_are_taken() -> None:
    assert drawn(2**40, 1) != drawn(0, 1)
    assert drawn(2**70, 1) == drawn(2**70, 1)
    assert drawn(-1) != drawn(1)


def test_inside_is_that_noise_and_outside_goes_on_as_it_was() -> None:
    torch.manual_seed(5)
    undisturbed = torch.randn(6)
    torch.manual_seed(5)
    before = torch.randn(3)
    with noise_of(CPU, 1, PICTURES):
        inside = torch.randn(4)
        torch.randn(100)
    after = torch.randn(3)
    assert torch.equal(torch.cat([before, after]), undisturbed)
    assert inside.tolist() == drawn(1, PICTURES)


def test_the_outside_is_restored_when_the_inside_fails() -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()

    def failing() -> None:
        with noise_of(CPU, 1):
            torch.randn(3)
            raise KeyError

    with pytest.raises(KeyError):
        failing()
    assert torch.equal(torch.get_rng_state(), state)
