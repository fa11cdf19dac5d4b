"""Gradient norms of loss terms, worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from aeframe.training.gradient_norms import gradient_norms
from aeframe.types import LossTerms


def test_each_term_has_the_norm_of_its_own_weighted_gradient() -> None:
    a, b = nn.Parameter(torch.tensor([1.0, 2.0])), nn.Parameter(torch.tensor(3.0))
    terms = LossTerms()
    # d/da of the mean of (3 a_1, 4 a_2) is (1.5, 2), whose norm is 2.5.
    terms.add("first", torch.tensor([3.0, 4.0]) * a, 2.0)
    terms.add("second", b * torch.ones(2), 0.5)
    terms.add("weight_of_zero", b * torch.ones(2), 0.0)
    terms.add("constant", torch.ones(2))
    found = gradient_norms(terms, [a, b])
    assert {name: float(norm) for name, norm in found.items()} == pytest.approx({"first": 5.0, "second": 0.5})
    assert a.grad is None
    # The graph is kept for the step.
    terms.total().mean().backward()
    assert a.grad is not None


def test_a_term_of_other_parameters_has_no_norm() -> None:
    a, b = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    assert gradient_norms(LossTerms().add("of_b", b), [a]) == {}
    # Several parameters make one norm: (0.5, 0.5) of each.
    found = gradient_norms(LossTerms().add("of_both", a + b), [a, b])
    assert float(found["of_both"]) == pytest.approx(1.0)
