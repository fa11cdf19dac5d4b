from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch.distributions import Categorical, Gamma, Independent, Normal
from torch.nn import functional as F

from aeframe.errors import AeframeError
from aeframe.testing.noise import RowNoise

B = 7


def x_of(rows: Tensor) -> Tensor:
    """Return samples ``(B, 3, 5)`` that are functions of their ids."""
    return (rows.view(-1, 1, 1) * 15 + torch.arange(15).view(3, 5)).sin().abs() + 0.1


def rrelu(rows: Tensor) -> Tensor:
    return F.rrelu(-x_of(rows), training=True)


# One function for each way of torch to draw random numbers for every row.
DRAWS: dict[str, Callable[[Tensor], Tensor]] = {
    "randn": lambda rows: torch.randn(len(rows), 3),
    "randn_size": lambda rows: torch.randn((len(rows), 3), dtype=torch.float64),
    "rand": lambda rows: torch.rand(len(rows)),
    "randint": lambda rows: torch.randint(0, 1000, (len(rows), 4)),
    "randn_like": lambda rows: torch.randn_like(x_of(rows)),
    "rand_like": lambda rows: torch.rand_like(x_of(rows)),
    "randint_like": lambda rows: torch.randint_like(x_of(rows), 1000),
    "normal": lambda rows: torch.normal(x_of(rows), x_of(rows)),
    "normal_of_a_size": lambda rows: torch.normal(0.0, 1.0, (len(rows), 2)),
    "normal_with_one_scale": lambda rows: torch.normal(x_of(rows), torch.ones(5)),
    "bernoulli": lambda rows: torch.bernoulli(x_of(rows).clamp(0.2, 0.8)),
    "multinomial": lambda rows: torch.multinomial(x_of(rows).flatten(1), 4),
    "multinomial_of_one_distribution": lambda rows: torch.multinomial(torch.ones(50), len(rows), replacement=True),
    "poisson": lambda rows: torch.poisson(20 * x_of(rows)),
    "normal_in_place": lambda rows: torch.empty(len(rows), 3).normal_(),
    "uniform_in_place": lambda rows: torch.empty(len(rows), 3).uniform_(2, 3),
    "exponential_in_place": lambda rows: torch.empty(len(rows), 3).exponential_(),
    "bernoulli_in_place": lambda rows: torch.empty(len(rows), 30).bernoulli_(0.5),
    "into_a_tensor": lambda rows: torch.randn(len(rows), 3, out=torch.empty(len(rows), 3)),
    "dropout": lambda rows: F.dropout(x_of(rows), 0.5),
    "dropout_of_channels": lambda rows: F.dropout1d(x_of(rows).expand(-1, 3, 5).repeat(1, 5, 1), 0.5),
    "alpha_dropout": lambda rows: F.alpha_dropout(x_of(rows), 0.5, training=True),
    "a_layer": lambda rows: nn.Dropout(0.5)(x_of(rows)),
    "rrelu": rrelu,
    "gumbel_softmax": lambda rows: F.gumbel_softmax(x_of(rows), hard=True),
    "rsample": lambda rows: Independent(Normal(x_of(rows), x_of(rows)), 2).rsample(),
    "gamma": lambda rows: Gamma(x_of(rows), x_of(rows)).rsample(),
    "categorical": lambda rows: Categorical(logits=x_of(rows)).sample(),
}


def draw_rows(draw: Callable[[Tensor], Tensor], rows: Tensor, **options: int) -> Tensor:
    with RowNoise(rows, **options):
        return draw(rows)


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS.keys())
def test_a_row_has_the_same_noise_in_every_batch(draw: Callable[[Tensor], Tensor]) -> None:
    rows = torch.arange(B)
    once = draw_rows(draw, rows)
    assert len(once) == B
    assert torch.equal(draw_rows(draw, rows), once)
    assert torch.equal(draw_rows(draw, rows.repeat(2)), torch.cat([once, once]))
    order = torch.tensor([4, 0, 6, 1])
    assert torch.equal(draw_rows(draw, order), once[order])


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS.keys())
def test_rows_and_seeds_differ(draw: Callable[[Tensor], Tensor]) -> None:
    rows = torch.arange(B)
    once = draw_rows(draw, rows)
    assert not torch.equal(draw_rows(draw, rows, seed=1), once)
    # One sample with different ids: only the noise differs.
    same = torch.zeros(B, dtype=torch.long)
    with RowNoise(rows):
        result = draw(same)
    assert len(result.flatten(1).unique(dim=0) if result.ndim > 1 else result.unique()) > 1


