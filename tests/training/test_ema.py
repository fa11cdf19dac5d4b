"""The average of the weights against its recurrence, by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from aeframe.errors import AeframeError
from aeframe.training.ema import WeightAverage


def test_the_average_follows_its_recurrence() -> None:
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, 1.0)
    average = WeightAverage(layer.named_parameters(), decay=0.5)
    expected = 1.0
    for step, value in enumerate((2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)):
        nn.init.constant_(layer.weight, value)
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    assert average.state_dict()["weight"].item() == pytest.approx(expected, rel=1e-6)


def test_a_swap_shows_the_average_and_a_second_one_the_weights() -> None:
    layer = nn.Linear(2, 2)
    before = layer.weight.detach().clone()
    average = WeightAverage(layer.named_parameters(), decay=0.9)
    with torch.no_grad():
        layer.weight.add_(1.0)
    average.swap()
    assert average.swapped
    torch.testing.assert_close(layer.weight, before)
    average.swap()
    assert not average.swapped
    torch.testing.assert_close(layer.weight, before + 1.0)


def test_a_state_that_is_loaded_is_the_average() -> None:
    layer = nn.Linear(2, 1)
    average = WeightAverage(layer.named_parameters(), decay=0.9)
    average.load_state_dict({"weight": torch.full((1, 2), 7.0)})
    average.swap()
    assert layer.weight.tolist() == [[7.0, 7.0]]


def test_frozen_parameters_have_no_average() -> None:
    layer = nn.Linear(2, 1)
    layer.bias.requires_grad_(False)
    assert list(WeightAverage(layer.named_parameters(), decay=0.9).state_dict()) == ["weight"]


@pytest.mark.parametrize("decay", [0.0, 1.0, -1.0])
def test_a_decay_lies_between_0_and_1(decay: float) -> None:
    with pytest.raises(AeframeError, match=f"^ema is a decay in \\(0, 1\\), found {decay}$"):
        WeightAverage(nn.Linear(1, 1).named_parameters(), decay=decay)
