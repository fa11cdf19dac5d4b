from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from aeframe.errors import AeframeError
from aeframe.experiment.tuning.space import Choices, Range, read_space
from aeframe.experiment.tuning.study import distributions

SPACE = """
latent.dim: {low: 2, high: 64, log: true}
optimizer.lr: {low: 1e-4, high: 1e-2, log: true}
objective.beta: {low: 0.5, high: 2, step: 0.25}
encoder.hidden: [[64], [256, 128]]
model: [vae, beta_vae]
"""


def error_of(entry: Any, key: str = "latent.dim") -> str:
    with pytest.raises(AeframeError) as error:
        read_space({key: entry})
    return str(error.value)


def test_a_file_has_ranges_and_choices(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(SPACE, encoding="utf-8")
    assert read_space(file).settings == {
        "latent.dim": Range(2, 64, log=True),
        "optimizer.lr": Range(1e-4, 1e-2, log=True),
        "objective.beta": Range(0.5, 2, step=0.25),
        "encoder.hidden": Choices(([64], [256, 128])),
        "model": Choices(("vae", "beta_vae")),
    }


def test_points_have_the_values_and_trials_their_labels() -> None:
    space = read_space({"encoder.hidden": [[64], [8, 4]], "latent.dim": {"low": 2, "high": 4}})
    point = {"encoder.hidden": [8, 4], "latent.dim": 3}
    assert space.params(point) == {"encoder.hidden": "[8, 4]", "latent.dim": 3}
    assert space.point(space.params(point)) == point


def test_corners_have_every_choice_and_both_ends_of_ranges() -> None:
    space = read_space({"model": ["ae", "vae", "rae_l2"], "latent.dim": {"low": 2, "high": 4}})
    assert space.corners() == [
        {"model": "ae", "latent.dim": 2},
        {"model": "vae", "latent.dim": 2},
        {"model": "rae_l2", "latent.dim": 2},
        {"model": "ae", "latent.dim": 4},
    ]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            3,
            "expects {low: ..., high: ...} or a list of choices, found 3; set a single value on the command line: "
            "latent.dim=...",
        ),
        ([8], "expects a list of at least two choices, found [8]; add one, or leave it out"),
        ([8, 8.0], "has the choice 8.0 twice; remove one"),
        (
            [1, math.inf],
            "has the choice inf, expected finite numbers, texts, true, false, null, and lists or mappings of these; "
            "replace it",
        ),
        (
            {"dim": [2, 3]},
            "expects low and high, found dim; write nested settings with dotted keys: latent.dim.dim",
        ),
        (
            {"low": 2, "hihg": 3},
            "has no 'hihg', did you mean 'high'?; a range has low, high, log, step",
        ),
        ({"low": 2}, "expects a finite number for high, found None; write high: NUMBER"),
        ({"low": True, "high": 3}, "expects a finite number for low, found True; write low: NUMBER"),
        ({"low": 2, "high": 3, "log": 10}, "expects true or false for log, found 10; write log: true"),
        ({"low": 3, "high": 3}, "expects low below high, found low 3 and high 3; exchange or correct them"),
        (
            {"low": 0, "high": 3, "log": True},
            "expects a positive low with log, found 0; raise low, or leave out log",
        ),
        (
            {"low": 1, "high": 3, "log": True, "step": 1},
            "has both log and step, which exclude each other; leave one out",
        ),
        ({"low": 1, "high": 3, "step": 5}, "expects a step above 0 and at most high - low = 2, found 5; correct it"),
        (
            {"low": 0.1, "high": 1, "step": 0.2},
            "has no whole number of steps of 0.2 from 0.1 to 1; write high: 0.9",
        ),
    ],
)
def test_another_form_is_refused_in_a_sentence(entry: Any, message: str) -> None:
    assert error_of(entry) == f"search space: latent.dim {message}"


def test_settings_that_a_search_cannot_vary_are_refused() -> None:
    assert error_of(["a", "b"], "root") == (
        "search space: root cannot be searched, since all trials of a study are in one folder; leave it out"
    )
    assert error_of([1, 2], "latent dim") == (
        "search space: latent dim is not the key of a setting; write a dotted key such as latent.dim"
    )


def test_a_missing_or_empty_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("space.yaml").write_text("{}", encoding="utf-8")
    with pytest.raises(AeframeError, match=r"^there is no search space 'spaec.yaml', did you mean 'space.yaml'\?; "):
        read_space("spaec.yaml")
    with pytest.raises(AeframeError, match=r"^search space 'space.yaml' is empty; write at least one setting"):
        read_space("space.yaml")


NUMBERS = st.integers(-1000, 1000) | st.floats(-1e6, 1e6, allow_nan=False)
VALUES = st.none() | st.booleans() | NUMBERS | st.text(max_size=5) | st.lists(st.integers(), max_size=2)
ENTRIES = st.dictionaries(st.sampled_from(["low", "high", "log", "step", "lo"]), VALUES, max_size=4) | st.lists(
    VALUES, max_size=3
)


@st.composite
def ranges(draw: st.DrawFn) -> dict[str, Any]:
    whole = draw(st.booleans())
    low = draw(st.integers(-50, 50) if whole else st.floats(-50, 50).map(lambda x: round(x, 3)))
    num = draw(st.integers(1, 20))
    form = draw(st.sampled_from(["plain", "log", "step"]))
    if form == "log":
        return {"low": abs(low) + 1, "high": abs(low) + 1 + num, "log": True}
    return {"low": low, "high": low + num, **({"step": 1} if form == "step" and whole else {})}


@given(st.dictionaries(st.sampled_from(["latent.dim", "seed", "a_b.c-d"]), ranges(), min_size=1))
@settings(max_examples=40, deadline=None)
def test_ranges_of_any_numbers_agree_with_those_of_optuna(entries: dict[str, Any]) -> None:
    space = read_space(entries)
    assert read_space(space.as_dict()) == space
    assert read_space(yaml.safe_load(yaml.safe_dump(space.as_dict()))) == space
    for key, distribution in distributions(space).items():
        varied = space.settings[key]
        assert isinstance(varied, Range)
        for value in (varied.low, varied.high, varied.low + 1):
            assert (value in varied) == distribution._contains(distribution.to_internal_repr(value))
        assert varied.low - 1 not in varied
        assert varied.high + 1 not in varied


@given(st.dictionaries(st.text(max_size=8), ENTRIES, max_size=3))
@settings(max_examples=60, deadline=None)
def test_anything_else_is_read_or_refused_in_a_sentence(entries: dict[str, Any]) -> None:
    message, space = "", None
    try:
        space = read_space(entries)
    except AeframeError as error:
        message = str(error)
    assert "\n" not in message
    assert message.startswith("search space") == (space is None)
    if space is not None:
        assert distributions(space).keys() == entries.keys()
        assert read_space(space.as_dict()) == space