def test_successive_draws_differ() -> None:
    with RowNoise(torch.arange(B)):
        first, second = torch.randn(B, 2), torch.randn(B, 2)
    assert not torch.equal(first, second)


def test_draws_have_their_distribution() -> None:
    rows = torch.arange(4000)
    normal = draw_rows(lambda rows: torch.randn(len(rows), 2), rows)
    # Five standard errors.
    assert normal.mean().abs() < 5 / 8000**0.5
    assert (normal.std() - 1).abs() < 5 / 16000**0.5
    assert torch.corrcoef(normal.T)[0, 1].abs() < 5 / 4000**0.5
    assert (draw_rows(lambda rows: torch.rand(len(rows)), rows).mean() - 0.5).abs() < 5 / (12 * 4000) ** 0.5
    counts = draw_rows(lambda rows: torch.multinomial(torch.tensor([0.2, 0.8]), len(rows), replacement=True), rows)
    assert (counts.float().mean() - 0.8).abs() < 5 * 0.4 / 4000**0.5


# Draws of 4,000 rows, and the distribution that scipy compares them with.
DISTRIBUTIONS: dict[str, tuple[Callable[[int], Tensor], Any]] = {
    "randn": (lambda num: torch.randn(num, 2), stats.norm()),
    "normal": (lambda num: torch.normal(torch.full((num, 2), 3.0), 2.0), stats.norm(3, 2)),
    "normal_": (lambda num: torch.empty(num, 2).normal_(-1, 0.5), stats.norm(-1, 0.5)),
    "rand": (lambda num: torch.rand(num, 2), stats.uniform()),
    "rand in double precision": (lambda num: torch.rand(num, 2, dtype=torch.float64), stats.uniform()),
    "uniform_": (lambda num: torch.empty(num, 2).uniform_(-2, 5), stats.uniform(-2, 7)),
    "exponential_": (lambda num: torch.empty(num, 2).exponential_(4), stats.expon(scale=1 / 4)),
}


@pytest.mark.parametrize(("draw", "distribution"), DISTRIBUTIONS.values(), ids=DISTRIBUTIONS)
def test_common_draws_have_their_distribution_over_rows_and_over_elements(
    draw: Callable[[int], Tensor], distribution: Any
) -> None:
    values = draw_rows(lambda rows: draw(len(rows)), torch.arange(4000))
    assert stats.kstest(values[:, 0].numpy(), distribution.cdf).pvalue > 1e-3
    assert values.unique().numel() > 7900
    # The elements of one row.
    wide = draw_rows(lambda rows: draw(4000 * len(rows)), torch.arange(1))
    assert stats.kstest(wide[:, 1].numpy(), distribution.cdf).pvalue > 1e-3


def test_uniform_numbers_of_half_precision_are_below_1() -> None:
    values = draw_rows(lambda rows: torch.rand(len(rows), 8, dtype=torch.bfloat16), torch.arange(1000))
    assert values.max() < 1
    assert values.min() >= 0


def test_probabilities_of_bernoulli_draws_are_those_of_each_element() -> None:
    p = torch.tensor([0.1, 0.9]).expand(4000, 2)
    shares = draw_rows(lambda _: torch.bernoulli(p), torch.arange(4000)).mean(0)
    assert torch.allclose(shares, p[0], atol=5 * 0.3 / 4000**0.5)


def test_attention_without_dropout_draws_nothing() -> None:
    q = x_of(torch.arange(B)).unsqueeze(1)
    noise = RowNoise(torch.arange(B))
    with noise:
        result = F.scaled_dot_product_attention(q, q, q)
        following = torch.randn(B, 2)
    assert torch.equal(result, F.scaled_dot_product_attention(q, q, q))
    assert torch.equal(following, draw_rows(lambda rows: torch.randn(len(rows), 2), torch.arange(B)))


