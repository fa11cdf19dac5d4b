"""The verb ``table``: the kinds of columns, notes, and how a kind is changed."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given
from hypothesis import strategies as st

from aeframe.cli.main import main
from aeframe.errors import AeframeError
from aeframe_tabular.kind_overrides import can_be_override, kind_override
from aeframe_tabular.table_command import data_options

ROWS = "".join(
    f"P{number},{number % 3},{number / 4},{'ab'[number % 2]},01.{number % 12 + 1:02d}.2020\n" for number in range(40)
)
TABLE = f"key,num.parts,weight (kg),type,day\n{ROWS}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "parts.csv"
    path.write_text(TABLE)
    return path


def test_columns_are_printed_with_kind_and_reason(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", str(path)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("parts.csv: 40 rows, 5 columns, 4 of them used")
    lines = {line.split("│")[1].strip(): line for line in out.splitlines() if line.startswith("│")}
    assert "left out: texts that are all different" in lines["key"]
    assert "integer" in lines["num.parts"]
    assert "numbers of 2 decimals, 0 to 9.75" in lines["weight (kg)"]
    assert "2 different texts" in lines["type"]
    assert "date" in lines["day"]
    assert "Change a kind: data.kinds.key=category" in out
    assert "'data.kinds={num.parts:category}'" in out


def test_options_of_the_data_are_those_of_a_run(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overrides = ["data.kinds.type=boolean", r"data.kinds={weight\ \(kg\):category}", "data.exclude=[day]", "--json"]
    assert main(["table", str(path), *overrides]) == 0
    found = json.loads(capsys.readouterr().out)
    kinds = {column["name"]: column["kind"] for column in found["columns"]}
    assert kinds == {"key": "id", "num.parts": "integer", "weight (kg)": "category", "type": "boolean"}
    assert found["rows"] == 40


def test_notes_and_rows_left_out_are_printed(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_text(f"{TABLE}P0,many,1,a\nP0,many,1,a,01.01.2020\n")
    assert main(["table", str(path), "data.on_error=skip"]) == 0
    out = capsys.readouterr().out
    assert "note: 'parts.csv', column 'num.parts' holds numbers and text, such as 'many' (line 43)" in out
    assert "left out: 'parts.csv', line 42 has 4 cells (none for column 'day'), expected 5" in out


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("loss=mse", "is no option of the data"),
        ("data.delimiter=;", "cannot be parsed"),
        ("data.path=x.csv", "data.path is the FILE of this command"),
        ("data.delimeter=tab", "delimiter"),
        ("data.kinds.typ=category", "did you mean 'type'?"),
    ],
)
def test_wrong_options_are_a_sentence(
    path: Path, override: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["table", str(path), override]) == 2
    assert sentence in capsys.readouterr().err


def test_a_mapping_adds_to_single_kinds() -> None:
    options = data_options(["data.kinds.a=category", "data.kinds={b c:number}", "data.delimiter=tab"])
    assert options == {"kinds": {"a": "category", "b c": "number"}, "delimiter": "tab"}
    with pytest.raises(AeframeError, match=r"expected data\.OPTION=VALUE"):
        data_options(["delimiter=tab"])


@example("sepal length (cm)")
@example("hours-per-week")
@example("a.b")
@example("3")
@example("1.5")
@example("null")
@example("größe")
@example(" x ")
@given(st.text(st.sampled_from("aB3 .-_()[]{}:=,\\/$%é'\"#"), min_size=1, max_size=8))
def test_the_override_of_a_kind_is_parsed_to_the_name(name: str) -> None:
    text = kind_override(name, "number")
    if not can_be_override(name):
        assert "in a config file" in text
        return
    [word] = shlex.split(text)
    override = OverridesParser.create().parse_override(word)
    value = override.value()
    found = value if isinstance(value, dict) else {str(override.key_or_group).removeprefix("data.kinds."): value}
    assert found == {name: "number"}
