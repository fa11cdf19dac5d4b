"""Random numbers of a batch that several devices share equal those of one device."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch import distributions as D
from torch.nn import functional as F

from aeframe import batch_noise
from aeframe.batch_noise import BatchNoise, common_draws
from aeframe.devices import LocalRows

TOTAL = 23
X = torch.linspace(-1, 1, TOTAL * 6).reshape(TOTAL, 6)

# Each draws for the rows of x (n, 6).
DRAWS: dict[str, Callable[[Tensor], Tensor]] = {
    "randn, integers": lambda x: torch.randn(len(x), 6),
    "randn, tuple": lambda x: torch.randn((len(x), 3)),
    "rand, size=": lambda x: torch.rand(size=(len(x), 3)),
    "randint": lambda x: torch.randint(1, 9, (len(x), 2)),
    "randint to": lambda x: torch.randint(9, (len(x),)),
    "normal of a size": lambda x: torch.normal(1.0, 2.0, (len(x), 2)),
    "randn_like": torch.randn_like,
    "rand_like, input=": lambda x: torch.rand_like(input=x),
    "normal_": lambda x: torch.empty(len(x), 40).normal_(),
    "bernoulli_ of probabilities": lambda x: torch.empty_like(x).bernoulli_(x.abs()),
    "channels last": lambda x: torch.empty(len(x), 4, 3, 3).to(memory_format=torch.channels_last).uniform_(),
    "transposed": lambda x: torch.rand_like(torch.empty(7, len(x)).T),
    "positions in the batch": lambda x: torch.randn(len(x) * 5, 2),
    "Normal": lambda x: D.Normal(x, 1 + x.abs()).rsample(),
    "Laplace": lambda x: D.Laplace(x, 1.0).rsample(),
    "Exponential": lambda x: D.Exponential(1 + x.abs()).rsample(),
    "Bernoulli": lambda x: D.Bernoulli(logits=x).sample(),
    "Categorical": lambda x: D.Categorical(logits=x).sample(),
    "RelaxedOneHotCategorical": lambda x: D.RelaxedOneHotCategorical(torch.tensor(1.0), logits=x).rsample(),
    "gumbel_softmax": F.gumbel_softmax,
    "bernoulli": lambda x: torch.bernoulli(x.abs()),
    "multinomial by row": lambda x: x.softmax(1).multinomial(2),
    "multinomial for all rows": lambda x: torch.multinomial(torch.ones(5), len(x), replacement=True),
    "dropout": lambda x: F.dropout(x, 0.5),
    "dropout in place": lambda x: F.dropout(x.clone(), 0.5, True, True),
    "dropout of channels": lambda x: F.dropout1d(x[:, :, None].expand(-1, -1, 4).clone(), 0.5),
    "nn.Dropout": nn.Dropout(0.3),
    "alpha_dropout": lambda x: F.alpha_dropout(x, 0.3, training=True),
    "no row": lambda x: torch.randn(17).expand(len(x), -1),
    "no row, but of a size like it": lambda x: common(x).expand(len(x), -1),
}


def common(x: Tensor) -> Tensor:
    with common_draws():
        return torch.randn(12)[:2]


def drawn(draw: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    torch.manual_seed(0)
    # The second draw is equal only if the first advances the generator alike.
    return torch.cat([draw(x).reshape(len(x), -1).double() for _ in range(2)], 1)


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_devices_draw_the_numbers_of_one(draw: Callable[[Tensor], Tensor]) -> None:
    expected = drawn(draw, X)
    for world in (2, 4):
        parts = []
        for rank in range(world):
            rows = LocalRows(TOTAL, rank, world, least=2)
            with BatchNoise(rows):
                parts.append(drawn(draw, X[rows.start : rows.stop]))
        torch.testing.assert_close(torch.cat(parts), expected)


def test_importance_samples_belong_to_the_same_sample() -> None:
    torch.manual_seed(0)
    expected = torch.randn(3 * TOTAL, 2).unflatten(0, (3, TOTAL))
    for rank in range(2):
        rows = LocalRows(TOTAL, rank, 2)
        torch.manual_seed(0)
        with BatchNoise(rows, num_samples=3):
            part = torch.randn(3 * rows.num, 2).unflatten(0, (3, rows.num))
        torch.testing.assert_close(part, expected[:, rows.start : rows.stop])


def test_a_device_without_rows_draws_those_of_the_rows_that_it_repeats() -> None:
    torch.manual_seed(0)
    expected = torch.randn(3, 2)
    rows = LocalRows(3, 1, 2, least=2)
    torch.manual_seed(0)
    with BatchNoise(rows):
        assert torch.equal(torch.randn(2, 2), expected[:2])
    assert rows.weight == 0


def test_gradients_of_a_draw_reach_this_device_only() -> None:
    x = X[:11].clone().requires_grad_()
    with BatchNoise(LocalRows(TOTAL, 0, 2)):
        F.gumbel_softmax(x).square().sum().backward()
    assert x.grad is not None
    assert bool((x.grad != 0).any(1).all())


def test_draws_with_a_generator_are_unchanged() -> None:
    expected = torch.randn(11, 2, generator=torch.Generator().manual_seed(1))
    with BatchNoise(LocalRows(TOTAL, 0, 2)):
        assert torch.equal(torch.randn(11, 2, generator=torch.Generator().manual_seed(1)), expected)


def test_each_device_has_its_own_dropout_within_fused_networks_and_then_draws_alike() -> None:
    network = nn.LSTM(4, 4, 2, dropout=0.5, batch_first=True)
    outputs, later = [], []
    for rank in range(2):
        torch.manual_seed(0)
        with BatchNoise(LocalRows(8, rank, 2)):
            outputs.append(network(torch.ones(4, 3, 4))[0])
            later.append(torch.randn(3))
    assert not torch.allclose(*outputs)
    assert torch.equal(*later)


def test_each_device_draws_its_own_numbers_where_those_of_all_rows_need_too_much_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batch_noise, "_MAX_ELEMENTS", 15)
    draws, later = [], []
    for rank in range(2):
        torch.manual_seed(0)
        with BatchNoise(LocalRows(8, rank, 2)):
            draws.append([torch.randn(4, 2), torch.randn_like(X[:4]), torch.empty(4, 2).normal_(), F.dropout(X[:4])])
            later.append(torch.randn(4))
    assert not any(torch.equal(*pair) for pair in zip(*draws, strict=True))
    torch.manual_seed(0)
    assert torch.equal(torch.cat(later), torch.randn(8))


def test_torch_has_the_private_names_that_are_used() -> None:
    # `torch.distributions` of torch 2.13 calls these.
    assert callable(torch._standard_gamma)
    assert callable(torch._sample_dirichlet)
