from __future__ import annotations

import math
from pathlib import Path

import pytest

from aeframe.errors import AeframeError
from aeframe.evaluation.measurement import Measurement
from aeframe.runs.records import Records


def test_numbers_are_read_to_the_last_digit(tmp_path: Path) -> None:
    records = Records(tmp_path / "metrics.csv")
    records.append({"loss": 1 / 3, "discriminator/loss": 1e-300}, step=50, epoch=2, split="train")
    records.append({"bound": -math.inf, 'a, "name"': 7}, step=60, epoch=3, split="val")
    assert records.read() == [
        Measurement(50, 2, "train", "loss", 1 / 3),
        Measurement(50, 2, "train", "discriminator/loss", 1e-300),
        Measurement(60, 3, "val", "bound", -math.inf),
        Measurement(60, 3, "val", 'a, "name"', 7.0),
    ]
    assert records.path.read_text().splitlines()[:2] == ["step,epoch,split,name,value", f"50,2,train,loss,{1 / 3}"]


def test_a_resumed_run_appends_and_a_repeated_measurement_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    first = Records(path)
    for step in (10, 20, 30):
        first.append({"loss": float(step)}, step=step, epoch=0, split="train")
    again = Records(path)
    for step in (20, 30, 40):
        again.append({"loss": step + 0.5}, step=step, epoch=0, split="train")
    assert len(path.read_text().splitlines()) == 7
    assert [(row.step, row.value) for row in again.read()] == [(10, 10.0), (20, 20.5), (30, 30.5), (40, 40.5)]


@pytest.mark.parametrize("left", range(1, 20))
def test_only_an_incomplete_last_line_is_removed(tmp_path: Path, left: int) -> None:
    path = tmp_path / "metrics.csv"
    records = Records(path)
    records.append({"loss": 1.25, "kl": 0.125}, step=50, epoch=2, split="train")
    whole = path.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    path.write_bytes(whole[: last + left])
    again = Records(path)
    again.append({"kl": 0.5}, step=60, epoch=2, split="train")
    kept = [Measurement(50, 2, "train", "kl", 0.125)] if last + left == len(whole) else []
    assert again.read() == [Measurement(50, 2, "train", "loss", 1.25), *kept, Measurement(60, 2, "train", "kl", 0.5)]


@pytest.mark.parametrize("content", ["", "step,ep"])
def test_a_file_without_a_complete_line_is_started_again(tmp_path: Path, content: str) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text(content)
    records = Records(path)
    assert records.read() == []
    assert records.num_rows == 0
    records.append({"loss": 0.5}, step=1, epoch=0, split="train")
    assert path.read_text() == "step,epoch,split,name,value\n1,0,train,loss,0.5\n"


def test_a_file_with_another_header_is_an_error_and_is_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(AeframeError) as error:
        Records(path)
    assert str(error.value) == (
        f"'{path}' begins with 'a,b', expected 'step,epoch,split,name,value'; move it out of the run folder"
    )
    assert path.read_text() == "a,b\n1,2\n"


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("step,epoch,split,name,value\n1,0,train,loss,0.5\n2,0,train,loss,half\n")
    with pytest.raises(AeframeError) as error:
        Records(path).read()
    assert str(error.value) == (
        f"'{path}', line 3: expected 'step,epoch,split,name,value', found '2,0,train,loss,half'; "
        "correct or delete that line"
    )


def test_the_number_of_rows_is_that_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    records = Records(path)
    assert records.num_rows == 0
    records.append({"loss": 1.0, "kl": 2.0}, step=1, epoch=0, split="train")
    records.append({"loss": 1.0}, step=2, epoch=0, split="train")
    assert records.num_rows == Records(path).num_rows == 3
    # An incomplete row is not counted.
    path.write_text(path.read_text() + "3,0,train,lo")
    assert Records(path).num_rows == 3


def test_rows_are_kept_by_number_and_content(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    records = Records(path)
    for step in range(4):
        records.append({"loss": step / 3, 'a, "name"': math.inf}, step=step, epoch=0, split="train")
    before = path.read_text()
    seen: list[tuple[int, Measurement]] = []

    def keep_all(number: int, row: Measurement) -> bool:
        seen.append((number, row))
        return True

    records.keep(keep_all)
    assert path.read_text() == before
    assert seen == list(enumerate(records.read()))
    records.keep(lambda number, row: number < 2 or row.step == 3)
    assert path.read_text().splitlines() == before.splitlines()[:3] + before.splitlines()[7:]
    assert records.num_rows == 4
    records.append({"loss": 9.0}, step=9, epoch=1, split="val")
    assert records.num_rows == Records(path).num_rows == 5
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


def test_without_a_file_no_row_is_removed(tmp_path: Path) -> None:
    Records(tmp_path / "metrics.csv").keep(lambda number, row: False)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_bytes(b"step,epoch,split,name,value\n1,0,train,\xff,0.5\n")
    with pytest.raises(
        AeframeError, match=r"^'.*metrics.csv' cannot be read as a table of measurements \(.*\); move it"
    ):
        Records(path).read()
