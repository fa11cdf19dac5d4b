"""Noise depends on the numbers it is seeded with alone, and not on earlier draws."""

from __future__ import annotations

import itertools

import pytest
import torch

from aeframe.noise import EVALUATION, PICTURES, TRAINING, noise_of, seed_noise

CPU = torch.device("cpu")


def noise(*numbers: int) -> list[float]:
    seed_noise(CPU, *numbers)
    return torch.randn(4).tolist()


def test_noise_is_reproducible() -> None:
    first = noise(3, TRAINING, 17)
    torch.randn(1000)
    assert noise(3, TRAINING, 17) == first


def test_noise_at_neighbouring_positions_is_uncorrelated() -> None:
    grid = list(itertools.product(range(4), (TRAINING, EVALUATION, PICTURES), range(50)))
    assert len({tuple(noise(*numbers)) for numbers in grid}) == len(grid)
    values = torch.tensor([noise(0, TRAINING, position) for position in range(2000)])
    assert values.mean().item() == pytest.approx(0.0, abs=0.05)
    assert values.std().item() == pytest.approx(1.0, abs=0.05)
    assert (values[1:] * values[:-1]).mean().item() == pytest.approx(0.0, abs=0.05)


def test_the_order_and_the_count_of_the_numbers_matter() -> None:
    assert noise(1, 2) != noise(2, 1)
    assert noise(0) != noise(0, 0)
    assert noise(1) != noise(0, 1)


def test_large_and_negative_numbers() -> None:
    assert noise(2**40, 1) != noise(0, 1)
    assert noise(2**70, 1) == noise(2**70, 1)
    assert noise(-1) != noise(1)


def test_the_context_is_seeded_and_draws_outside_are_unaffected() -> None:
    torch.manual_seed(5)
    expected = torch.randn(6)
    torch.manual_seed(5)
    before = torch.randn(3)
    with noise_of(CPU, 1, PICTURES):
        inside = torch.randn(4)
        torch.randn(100)
    after = torch.randn(3)
    assert torch.equal(torch.cat([before, after]), expected)
    assert inside.tolist() == noise(1, PICTURES)


def test_the_generator_is_restored_after_an_error() -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()

    def failing() -> None:
        with noise_of(CPU, 1):
            torch.randn(3)
            raise KeyError

    with pytest.raises(KeyError):
        failing()
    assert torch.equal(torch.get_rng_state(), state)
