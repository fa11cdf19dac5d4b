"""``aeframe bench``: the ratios are those of the files, and docs quote them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from aeframe.cli.main import main
from aeframe.cli.speed_figures import Ratio, SpeedFigure, read_figures
from aeframe.errors import AeframeError

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "speed.md"
FIELDS: dict[str, Any] = {"what": "a", "against": "b", "aim": 2.0, "file": "x.json", "command": "python x.py"}


ROUNDS = {"rounds": [{"r": 1.0, "you": 5.0}, {"r": 4.0, "you": 4.0}, {"r": 2.0, "you": 3.0}]}
ENDS = {"a b": {"r": 2.0, "l": 1.5, "h": 2.5}}


@pytest.mark.parametrize(
    ("stored", "fields", "expected"),
    [
        (ROUNDS, {"ratio": "rounds / * / r"}, Ratio(2.0, 1.0, 4.0)),
        (ROUNDS, {"ratio": "rounds / * / r", "of": "rounds / * / you"}, Ratio(1.5, 1.0, 5.0)),
        (ENDS, {"ratio": "a b / r", "low": "a b / l", "high": "a b / h"}, Ratio(2.0, 1.5, 2.5)),
        ({"other case": {}}, {"ratio": "case / r"}, None),
    ],
)
def test_a_ratio_is_the_median_with_its_spread(
    stored: Any, fields: dict[str, str], expected: Ratio | None, tmp_path: Path
) -> None:
    figure = SpeedFigure(**FIELDS, better="higher", **fields)
    assert figure.measured(tmp_path) is None
    (tmp_path / "x.json").write_text(json.dumps(stored), encoding="utf-8")
    assert figure.measured(tmp_path) == expected


def test_the_aim_is_a_bound_from_above_or_from_below() -> None:
    ratio = Ratio(2.5, 2.0, 3.0)
    assert SpeedFigure(**FIELDS, better="higher", ratio="r").reached(ratio)
    assert not SpeedFigure(**FIELDS, better="lower", ratio="r").reached(ratio)


def test_a_wrong_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"r": {"s": "fast"}}', encoding="utf-8")
    for keys in ("r / s", "r / t"):
        with pytest.raises(AeframeError, match=f"has no number at '{keys}'"):
            SpeedFigure(**FIELDS, better="higher", ratio=keys).measured(tmp_path)


def test_every_figure_of_the_repository_can_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    figures = read_figures(BENCHMARKS)
    for name, figure in figures.items():
        measured = figure.measured(BENCHMARKS / "results")
        assert measured is None or 0 < measured.low <= measured.median <= measured.high, name
        script = re.search(r"benchmarks/\w+\.py", figure.command)
        assert script is not None
        assert (BENCHMARKS.parent / script.group()).is_file(), name
    assert main(["bench"]) == 0
    assert "omics_epoch" in capsys.readouterr().out
    assert main(["bench", "omics_epoch"]) == 0
    assert "measured again by: python benchmarks/omics_epoch.py" in capsys.readouterr().out


def test_other_names_and_folders_are_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "omics_epok"]) == 2
    assert "did you mean 'omics_epoch'?" in capsys.readouterr().err
    assert main(["bench", "--folder", str(tmp_path)]) == 2
    assert "clone the repository" in capsys.readouterr().err


def test_the_page_quotes_the_files() -> None:
    figures = read_figures(BENCHMARKS)
    rows = re.findall(r"^\| `(\w+)` \|.*\| ([^|]+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert dict(rows) == {
        name: str(figure.measured(BENCHMARKS / "results") or "not measured") for name, figure in figures.items()
    }
