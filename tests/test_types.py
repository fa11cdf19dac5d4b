"""What flows between the rooms: domains, batches, terms, the clock."""

from __future__ import annotations

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Normal

from aeframe.errors import AeframeError
from aeframe.tensors import per_sample
from aeframe.types import Batch, DataSpec, Domain, ForwardOutput, Latent, LossTerms, TrainingProgress

DOMAINS = ["real", "unit", "signed", "binary", "count", "category(4)", "simplex"]

# -- domain ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", DOMAINS)
def test_a_domain_is_read_and_written_alike(text: str) -> None:
    assert str(Domain.parse(text)) == text
    assert Domain.parse(f" {text} ") == Domain.parse(text)


def test_a_category_knows_its_classes() -> None:
    assert Domain.parse("category(10)") == Domain("category", 10)
    assert Domain.parse("unit") == Domain("unit", None)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("reel", ", did you mean 'real'?"),
        ("category", ", did you mean 'category(n)'?"),
        ("binary(2)", ", did you mean 'binary'?"),
        ("category(many)", ", did you mean 'category(n)'?"),
        ("0..1", ""),
    ],
)
def test_an_unknown_domain_is_answered_with_the_nearest(text: str, hint: str) -> None:
    with pytest.raises(AeframeError) as error:
        Domain.parse(text)
    assert str(error.value) == (
        f"unknown domain '{text}'{hint}; domains are real, unit, signed, binary, count, simplex, category(n)"
    )


def test_bounds() -> None:
    assert [Domain.parse(text).bounds for text in DOMAINS] == [
        (-math.inf, math.inf),
        (0.0, 1.0),
        (-1.0, 1.0),
        (0.0, 1.0),
        (0.0, math.inf),
        (0.0, 3.0),
        (0.0, 1.0),
    ]


# Rows that belong to a domain, and rows with one value that does not.
ROWS: dict[str, tuple[list[list[float]], list[list[float]]]] = {
    "real": ([[-1e30, 1e30], [0, 0.5]], []),
    "unit": ([[0, 1], [0.5, 0.25]], [[0, 1.001], [-0.001, 0]]),
    "signed": ([[-1, 1], [0, 0.5]], [[0, 1.1], [-1.1, 0]]),
    "binary": ([[0, 1], [1, 1]], [[0, 0.5], [2, 0], [0, -1]]),
    "count": ([[0, 7], [1e6, 1]], [[0.5, 1], [-1, 2]]),
    "category(4)": ([[0, 3], [1, 2]], [[4, 0], [-1, 0], [1.5, 1]]),
    "simplex": ([[0.3, 0.7], [1, 0]], [[0.3, 0.6], [1.2, -0.2], [0.6, 0.6]]),
}


@pytest.mark.parametrize("text", DOMAINS)
def test_violations_name_the_rows_that_do_not_belong(text: str) -> None:
    good, bad = ROWS[text]
    bad = [*bad, [0.0, math.nan], [math.inf, 0.0], [0.0, -math.inf]]
    domain = Domain.parse(text)
    found = domain.violations(torch.tensor([*good, *bad, *good]))
    assert found.tolist() == [False] * len(good) + [True] * len(bad) + [False] * len(good)


def test_violations_of_integers_and_of_many_dimensions() -> None:
    x = torch.zeros(3, 2, 4, 4, dtype=torch.long)
    x[1, 1, 3, 3] = 5
    assert Domain.parse("category(5)").violations(x).tolist() == [False, True, False]
    assert Domain.parse("count").violations(x - 1).tolist() == [True, True, True]
    assert Domain.parse("binary").violations(x > 0).tolist() == [False, False, False]


def test_violations_of_samples_that_are_single_numbers() -> None:
    assert Domain.parse("unit").violations(torch.tensor([0.5, 2.0])).tolist() == [False, True]


def test_simplex_is_along_the_last_axis() -> None:
    x = torch.full((2, 3, 4), 0.25)
    x[1, 2] = torch.tensor([0.5, 0.5, 0.5, 0.0])
    assert Domain.parse("simplex").violations(x).tolist() == [False, True]


# -- batch -------------------------------------------------------------------------------------------------------


def whole() -> Batch:
    return Batch(
        torch.arange(12.0).reshape(4, 3),
        mask=torch.ones(4, 3, dtype=torch.bool),
        condition=torch.arange(8.0).reshape(4, 2),
        index=torch.arange(4),
        extras={"label": torch.tensor([3, 2, 1, 0])},
    )


def test_rows_take_every_tensor() -> None:
    some = whole().rows(torch.tensor([2, 0]))
    assert len(some) == 2
    assert some.x.tolist() == [[6, 7, 8], [0, 1, 2]]
    assert some.mask is not None
    assert some.mask.shape == (2, 3)
    assert some.condition is not None
    assert some.condition.tolist() == [[4, 5], [0, 1]]
    assert some.index is not None
    assert some.index.tolist() == [2, 0]
    assert some.extras["label"].tolist() == [1, 3]
    assert whole().rows(slice(1, 3)).extras["label"].tolist() == [2, 1]


def test_rows_of_a_bare_batch_stay_bare() -> None:
    some = Batch(torch.zeros(4, 3)).rows(slice(0, 2))
    assert (some.mask, some.condition, some.index, some.extras) == (None, None, None, {})


def test_map_reaches_every_tensor_and_leaves_the_batch_alone() -> None:
    batch = whole()
    mapped = batch.map(lambda t: t[:1])
    assert mapped.mask is not None
    assert mapped.condition is not None
    assert mapped.index is not None
    assert [len(t) for t in (mapped.x, mapped.mask, mapped.condition, mapped.index, mapped.extras["label"])] == [1] * 5
    assert len(batch) == 4


