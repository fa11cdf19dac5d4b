"""How hard each term pulls: gradients by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from aeframe.batch import Terms
from aeframe.training.gradients import gradient_norms


def test_each_term_has_the_length_of_its_own_weighted_gradient() -> None:
    a, b = nn.Parameter(torch.tensor([1.0, 2.0])), nn.Parameter(torch.tensor(3.0))
    terms = Terms()
    # d/da of the mean of (3 a_1, 4 a_2) is (1.5, 2), whose length is 2.5.
    terms.add("first", torch.tensor([3.0, 4.0]) * a, 2.0)
    terms.add("second", b * torch.ones(2), 0.5)
    terms.add("idle", b * torch.ones(2), 0.0)
    terms.add("constant", torch.ones(2))
    found = gradient_norms(terms, [a, b])
    assert {name: float(norm) for name, norm in found.items()} == pytest.approx({"first": 5.0, "second": 0.5})
    assert a.grad is None
    # The graph is still there for the step.
    terms.total().mean().backward()
    assert a.grad is not None
