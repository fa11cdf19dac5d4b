"""Loss terms and their weighted sum."""

from __future__ import annotations

import pytest
import torch

from aeframe.errors import AeframeError
from aeframe.types import LossTerms


def test_total_is_the_weighted_sum() -> None:
    terms = LossTerms().add("a", torch.tensor([1.0, 2.0])).add("b", torch.tensor([10.0, 20.0]), 0.5)
    assert terms.total().tolist() == [6.0, 12.0]
    assert terms.raw["b"].tolist() == [10.0, 20.0]
    assert terms.weights == {"a": 1.0, "b": 0.5}


def test_a_term_of_weight_zero_is_left_out_even_if_infinite() -> None:
    value = torch.tensor([1.0], requires_grad=True)
    terms = LossTerms().add("a", 2 * value).add("b", value / 0, 0.0)
    assert terms.total().tolist() == [2.0]
    assert torch.autograd.grad(terms.total(), value)[0].tolist() == [2.0]


def test_two_terms_of_one_name_are_refused() -> None:
    with pytest.raises(AeframeError) as error:
        LossTerms().add("kl", torch.zeros(1)).add("kl", torch.zeros(1))
    assert str(error.value) == "two terms are named 'kl'; rename one of them"


@pytest.mark.parametrize("terms", [LossTerms(), LossTerms().add("kl", torch.zeros(1), 0.0)])
def test_nothing_to_minimise_is_refused(terms: LossTerms) -> None:
    with pytest.raises(AeframeError) as error:
        terms.total()
    assert str(error.value) == "every term has weight 0, so there is nothing to minimise; set a weight above 0"