def test_to_moves_every_tensor_and_is_itself_where_it_is() -> None:
    batch = whole()
    assert batch.to(torch.device("cpu")) is batch
    moved = batch.to(torch.device("meta"))
    assert moved.mask is not None
    assert moved.condition is not None
    assert moved.index is not None
    tensors = [moved.x, moved.mask, moved.condition, moved.index, moved.extras["label"]]
    assert {t.device.type for t in tensors} == {"meta"}


def test_with_x_changes_x_alone() -> None:
    batch, x = whole(), torch.zeros(4, 3)
    changed = batch.with_x(x)
    assert changed.x is x
    assert changed.mask is batch.mask
    assert changed.extras is batch.extras
    assert batch.x is not x


def test_detach_cuts_everything_from_the_graph() -> None:
    x = torch.ones(2, 3, requires_grad=True)
    latent = Latent(2 * x, 3 * x, posterior=Normal(x, 1.0), codes=torch.ones(2, 1), terms={"size": x.sum(1)})
    batch = Batch(torch.zeros(2, 3))
    cut = ForwardOutput(batch, batch, latent, 4 * x, (5 * x).sum(1)).detach()
    assert not any(t.requires_grad for t in (cut.latent.z, cut.latent.mean, cut.output, cut.reconstruction))
    assert cut.latent.posterior is None
    assert cut.latent.terms == {}
    assert cut.latent.codes is latent.codes
    assert cut.batch is batch


# -- terms -------------------------------------------------------------------------------------------------------


def test_total_is_the_weighted_sum() -> None:
    terms = LossTerms().add("a", torch.tensor([1.0, 2.0])).add("b", torch.tensor([10.0, 20.0]), 0.5)
    assert terms.total().tolist() == [6.0, 12.0]
    assert terms.raw["b"].tolist() == [10.0, 20.0]
    assert terms.weights == {"a": 1.0, "b": 0.5}


def test_a_weight_of_zero_keeps_even_an_infinite_term_out() -> None:
    value = torch.tensor([1.0], requires_grad=True)
    terms = LossTerms().add("a", 2 * value).add("b", value / 0, 0.0)
    assert terms.total().tolist() == [2.0]
    assert torch.autograd.grad(terms.total(), value)[0].tolist() == [2.0]


def test_two_terms_of_one_name_are_refused() -> None:
    with pytest.raises(AeframeError) as error:
        LossTerms().add("kl", torch.zeros(1)).add("kl", torch.zeros(1))
    assert str(error.value) == "two terms are named 'kl'; give the second one a name of its own"


@pytest.mark.parametrize("terms", [LossTerms(), LossTerms().add("kl", torch.zeros(1), 0.0)])
def test_nothing_to_minimise_is_refused(terms: LossTerms) -> None:
    with pytest.raises(AeframeError) as error:
        terms.total()
    assert str(error.value) == "every term has weight 0, so there is nothing to minimise; give one a weight"


# -- clock -------------------------------------------------------------------------------------------------------


def test_a_tick_counts_a_batch() -> None:
    progress = TrainingProgress(planned=4)
    progress.advance()
    assert (progress.batch, progress.batch_in_epoch, progress.epoch) == (1, 1, 0)
    assert progress.fraction == 0.25


def test_progress_ends_at_one_and_is_zero_while_the_plan_is_unknown() -> None:
    assert TrainingProgress(batch=9, planned=4).fraction == 1.0
    assert TrainingProgress(batch=9).fraction == 0.0


def test_the_state_of_a_clock_comes_back_but_the_plan_is_the_present_one_s() -> None:
    state = TrainingProgress(batch=7, epoch=2, batch_in_epoch=1, planned=10).state_dict()
    assert state == {"batch": 7, "epoch": 2, "batch_in_epoch": 1, "planned": 10, "rows": 0}
    progress = TrainingProgress(planned=20)
    progress.load_state_dict(state)
    assert progress == TrainingProgress(batch=7, epoch=2, batch_in_epoch=1, planned=20)


# -- per sample --------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(shape=st.lists(st.integers(1, 4), min_size=0, max_size=3), k=st.integers(1, 3), b=st.integers(1, 4))
def test_per_sample_sums_all_but_the_leading_dimensions(shape: list[int], k: int, b: int) -> None:
    value = torch.arange(float(k * b * math.prod(shape))).reshape(k, b, *shape)
    expected = value.reshape(k, b, -1).sum(-1)
    torch.testing.assert_close(per_sample(value, 2), expected)
    torch.testing.assert_close(per_sample(value[0]), expected[0])


@pytest.mark.parametrize(
    "spec",
    [
        DataSpec((1, 8, 8), Domain("unit")),
        DataSpec((5,), Domain("category", 4), condition=3, extras={"library": (), "partner": (5,)}),
        DataSpec((5,), Domain("real"), views={"rna": (3, Domain("count")), "protein": (2, Domain("real"))}),
        DataSpec((1, 800), Domain("signed"), rate=8000),
    ],
)
def test_a_spec_goes_through_a_file_and_back(spec: DataSpec) -> None:
    plain = json.loads(json.dumps(spec.plain()))
    assert DataSpec.of_plain(plain) == spec
    assert [name in plain for name in ("extras", "views", "rate")] == [
        bool(spec.extras), bool(spec.views), spec.rate is not None,
    ]  # fmt: skip
