"""The training loop of ex-post densities and extractors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from aeframe.parts.gradient_descent import hold_out, minimise, random_batches


class Point(nn.Module):
    """One parameter, whose squared distance from the rows is minimised."""

    def __init__(self) -> None:
        super().__init__()
        self.at = nn.Parameter(torch.zeros(()))

    def forward(self, rows: Tensor) -> Tensor:
        return (rows - self.at).square()


def test_each_batch_is_one_step_of_the_optimizer_and_the_schedule() -> None:
    batches = torch.tensor([[1.0, 3.0], [5.0, 5.0]])
    point = Point()
    optimizer = torch.optim.SGD(point.parameters(), lr=0.25)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    with torch.no_grad():  # Samplers are fitted without gradients.
        minimise(point, point, batches, optimizer, schedule=schedule)
    # The gradient of the mean is 2 (at - mean): 0 + 0.25 * 4 = 1, then 1 + 0.125 * 8 = 2.
    assert point.at.item() == 2.0
    assert optimizer.param_groups[0]["lr"] == 0.25 / 4


@pytest.mark.parametrize(("validate_at", "expected"), [((0, 1, 2), 2.0), ((0, 2), 0.0), ((2,), 6.0)])
def test_weights_with_the_lowest_validation_loss_are_restored(validate_at: tuple[int, ...], expected: float) -> None:
    point = Point()
    # Steps of half the gradient go to the row itself: 0, then 2, then 6.
    optimizer = torch.optim.SGD(point.parameters(), lr=0.5)
    minimise(
        point, point, torch.tensor([[2.0], [6.0]]), optimizer, held_out=torch.tensor([2.5]), validate_at=validate_at
    )
    assert point.at.item() == expected


@pytest.mark.parametrize(
    ("num", "at_most", "num_held_out"), [(1, None, 1), (2, None, 1), (9, None, 1), (30, None, 3), (30, 2, 2)]
)
def test_a_tenth_of_the_rows_is_held_out(num: int, at_most: int | None, num_held_out: int) -> None:
    held_out, rest = hold_out(torch.arange(num), at_most=at_most)
    assert len(held_out) == num_held_out
    assert len(rest) == max(1, num - num_held_out)
    assert {*held_out.tolist(), *rest.tolist()} == set(range(num))


def test_random_batches_depend_on_the_seed() -> None:
    rows, drawn = torch.arange(100), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(torch.cat(list(random_batches(rows, 8, 3))))
    assert drawn[0].shape == (24,)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
