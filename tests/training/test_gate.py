"""The logging gate: means over windows and epochs, weights beside raw terms, and the end of a run that went wrong."""

from __future__ import annotations

import math

import pytest
import torch

from aeframe.batch import Clock, Terms
from aeframe.errors import AeframeError
from aeframe.training.gate import Gate, NonFiniteLossError

Seen = list[tuple[dict[str, float], int, str]]


def gate(every: int) -> tuple[Gate, Seen]:
    seen: Seen = []
    return Gate(every, [lambda numbers, clock, split: seen.append((numbers, clock.batch, split))]), seen


def feed(gate: Gate, clock: Clock, *values: float, weight: float = 1.0) -> None:
    for value in values:
        terms = Terms().add("reconstruction", torch.full((4,), value)).add("kl", torch.ones(4), weight)
        gate.add("", "autoencoder", terms, clock)
        clock.tick()
        gate.tick(clock, lambda: {"lr/autoencoder": 0.5})


def test_numbers_cross_once_in_a_window_and_are_its_means() -> None:
    it, seen = gate(2)
    feed(it, Clock(), 1.0, 3.0, 5.0, weight=0.5)
    assert seen == [
        (
            {"reconstruction": 2.0, "kl": 1.0, "kl_weighted": 0.5, "loss": 2.5, "lr/autoencoder": 0.5},
            2,
            "train",
        )
    ]


def test_an_epoch_ends_with_the_mean_of_all_its_batches() -> None:
    it, seen = gate(2)
    clock = Clock()
    feed(it, clock, 1.0, 3.0, 8.0)
    assert it.end_epoch(clock)["reconstruction"] == pytest.approx(4.0)
    assert [split for _, _, split in seen] == ["train", "train", "train_epoch"]
    feed(it, clock, 10.0)
    assert it.end_epoch(clock)["reconstruction"] == pytest.approx(10.0)


def test_the_loss_returned_is_the_weighted_mean_and_keeps_its_graph() -> None:
    it, _ = gate(10)
    parameter = torch.tensor([1.0, 2.0], requires_grad=True)
    loss = it.add("", "autoencoder", Terms().add("a", parameter).add("b", parameter**2, 3.0), Clock())
    loss.backward()
    assert loss.item() == pytest.approx((1 + 3 + 2 + 12) / 2)
    torch.testing.assert_close(parameter.grad, torch.tensor([3.5, 6.5]))


def test_a_term_that_appears_later_is_logged_from_then_on() -> None:
    it, seen = gate(10)
    clock = Clock()
    it.add("", "autoencoder", Terms().add("a", torch.ones(2)), clock)
    clock.tick()
    it.add("", "autoencoder", Terms().add("a", torch.ones(2)).add("b", torch.full((2,), 4.0)), clock)
    it.flush(clock)
    assert [sorted(numbers) for numbers, _, _ in seen] == [["a", "loss"], ["a", "b", "loss"]]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_number_that_is_not_finite_names_batch_term_and_player(value: float) -> None:
    it, _ = gate(50)
    clock = Clock(batch=120)
    feed(it, clock, 1.0, 2.0, value)
    with pytest.raises(NonFiniteLossError) as caught:
        it.flush(clock)
    assert str(caught.value) == (
        f"training stopped: term 'reconstruction' of player 'autoencoder' is {value} at batch 122; "
        "lower optimizer.lr, set clip=1.0, or look at that batch's data"
    )


def test_a_window_needs_at_least_one_batch() -> None:
    with pytest.raises(AeframeError, match=r"^log_every must be at least 1, found 0$"):
        Gate(0, [])
