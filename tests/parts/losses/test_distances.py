"""Distances against values computed by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import special

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.parts.losses.base import Loss
from aeframe.types import Batch, Domain

SHAPE = (3, 5)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def make(name: str, domain: str, shape: tuple[int, ...] = SHAPE, **options: Any) -> Loss:
    loss: Loss = build("loss", {"name": name, **options}, shape=shape, domain=Domain.parse(domain))
    return loss


def by_hand(name: str, output: list[float], x: list[float], domain: str = "real", **options: Any) -> float:
    loss = make(name, domain, (len(x),), **options)
    return float(loss(torch.tensor([[output]]), Batch(torch.tensor([x]))))


def logit(p: list[float]) -> list[float]:
    return [float(value) for value in special.logit(np.array(p))]


def test_distances_equal_values_by_hand() -> None:
    assert by_hand("mse", [1.0, -2.0, 0.5], [0.0, 1.0, 0.5]) == 10.0
    assert by_hand("mae", [1.0, -2.0, 0.5], [0.0, 1.0, 0.5]) == 4.0
    # 0.5 * 0.25 below delta; 2 * (3 - 1) = 4 above; 0.5 * 4 = 2 at delta by both formulas.
    assert by_hand("huber", [0.5, -3.0, 2.0], [0.0, 0.0, 0.0], delta=2.0) == 0.125 + 4.0 + 2.0
    # y f = 0.5, 3, 1, 0 with margin 1.
    assert by_hand("hinge", [0.5, 3.0, -1.0, 0.0], [1.0, 1.0, 0.0, 0.0], "binary") == 0.5 + 0.0 + 0.0 + 1.0
    # y f = -0.5 with margin 2.
    assert by_hand("hinge", [0.5], [0.0], "binary", margin=2.0) == 2.5


def test_distances_compare_the_bounded_reconstruction() -> None:
    assert by_hand("mse", [0.0], [1.0], "unit", activation="sigmoid") == 0.25
    assert by_hand("mae", [100.0], [-1.0], "signed", activation="tanh") == pytest.approx(2.0)


def test_hinge_is_zero_exactly_where_the_reconstruction_is_x() -> None:
    loss = make("hinge", "binary", (4,), margin=2.0)
    output = torch.tensor([[[2.0, -2.0, 9.0, -5.0]]])
    assert loss.mean(output).tolist() == [[1.0, 0.0, 1.0, 0.0]]
    assert loss(output, Batch(torch.tensor([[1.0, 0.0, 1.0, 0.0]]))).item() == 0.0
    assert loss.mean(torch.tensor([[[0.0, 1.0, -1.0, 0.5]]])).tolist() == [[0.5, 0.75, 0.25, 0.625]]


def test_jaccard_equals_values_by_hand() -> None:
    # Sets {1, 2} and {2, 3}: one of three elements is in both.
    assert by_hand("jaccard", [50.0, 50.0, -50.0, -50.0], [0.0, 1.0, 1.0, 0.0], "binary") == pytest.approx(2 / 3)
    # Soft: intersection 0.8 + 0.5, union 0.8 + 0.2 + 0.5 + 0.5 + 0.1 (both forms agree on binary x).
    assert by_hand("jaccard", logit([0.8, 0.5, 0.1]), [1.0, 1.0, 0.0], "binary", activation="sigmoid") == pytest.approx(
        1 - 1.3 / 2.1
    )
    # Unit data: sums of minima 0.3 + 0.5 and of maxima 0.6 + 0.5.
    assert by_hand("jaccard", logit([0.6, 0.5]), [0.3, 0.5], "unit", activation="sigmoid") == pytest.approx(
        1 - 0.8 / 1.1, rel=1e-5
    )


def test_jaccard_on_binary_x_is_the_product_form() -> None:
    x, output = torch.randint(2, (6, *SHAPE)).float(), torch.randn(6, 1, *SHAPE)
    p = output.sigmoid().squeeze(1)
    both, either = (p * x).flatten(1).sum(1), (p + x - p * x).flatten(1).sum(1)
    torch.testing.assert_close(make("jaccard", "binary", activation="sigmoid")(output, Batch(x)), 1 - both / either)


def test_jaccard_of_equal_and_of_empty_samples_is_zero() -> None:
    loss = make("jaccard", "unit", (3,), activation="hardsigmoid")
    # hardsigmoid(v) = v / 6 + 1 / 2 between its ends.
    output = torch.tensor([[[0.0, 1.2, -9.0]], [[-9.0, -9.0, -9.0]]]).requires_grad_()
    value = loss(output, Batch(torch.tensor([[0.5, 0.7, 0.0], [0.0, 0.0, 0.0]])))
    assert value.tolist() == pytest.approx([0.0, 0.0], abs=1e-6)
    (gradient,) = torch.autograd.grad(value.sum(), output)
    assert gradient.isfinite().all()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("huber", {"delta": 0.0}, "loss huber needs delta > 0, found 0.0"),
        ("hinge", {"margin": -1.0}, "loss hinge needs margin > 0, found -1.0"),
        (
            "jaccard",
            {"activation": "tanh"},
            "loss jaccard needs an activation with values in [0, 1], 'tanh' has [-1, 1]; use sigmoid or hardsigmoid",
        ),
    ],
)
def test_error_messages_of_wrong_options(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(AeframeError) as error:
        make(name, "real", **options)
    assert str(error.value) == message
