from __future__ import annotations

import math
from pathlib import Path

import pytest

from aeframe.errors import AeframeError
from aeframe.evaluation.rows import Row
from aeframe.runs.records import Records


def test_numbers_come_back_to_the_last_digit(tmp_path: Path) -> None:
    records = Records(tmp_path / "metrics.csv")
    records.append({"loss": 1 / 3, "discriminator/loss": 1e-300}, step=50, epoch=2, split="train")
    records.append({"bound": -math.inf, 'a, "name"': 7}, step=60, epoch=3, split="val")
    assert records.read() == [
        Row(50, 2, "train", "loss", 1 / 3),
        Row(50, 2, "train", "discriminator/loss", 1e-300),
        Row(60, 3, "val", "bound", -math.inf),
        Row(60, 3, "val", 'a, "name"', 7.0),
    ]
    assert records.path.read_text().splitlines()[:2] == ["step,epoch,split,name,value", f"50,2,train,loss,{1 / 3}"]


def test_a_resumed_run_appends_and_what_it_did_again_counts_once(tmp_path: Path) -> None:
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
def test_a_line_that_was_cut_off_is_dropped_and_no_other(tmp_path: Path, left: int) -> None:
    path = tmp_path / "metrics.csv"
    records = Records(path)
    records.append({"loss": 1.25, "kl": 0.125}, step=50, epoch=2, split="train")
    whole = path.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    path.write_bytes(whole[: last + left])
    again = Records(path)
    again.append({"kl": 0.5}, step=60, epoch=2, split="train")
    kept = [Row(50, 2, "train", "kl", 0.125)] if last + left == len(whole) else []
    assert again.read() == [Row(50, 2, "train", "loss", 1.25), *kept, Row(60, 2, "train", "kl", 0.5)]


@pytest.mark.parametrize("content", ["", "step,ep"])
def test_a_table_without_a_whole_line_begins_anew(tmp_path: Path, content: str) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text(content)
    assert Records(path).read() == []
    assert path.read_text() == "step,epoch,split,name,value\n"


def test_another_table_is_refused_and_stays(tmp_path: Path) -> None:
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
        "mend or delete that line"
    )
