"""Domains and specifications of data."""

from __future__ import annotations

import json
import math

import pytest
import torch

from aeframe.errors import AeframeError
from aeframe.types import DataSpec, Domain, spec

DOMAINS = ["real", "unit", "signed", "binary", "count", "category(4)", "simplex"]


@pytest.mark.parametrize("text", DOMAINS)
def test_a_parsed_domain_is_written_as_it_was(text: str) -> None:
    assert str(Domain.parse(text)) == text
    assert Domain.parse(f" {text} ") == Domain.parse(text)


def test_only_a_category_has_classes() -> None:
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
def test_an_unknown_domain_is_an_error_with_the_nearest_name(text: str, hint: str) -> None:
    with pytest.raises(AeframeError) as error:
        Domain.parse(text)
    assert str(error.value) == (
        f"unknown domain '{text}'{hint}; domains are real, unit, signed, binary, count, simplex, category(n), "
        "mixed(n,m,...)"
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


# Rows within each domain, and rows with one value outside.
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
def test_violations_are_the_rows_outside_the_domain(text: str) -> None:
    inside, outside = ROWS[text]
    outside = [*outside, [0.0, math.nan], [math.inf, 0.0], [0.0, -math.inf]]
    domain = Domain.parse(text)
    violations = domain.violations(torch.tensor([*inside, *outside, *inside]))
    assert violations.tolist() == [False] * len(inside) + [True] * len(outside) + [False] * len(inside)


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


@pytest.mark.parametrize(
    "spec",
    [
        DataSpec((1, 8, 8), Domain("unit")),
        DataSpec((5,), Domain("category", 4), condition=3, extras={"library": (), "partner": (5,)}),
        DataSpec((5,), Domain("real"), views={"rna": (3, Domain("count")), "protein": (2, Domain("real"))}),
        DataSpec((1, 800), Domain("signed"), rate=8000),
    ],
)
def test_a_spec_survives_json(spec: DataSpec) -> None:
    loaded = json.loads(json.dumps(spec.to_dict()))
    assert DataSpec.from_dict(loaded) == spec
    assert [name in loaded for name in ("extras", "views", "rate")] == [
        bool(spec.extras), bool(spec.views), spec.rate is not None,
    ]  # fmt: skip


def test_values_are_checked_in_blocks_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.rand(50, 3)
    x[7, 1], x[30, 0] = 2.0, float("nan")
    whole = Domain("unit").violations(x)
    monkeypatch.setattr(spec, "_NUM_CHECKED", 10)
    assert torch.equal(Domain("unit").violations(x), whole)
    assert whole.nonzero().flatten().tolist() == [7, 30]


def test_the_summary_of_a_mixed_domain_counts_its_elements() -> None:
    assert Domain.mixed([0, 5, 2, 0, 3]).summary == "mixed: 2 real, 3 with classes"
    assert Domain("category", 4).summary == "category(4)"
