"""Several series in one table or array: ids, splits, windows, and tables of which nobody said so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from series_files import dataset
from test_series_in_memory import dataset as memory_dataset

from aeframe import AeframeError
from aeframe_series.modality import Series


def panel(*lengths: int) -> pd.DataFrame:
    """Return series A, B, ... in which series k has the values 1000 k, 1000 k + 1, ... in the column x."""
    parts = [
        pd.DataFrame({"day": np.arange(length), "unit": chr(65 + k), "x": 1000.0 * k + np.arange(length)})
        for k, length in enumerate(lengths)
    ]
    return pd.concat(parts, ignore_index=True)


def file(folder: Path, frame: pd.DataFrame, name: str = "a.csv") -> Path:
    frame.to_csv(folder / name, index=False)
    return folder / name


def windows(source: Any) -> np.ndarray:
    return source.batch(torch.arange(len(source))).x[:, 0].numpy()


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(AeframeError) as error:
        Series(window=4, on_error="skip").prepare(dataset(path, **options))
    return str(error.value)


@pytest.mark.parametrize("shuffled", [False, True])
def test_windows_never_reach_from_one_series_into_the_next(tmp_path: Path, shuffled: bool) -> None:
    frame = panel(40, 25, 3)
    frame = frame.sample(frac=1, random_state=0) if shuffled else frame
    splits = Series(window=4, scale="none").prepare(dataset(file(tmp_path, frame), series="unit", time="day"))
    for split in (splits.train, splits.validation, splits.test):
        found = windows(split)
        assert (np.diff(found, axis=1) == 1).all()
        assert set((found // 1000).ravel().tolist()) == {0, 1}
    notes = list(splits.notes)
    assert notes[0].endswith("has 3 series (column 'unit') of 3 to 40 rows; no window has rows of two series")
    assert any("1 of 3 series have fewer than 4 rows in the train split, and give no window" in note for note in notes)


def test_whole_series_are_held_out(tmp_path: Path) -> None:
    path = file(tmp_path, panel(*[20] * 5))
    splits = Series(window=4, scale="none").prepare(dataset(path, series="unit", time="day", split_by="series"))
    numbers = [set((windows(split) // 1000).ravel()) for split in (splits.train, splits.validation, splits.test)]
    assert [len(found) for found in numbers] == [3, 1, 1]
    assert len(set.union(*numbers)) == 5


def test_the_id_is_the_name_of_each_window_and_is_written_back(tmp_path: Path) -> None:
    frame = panel(30, 22).assign(site="x").sample(frac=1, random_state=1)
    path = file(tmp_path, frame[["site", "unit", "day", "x"]])
    modality = Series(window=4)
    modality.prepare(dataset(path, series=("site", "unit"), time="day"))
    restored = Series(window=4)
    restored.load_state(modality.state())
    opened = restored.open(path, "raise")
    columns = opened.source.columns(torch.arange(len(opened)))
    assert set(columns["series"].tolist()) == {"x/A", "x/B"}
    assert columns["name"][0] == f"{columns['series'][0]} {columns['time'][0]}"
    assert np.array_equal(opened.batch().index.numpy(), columns["row"])
    (out,) = restored.write(opened.batch().x, tmp_path / "b.csv", names=columns["name"].tolist())
    written = pd.read_csv(out)
    assert list(written.columns) == ["site", "unit", "day", "x"]
    assert written[["site", "unit", "day"]].equals(pd.read_csv(path)[["site", "unit", "day"]])
    assert np.allclose(written["x"], pd.read_csv(path)["x"], rtol=1e-4, atol=1e-3)


def test_a_table_of_several_series_is_refused_with_the_column_of_their_names(tmp_path: Path) -> None:
    path = file(tmp_path, panel(28, 28, 28))
    assert refusal(path, time="day", columns=("x",)) == (
        "a.csv, line 30: time 0 is earlier than 27 in line 29, and 56 of 84 rows are out of order, because the file "
        "holds several series; name the column that tells them apart: data.series=unit"
    )
    long = panel(28, 28).merge(pd.DataFrame({"event": ["p", "q"]}), how="cross")
    message = refusal(file(tmp_path, long), time="day", columns=("x",))
    assert message.endswith("name the column that tells them apart: data.series=[unit,event]")
    assert "name the series with data.series or the time with data.time" in refusal(path, time="day")


def test_a_number_that_names_series_is_no_column_of_x(tmp_path: Path) -> None:
    frame = pd.DataFrame({"unit": np.repeat([1, 2], 40), "x": np.arange(80.0) % 7})
    assert refusal(file(tmp_path, frame)) == (
        "'a.csv': column 'unit' seems to name 2 series, and would be part of x; set data.series=unit so that no window "
        "has rows of two series, or choose the columns of x with data.columns"
    )
    Series(window=4).prepare(dataset(tmp_path / "a.csv", columns=("unit", "x")))
    notes = list(Series(window=4).prepare(dataset(file(tmp_path, frame.rename(columns={"unit": "level"})))).notes)
    assert notes == [
        "'a.csv': column 'level' has 2 values, each in one block of rows, and is part of x; if it tells series apart, "
        "set data.series=level"
    ]
    counted = frame.drop(columns="unit").assign(n=np.arange(80))
    (note,) = Series(window=4).prepare(dataset(file(tmp_path, counted))).notes
    assert "column 'n' grows by 1 in each row" in note


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_arrays_of_one_and_three_dimensions(tmp_path: Path, suffix: str) -> None:
    one, three = np.arange(60.0), np.arange(5 * 20 * 2.0).reshape(5, 20, 2)
    three[1, 17:] = np.nan
    for name, array in (("one", one), ("three", three)):
        np.save(tmp_path / f"{name}.npy", array)
        np.savez(tmp_path / f"{name}.npz", x=array)
    path = tmp_path / f"one.{suffix}"
    assert dataset(path).describe() == {"num_columns": 1, "anomaly": False}
    splits = Series(window=4, scale="none").prepare(dataset(path))
    assert windows(splits.train)[0].tolist() == [0, 1, 2, 3]
    modality = Series(window=4, scale="none")
    splits = modality.prepare(dataset(tmp_path / f"three.{suffix}", split_by="series"))
    notes = list(splits.notes)
    assert "has the shape (5, 20, 2): 5 series of 20 time steps" in notes[0]
    assert notes[1].endswith("3 rows of NaN at the end of 1 series are left out as padding")
    assert len(modality.open(tmp_path / f"three.{suffix}", "raise")) == 25
    assert (np.diff(windows(splits.train), axis=1) == 2).all()


def test_ids_in_memory() -> None:
    frame = panel(40, 25)
    expected = [windows(split) for split in prepared(frame, series="unit", time="day")]
    by_level = prepared(frame.set_index(["unit", "day"]))
    for split, same in zip(by_level, expected, strict=True):
        assert np.array_equal(windows(split), same)
        assert (np.diff(same, axis=1) == 1).all()
    cube = prepared(np.arange(120.0).reshape(3, 40, 1))
    assert sorted(windows(cube[0])[:, 0].tolist()) == [*range(21), *range(40, 61), *range(80, 101)]


def prepared(x: Any, **options: Any) -> tuple[Any, Any, Any]:
    splits = Series(window=4, scale="none").prepare(memory_dataset(x, **options))
    return splits.train, splits.validation, splits.test


def test_bad_rows_are_skipped_after_training_too_and_rows_stay_aligned(tmp_path: Path) -> None:
    frame = pd.DataFrame({"time": np.arange(60), "x": np.arange(60.0)})
    frame.loc[20, "time"], frame.loc[31, "x"] = 19, np.inf
    path = file(tmp_path, frame)
    modality = Series(window=5, scale="none", on_error="skip")
    modality.prepare(dataset(path))
    opened = modality.open(path, modality.on_error)
    assert len(opened.skipped) == 2
    # Windows begin anew after the bad value in row 31; the last one before it is padded.
    batch = opened.batch()
    assert batch.index.tolist() == [0, 5, 10, 15, 21, 26, 32, 37, 42, 47, 52, 57]
    assert batch.mask[:, 0].sum(1).tolist() == [5] * 11 + [3]
    (out,) = modality.write(batch.x, tmp_path / "b.csv", names=opened.source.columns(torch.arange(12))["name"].tolist())
    written = pd.read_csv(out)
    assert written["row"].tolist() == [row for row in range(60) if row not in (20, 31)]
    assert written["x"].tolist() == written["row"].tolist()
    with pytest.raises(AeframeError, match="correct the file, or skip such rows with on_error=skip"):
        modality.open(path, "raise")
