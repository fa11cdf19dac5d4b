"""Series in files: what is read, how it is split, and what is said of a file that is none."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from series_files import NAMES, csv, dataset, hours, values

from aeframe import AeframeError
from aeframe_series import ett
from aeframe_series.ett import ETT
from aeframe_series.file import Roles, header, read
from aeframe_series.modality import Series


def refusal(path: Path, **options: object) -> str:
    modality = Series(window=options.pop("window", 5), missing=options.pop("missing", "refuse"))  # type: ignore[arg-type]
    with pytest.raises(AeframeError) as caught:
        modality.prepare(dataset(path, **options))
    return str(caught.value)


# -- formats -----------------------------------------------------------------------------------------------------


def test_every_format_gives_the_same_series(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    plain = csv(tmp_path)
    packed = tmp_path / "b.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    np.save(tmp_path / "c.npy", values())
    np.savez(tmp_path / "d.npz", load=values(), when=np.arange(100.0))
    dates = np.array(hours(100), dtype="datetime64[us]")
    pq.write_table(pa.table({"date": dates, **dict(zip(NAMES, values().T, strict=True))}), tmp_path / "e.parquet")
    npz = Roles(key="load", time="when")
    for name, roles in (
        ("a.csv", Roles()),
        ("b.csv.gz", Roles()),
        ("c.npy", Roles()),
        ("d.npz", npz),
        ("e.parquet", Roles()),
    ):
        found = read(tmp_path / name, roles)
        assert found.rows.values == pytest.approx(values()), name
        assert header(tmp_path / name, roles).shape == (3,)
        assert (found.rows.label is None) == (name == "c.npy")
    assert read(tmp_path / "e.parquet", Roles()).rows.columns == NAMES


def test_columns_are_chosen_by_name_and_in_that_order(tmp_path: Path) -> None:
    found = read(csv(tmp_path), Roles(columns=("c", "a")))
    assert found.rows.columns == ("c", "a")
    assert found.rows.values == pytest.approx(values()[:, [2, 0]])
    # The column of times is found by its name, though nobody asked for it.
    assert found.time == "date"
    assert dataset(csv(tmp_path), columns=("c", "a")).describe() == {"num_columns": 2, "anomaly": False}


def test_flags_are_no_part_of_x(tmp_path: Path) -> None:
    rows = values()
    rows[:, 2] = np.arange(100) % 10 == 0
    data = dataset(csv(tmp_path, rows), anomaly="c")
    found = data.load()
    assert data.describe() == {"num_columns": 2, "anomaly": True}
    assert found.rows.columns == ("a", "b")
    assert found.anomaly is not None
    assert found.anomaly.nonzero()[0].tolist() == list(range(0, 100, 10))
    np.savez(tmp_path / "a.npz", x=values(), flags=rows[:, 2])
    again = dataset(tmp_path / "a.npz", anomaly="flags").load().anomaly
    assert again is not None
    assert np.array_equal(again, found.anomaly)


# -- splits ------------------------------------------------------------------------------------------------------


def test_splits_follow_each_other_in_time(tmp_path: Path) -> None:
    path = csv(tmp_path)
    by_share = dataset(path, validation=0.25, test=0.15).load().splits
    assert by_share == {"train": range(60), "validation": range(60, 85), "test": range(85, 100)}
    by_rows = dataset(path, bounds=(10, 50, 70, 90)).load().splits
    assert by_rows == {"train": range(10, 50), "validation": range(50, 70), "test": range(70, 90)}
    lent = dataset(path, bounds=(10, 50, 70, 90), context=5).load().splits
    assert lent == {"train": range(10, 50), "validation": range(45, 70), "test": range(65, 90)}


def test_splits_that_cannot_be(tmp_path: Path) -> None:
    path = csv(tmp_path)
    assert refusal(path, bounds=(0, 50, 40, 100)) == (
        "a.csv has 100 rows, expected bounds that rise from at least 0 to at most 100, found [0, 50, 40, 100]; "
        "correct data.bounds"
    )
    assert refusal(path, bounds=(0, 50, 80, 101)).startswith("a.csv has 100 rows, expected bounds")
    assert refusal(path, validation=0.5, test=0.5) == (
        "a.csv: validation and test are fractions above 0 that leave something to train on, found 0.5 and 0.5"
    )
    assert refusal(path, bounds=(0, 50, 80, 100), context=51) == (
        "a.csv: context lends rows of the training split, of which there are 50, found 51"
    )
    assert refusal(path, window=21) == (
        "a.csv: the validation split has 20 rows, expected at least one window of 21; lower modality.window, or give "
        "the split more rows"
    )


# -- bad input ---------------------------------------------------------------------------------------------------


def test_a_column_that_is_missing(tmp_path: Path) -> None:
    path = csv(tmp_path)
    its = "its columns are date, a, b, c"
    assert refusal(path, columns=("a", "bb")) == f"'a.csv' has no column 'bb' for columns, did you mean 'b'?; {its}"
    assert refusal(path, time="day") == f"'a.csv' has no column 'day' for time, did you mean 'date'?; {its}"
    assert refusal(path, anomaly="flag") == f"'a.csv' has no column 'flag' for anomaly; {its}"


def test_text_in_a_column_of_numbers(tmp_path: Path) -> None:
    path = csv(tmp_path)
    lines = path.read_text().splitlines()
    lines[11] = "2016-07-01 10:00:00,1,broken,3"
    path.write_text("\n".join(lines))
    assert refusal(path) == (
        "a.csv, line 12, column 'b': 'broken' is not a number; name the columns to read with columns, or the one to "
        "set aside with label"
    )


def test_values_that_are_missing_or_infinite(tmp_path: Path) -> None:
    rows = values()
    rows[30, 1] = np.nan
    assert refusal(csv(tmp_path, rows)) == (
        "a.csv, line 32, column 'b': the value is missing (NaN); mend it, or train with modality.missing=mask to leave "
        "the value out of the loss, or modality.on_error=skip to leave out the windows with it"
    )
    rows[30, 1] = -np.inf
    for missing in ("refuse", "mask"):
        assert refusal(csv(tmp_path, rows), missing=missing) == (
            "a.csv, line 32, column 'b': the value is infinite; mend it, or train with modality.on_error=skip to leave "
            "out the windows with it"
        )


@pytest.mark.parametrize(
    ("row", "date", "said"),
    [
        (7, "2016-07-01 06:00:00", "time '2016-07-01 06:00:00' is there already, in line 8"),
        (
            7,
            "2016-07-01 05:30:00",
            "time '2016-07-01 05:30:00' comes after '2016-07-01 06:00:00', so the rows are not in order",
        ),
    ],
)
def test_times_that_do_not_rise(tmp_path: Path, row: int, date: str, said: str) -> None:
    dates = hours(100)
    dates[row] = date
    assert refusal(csv(tmp_path, dates=dates)) == (
        f"a.csv, line 9: {said}; mend the file, or leave such rows out of training with modality.on_error=skip"
    )


def test_numbers_as_times_and_offsets(tmp_path: Path) -> None:
    numbers = [str(number) for number in range(100)]
    numbers[20] = "19"
    assert refusal(csv(tmp_path, dates=numbers)).startswith("a.csv, line 22: time 19 is there already, in line 21;")
    # The same moments, told in two zones: they rise.
    zones = [f"2016-07-01T{hour:02d}:00:00Z" for hour in range(12)] + ["2016-07-01T14:00:00+02:00"]
    Series(window=2).prepare(dataset(csv(tmp_path, values(13), dates=zones)))


def test_a_time_that_is_none(tmp_path: Path) -> None:
    dates = hours(100)
    dates[3] = "3rd of July"
    assert refusal(csv(tmp_path, dates=dates)) == (
        "a.csv, line 5: '3rd of July' is no time, expected a number or a date such as 2016-07-01 00:00:00; correct "
        "it, or name the column of times with data.time"
    )


def test_flags_that_are_none(tmp_path: Path) -> None:
    rows = values()
    rows[:, 2] = 0
    rows[4, 2] = 2
    assert refusal(csv(tmp_path, rows), anomaly="c") == ("a.csv, line 6, column 'c': '2.0' is no flag, expected 0 or 1")


def test_arrays_that_are_no_series(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((5, 4, 3)))
    with pytest.raises(AeframeError) as caught:
        dataset(tmp_path / "a.npy").describe()
    assert str(caught.value) == "'a.npy' has rows of shape (4, 3), expected an array (moments, columns)"


def test_data_of_another_modality() -> None:
    from aeframe.data.tabular import BreastCancer

    with pytest.raises(AeframeError) as caught:
        Series().prepare(BreastCancer())
    assert str(caught.value) == (
        "modality series reads a Recording, and dataset BreastCancer loads RowSplits; choose a dataset of this "
        "modality, or modality=vector"
    )


ETT_COLUMNS = ["date", "HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT"]


def ett_file(path: Path, columns: list[str] = ETT_COLUMNS, rows: int = 14400) -> Path:
    times = np.datetime64("2016-07-01T00", "h") + np.arange(rows)
    cells = ",1" * (len(columns) - 1)
    lines = [",".join(columns), *(f"{str(time).replace('T', ' ')}:00:00{cells}" for time in times)]
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AEFRAME_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


def test_ett_is_looked_for(nowhere: Path) -> None:
    ett_file(nowhere / "data" / "ETTh2.csv", [*ETT_COLUMNS[:-1], "temperature"], rows=2)
    with pytest.raises(AeframeError, match=r"^'ETTh2\.csv' has no column 'OT'"):
        ETT(station="ETTh2").describe()
    ett_file(nowhere / "data" / "ETTh2.csv")
    assert ETT(station="ETTh2").describe() == {"num_columns": 7, "anomaly": False}
    assert len(ETT(station="ETTh2").load().rows) == 14400


def test_ett_is_fetched_once_and_counted(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = ett_file(nowhere / "server" / "ETTh1.csv").as_uri()
    monkeypatch.setattr(ett, "_SOURCE", url.removesuffix("ETTh1.csv"))
    # What is known without it, so that a run can be checked before it is fetched.
    assert ETT().describe() == {"num_columns": 7, "anomaly": False}
    with pytest.raises(AeframeError) as caught:
        ETT().load()
    assert str(caught.value) == (
        f"dataset 'ett': '{url}' is not the expected file (14400 rows where 17420 are expected); try again "
        "later, or set data.path=... to a copy of your own"
    )
    monkeypatch.setattr(ett, "_ROWS", 14400)
    assert len(ETT().load().rows) == 14400
    assert [path.name for path in (nowhere / "data").iterdir()] == ["ETTh1.csv"]
    (nowhere / "server" / "ETTh1.csv").unlink()
    assert len(ETT().load().rows) == 14400
