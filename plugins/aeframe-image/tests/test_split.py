"""The validation split of benchmarks without one."""

from __future__ import annotations

import torch

from aeframe_image.pictures import Stack
from aeframe_image.split import split_off_last


def labels(stack: Stack) -> list[int]:
    assert stack.labels is not None
    return stack.labels.tolist()


def test_the_last_images_are_split_off() -> None:
    train, validation = split_off_last(Stack(torch.zeros(6, 1, 1, 1, dtype=torch.uint8), torch.arange(6)), 2)
    assert (labels(train), labels(validation)) == ([0, 1, 2, 3], [4, 5])
