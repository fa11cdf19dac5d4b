"""Elements of different widths in one vector: against loops over elements."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from aeframe.errors import AeframeError
from aeframe.parts.losses.mixed import Mixed
from aeframe.parts.packed import Packing
from aeframe.types import Batch, Domain

CLASSES = (0, 5, 2, 0, 1, 0, 3)
DOMAIN = Domain.mixed(CLASSES)


def sample(num: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    columns = [
        torch.randint(n, (num,), generator=generator).float() if n else torch.randn(num, generator=generator)
        for n in CLASSES
    ]
    return torch.stack(columns, 1)


def slices(packed: Tensor) -> list[Tensor]:
    """Return the part of the vector of each element."""
    return list(packed.split([max(1, n) for n in CLASSES], -1))


def test_one_hot_equals_a_loop_over_elements() -> None:
    x = sample(4)
    mask = torch.rand(4, len(CLASSES), generator=torch.Generator().manual_seed(1)) < 0.7
    expected = torch.cat(
        [
            (F.one_hot(x[:, i].long(), n).float() if n else x[:, i : i + 1]) * mask[:, i : i + 1]
            for i, n in enumerate(CLASSES)
        ],
        1,
    )
    assert torch.equal(Packing(CLASSES).one_hot(x.masked_fill(~mask, 0), mask), expected)


@pytest.mark.parametrize("lead", [(), (3,)])
def test_cross_entropy_equals_a_loop_over_elements(lead: tuple[int, ...]) -> None:
    x, packing = sample(4), Packing(CLASSES)
    # Logits far apart: those of one element must not decide the precision of another.
    packed = 40 * torch.randn(*lead, 4, packing.size, generator=torch.Generator().manual_seed(2)).double()
    found = packing.cross_entropy(packed, x)
    expected = [
        -part.log_softmax(-1).gather(-1, x[:, i : i + 1].long().expand(*lead, 4, 1))[..., 0]
        for i, (n, part) in enumerate(zip(CLASSES, slices(packed), strict=True))
        if n
    ]
    torch.testing.assert_close(found, torch.stack(expected, -1))


def test_the_gradient_is_that_of_the_softmax() -> None:
    packing, x = Packing(CLASSES), sample(3)
    packed = torch.randn(3, packing.size, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda packed: packing.cross_entropy(packed, x), (packed,))


def test_the_most_probable_class_is_the_first_of_equal_ones() -> None:
    packing = Packing(CLASSES)
    packed = torch.randint(0, 3, (50, packing.size), generator=torch.Generator().manual_seed(3)).float()
    expected = [part.argmax(-1) for n, part in zip(CLASSES, slices(packed), strict=True) if n]
    assert torch.equal(packing.most_probable(packed), torch.stack(expected, -1))


def test_the_loss_is_the_sum_of_the_likelihoods_of_all_elements() -> None:
    loss, x = Mixed(DOMAIN, scale=0.5), sample(4)
    output = torch.randn(4, *loss.output_shape((len(CLASSES),)), generator=torch.Generator().manual_seed(4))
    normal = torch.distributions.Normal(0.0, 0.5)
    expected = torch.zeros(4)
    for i, (n, part) in enumerate(zip(CLASSES, slices(output[:, 0]), strict=True)):
        if n:
            expected += F.cross_entropy(part, x[:, i].long(), reduction="none")
        else:
            expected -= normal.log_prob(x[:, i] - part[:, 0])
    torch.testing.assert_close(loss(output, Batch(x)), expected)
    torch.testing.assert_close(loss(output.expand(2, -1, -1, -1), Batch(x))[1], expected)


def test_masked_elements_are_left_out() -> None:
    loss, x = Mixed(DOMAIN), sample(4)
    output = torch.randn(4, 1, loss.packing.size)
    mask = torch.ones(4, len(CLASSES), dtype=torch.bool)
    mask[:, 0] = mask[1, 1] = False
    whole = loss.elements(output, x)
    torch.testing.assert_close(loss(output, Batch(x.masked_fill(~mask, torch.nan), mask=mask)), (whole * mask).sum(1))


def test_draws_have_the_moments_of_the_likelihood() -> None:
    loss = Mixed(DOMAIN, scale=0.5)
    output = torch.randn(1, 1, loss.packing.size, generator=torch.Generator().manual_seed(5)).expand(20_000, -1, -1)
    torch.manual_seed(6)
    x = loss.sample(output)
    assert not DOMAIN.violations(x).any()
    for i, (n, part) in enumerate(zip(CLASSES, slices(output[0, 0]), strict=True)):
        if n:
            shares = torch.bincount(x[:, i].long(), minlength=n) / len(x)
            assert (shares - part.softmax(-1)).abs().max() < 4 * math.sqrt(0.25 / len(x))
        else:
            assert abs(float(x[:, i].mean() - part)) < 4 * 0.5 / math.sqrt(len(x))
            assert abs(float(x[:, i].std()) - 0.5) < 0.02


def test_a_learned_scale_begins_at_its_option_and_stays_above_its_bound() -> None:
    loss = Mixed(DOMAIN, scale=0.3, min_scale=0.1)
    assert loss.raw_scale is not None
    torch.testing.assert_close(loss.scales(), torch.full((3,), 0.3))
    with torch.no_grad():
        loss.raw_scale.fill_(-50)
    torch.testing.assert_close(loss.scales(), torch.full((3,), 0.1))


@pytest.mark.parametrize(
    ("text", "classes"), [("mixed(0,5,2)", (0, 5, 2)), ("mixed(0*3,5)", (0, 0, 0, 5)), ("mixed(4*2)", (4, 4))]
)
def test_a_mixed_domain_is_written_with_its_classes(text: str, classes: tuple[int, ...]) -> None:
    domain = Domain.parse(text)
    assert domain.element_classes == classes
    assert str(domain) == text
    assert domain.with_condition(2).element_classes == (*classes, 0, 0)


@pytest.mark.parametrize(
    ("text", "groups", "numbers"),
    [
        ("mixed(0+5,2)", (2, 1), [0, 0, 1]),
        ("mixed(0+11*2,4,0+0+3)", (2, 2, 1, 3), [0, 0, 1, 1, 2, 3, 3, 3]),
        ("mixed(0*2,3)", (), [0, 1, 2]),
    ],
)
def test_a_mixed_domain_is_written_with_its_groups(text: str, groups: tuple[int, ...], numbers: list[int]) -> None:
    domain = Domain.parse(text)
    assert domain.element_groups == groups
    assert str(domain) == text
    assert domain.group_numbers((len(numbers),)).tolist() == numbers
    assert domain.with_condition(2).group_numbers((len(numbers) + 2,)).tolist() == [
        *numbers,
        numbers[-1] + 1,
        numbers[-1] + 2,
    ]
    # Groups of one element are those of a domain without groups.
    assert Domain.mixed((0, 3), (1, 1)) == Domain.mixed((0, 3))
    assert Domain("unit").group_numbers((2, 3)).tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("groups", [(1,), (2, 0), (2, 2)])
def test_groups_with_another_number_of_elements_are_an_error(groups: tuple[int, ...]) -> None:
    with pytest.raises(AeframeError) as error:
        Domain.mixed((0, 3), groups)
    assert str(error.value) == (
        f"domain mixed needs groups of at least one element, 2 elements in all, found {list(groups)}"
    )


def test_values_outside_of_a_mixed_domain_are_found() -> None:
    domain = Domain.mixed((0, 3))
    x = torch.tensor([[0.5, 2.0], [0.5, 3.0], [0.5, 1.5], [torch.nan, 1.0], [-9.0, 0.0], [0.0, -1.0]])
    assert domain.violations(x).tolist() == [False, True, True, True, False, True]
