"""Noise depends on the numbers it is seeded with alone, and not on earlier draws."""

from __future__ import annotations

import itertools

import pytest
import torch

from aeframe.noise import (
    EVALUATION,
    PICTURES,
    TRAINING,
    mix,
    mix_elements,
    noise_of,
    random_rows,
    seed_noise,
    smallest,
    subset_keys,
    to_signed,
)

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


def test_elements_are_hashed_as_integers_are() -> None:
    numbers = [0, 1, 2**31, 2**63 - 1, -1, -(2**63)]
    hashed = mix_elements(torch.tensor(numbers)).tolist()
    # `mix` folds the high bits into the low ones at the end.
    for number, value in zip(numbers, hashed, strict=True):
        unsigned = value % 2**64
        assert unsigned ^ (unsigned >> 32) == mix(number)
        assert to_signed(unsigned) == value


def test_random_rows_are_a_seeded_subset_in_ascending_order() -> None:
    rows = random_rows(30_000, 10_000, seed=3)
    assert rows.unique().numel() == 10_000
    assert torch.equal(rows, rows.sort().values)
    assert 0 <= rows[0] < rows[-1] < 30_000
    assert torch.equal(rows, random_rows(30_000, 10_000, seed=3))
    # Two independent subsets of a third share a third of their rows.
    shared = torch.isin(rows, random_rows(30_000, 10_000, seed=4)).double().mean()
    assert abs(shared - 1 / 3) < 0.03
    # Each third of the rows has its share, up to five standard errors.
    assert ((torch.bincount(rows // 10_000) - 10_000 / 3).abs() < 5 * (10_000 * 2 / 9) ** 0.5).all()


def test_all_rows_are_taken_if_there_are_no_more() -> None:
    for num in (5, 6, 10_000):
        assert random_rows(5, num, seed=1).tolist() == [0, 1, 2, 3, 4]
    assert random_rows(0, 3, seed=1).tolist() == []


def test_random_rows_use_no_generator() -> None:
    state = torch.get_rng_state()
    random_rows(100, 10, seed=0)
    assert torch.equal(torch.get_rng_state(), state)


def test_rows_that_arrive_in_batches_are_reduced_to_the_same_subset() -> None:
    expected = random_rows(100, 10, seed=2)
    kept = torch.zeros(0, dtype=torch.long)
    for rows in torch.randperm(100, generator=torch.Generator().manual_seed(0)).split(7):
        kept = torch.cat([kept, rows])
        kept = kept[smallest(subset_keys(kept, 2), 10)]
    assert torch.equal(kept.sort().values, expected)