def test_importance_samples_are_rows_with_a_draw_of_their_own() -> None:
    rows, k = torch.arange(B), 3

    def normal(rows: Tensor) -> Tensor:
        return torch.randn(k * len(rows), 2)

    def dropout(rows: Tensor) -> Tensor:
        return F.dropout(x_of(rows).repeat(k, 1, 1), 0.5)

    for function in (normal, dropout):
        once = draw_rows(function, rows, num_samples=k).unflatten(0, (k, B))
        twice = draw_rows(function, rows.repeat(2), num_samples=k).unflatten(0, (k, 2 * B))
        assert torch.equal(twice, torch.cat([once, once], dim=1))
        assert not torch.equal(once[0], once[1])
    assert len(draw_rows(normal, rows, num_samples=k).unique(dim=0)) == k * B


def test_a_draw_without_a_batch_dimension_depends_on_the_seed_only() -> None:
    def without_batch(rows: Tensor) -> Tensor:
        return torch.cat([torch.randperm(100), torch.randint(0, 100, (30,))])

    assert torch.equal(draw_rows(without_batch, torch.arange(B)), draw_rows(without_batch, torch.arange(11)))
    assert not torch.equal(draw_rows(without_batch, torch.arange(B)), draw_rows(without_batch, torch.arange(B), seed=1))


def test_generators_of_torch_are_restored() -> None:
    torch.manual_seed(5)
    expected = torch.randn(4)
    torch.manual_seed(5)
    own = torch.Generator().manual_seed(5)
    with RowNoise(torch.arange(B)):
        torch.randn(B)
        assert torch.equal(torch.randn(B, generator=own), torch.randn(B, generator=torch.Generator().manual_seed(5)))
    assert torch.equal(torch.randn(4), expected)


def test_an_error_inside_restores_the_generators() -> None:
    torch.manual_seed(5)
    expected = torch.randn(4)
    torch.manual_seed(5)
    with pytest.raises(ZeroDivisionError), RowNoise(torch.arange(B)):
        assert 1 / torch.zeros(B).bernoulli_(0.0).sum().item()
    assert torch.equal(torch.randn(4), expected)


def test_gradients_are_unchanged() -> None:
    rows = torch.arange(B)
    mean, scale = x_of(rows).requires_grad_(), (x_of(rows) + 1).requires_grad_()
    with RowNoise(rows):
        z = F.dropout(Normal(mean, scale).rsample(), 0.5)
    z.sum().backward()
    with RowNoise(rows):
        noise = torch.normal(torch.zeros(B, 3, 5), torch.ones(B, 3, 5))
        dropout_mask = F.dropout(torch.ones(B, 3, 5), 0.5)
    assert mean.grad is not None
    assert torch.equal(mean.grad, dropout_mask)
    torch.testing.assert_close(scale.grad, dropout_mask * noise)


def test_a_model_on_the_meta_device_draws_nothing() -> None:
    with RowNoise(torch.arange(B)):
        assert torch.randn(B, 2, device="meta").is_meta
        first = torch.randn(B, 2)
    assert torch.equal(first, draw_rows(lambda rows: torch.randn(len(rows), 2), torch.arange(B)))


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (torch.rand(3), "torch.float32 (3,)"),
        (torch.zeros(2, 2, dtype=torch.long), "torch.int64 (2, 2)"),
        (torch.zeros(0, dtype=torch.long), "torch.int64 (0,)"),
        (torch.ones(2, dtype=torch.bool), "torch.bool (2,)"),
    ],
)
def test_rows_must_be_integers(rows: Tensor, found: str) -> None:
    with pytest.raises(AeframeError) as error:
        RowNoise(rows)
    assert str(error.value) == (
        f"RowNoise requires rows as a vector (B,) of integers, found {found}; "
        "pass the id of each sample, such as torch.arange(B)"
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_row_has_the_same_noise_in_every_batch_on_a_gpu() -> None:
    rows = torch.arange(B)

    def draw(rows: Tensor, device: str = "cuda") -> Tensor:
        weights = x_of(rows).flatten(1).to(device)
        chosen = torch.multinomial(weights, 4) + torch.randint(0, 9, (len(rows), 4), device=device)
        return torch.cat([torch.randn(len(rows), 50, device=device), chosen], 1)

    once = draw_rows(draw, rows)
    assert torch.equal(once.cpu(), draw_rows(lambda rows: draw(rows, "cpu"), rows))
    assert torch.equal(draw_rows(draw, rows.repeat(2)), torch.cat([once, once]))
