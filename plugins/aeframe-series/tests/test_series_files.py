"""Series files: formats, column roles, splits and error messages."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from series_files import NAMES, csv, dataset, hours, values

from aeframe import AeframeError
from aeframe_series import ett
from aeframe_series.ett import ETT
from aeframe_series.file import ColumnRoles, read_series, read_series_header
from aeframe_series.modality import Series


def refusal(path: Path, **options: object) -> str:
    modality = Series(window=options.pop("window", 5), missing=options.pop("missing", "refuse"))  # type: ignore[arg-type]
    with pytest.raises(AeframeError) as caught:
        modality.prepare(dataset(path, **options))
    return str(caught.value)


# -- formats -----------------------------------------------------------------------------------------------------


def test_all_formats_contain_the_same_series(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    plain = csv(tmp_path)
    packed = tmp_path / "b.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    np.save(tmp_path / "c.npy", values())
    np.savez(tmp_path / "d.npz", load=values(), when=np.arange(100.0))
    dates = np.array(hours(100), dtype="datetime64[us]")
    pq.write_table(pa.table({"date": dates, **dict(zip(NAMES, values().T, strict=True))}), tmp_path / "e.parquet")
    npz = ColumnRoles(key="load", time="when")
    for name, roles in (
        ("a.csv", ColumnRoles()),
        ("b.csv.gz", ColumnRoles()),
        ("c.npy", ColumnRoles()),
        ("d.npz", npz),
        ("e.parquet", ColumnRoles()),
    ):
        recording = read_series(tmp_path / name, roles)
        assert recording.rows.values == pytest.approx(values()), name
        assert read_series_header(tmp_path / name, roles).shape == (3,)
        assert (recording.rows.label is None) == (name == "c.npy")
    assert read_series(tmp_path / "e.parquet", ColumnRoles()).rows.columns == NAMES


def test_columns_are_selected_by_name_in_order(tmp_path: Path) -> None:
    recording = read_series(csv(tmp_path), ColumnRoles(columns=("c", "a")))
    assert recording.rows.columns == ("c", "a")
    assert recording.rows.values == pytest.approx(values()[:, [2, 0]])
    # The time column is detected by its name.
    assert recording.time == "date"
    assert dataset(csv(tmp_path), columns=("c", "a")).describe() == {"num_columns": 2, "anomaly": False}


def test_anomaly_flags_are_not_part_of_x(tmp_path: Path) -> None:
    rows = values()
    rows[:, 2] = np.arange(100) % 10 == 0
    data = dataset(csv(tmp_path, rows), anomaly="c")
    recording = data.load()
    assert data.describe() == {"num_columns": 2, "anomaly": True}
    assert recording.rows.columns == ("a", "b")
    assert recording.anomaly is not None
    assert recording.anomaly.nonzero()[0].tolist() == list(range(0, 100, 10))
    np.savez(tmp_path / "a.npz", x=values(), flags=rows[:, 2])
    again = dataset(tmp_path / "a.npz", anomaly="flags").load().anomaly
    assert again is not None
    assert np.array_equal(again, recording.anomaly)


# -- splits ------------------------------------------------------------------------------------------------------


def splits_of(path: Path, **options: object) -> dict[str, list[list[int]]]:
    splits = dataset(path, **options).load().splits
    assert splits is not None
    return {split: segments.tolist() for split, segments in splits.items()}


def test_splits_are_in_temporal_order(tmp_path: Path) -> None:
    path = csv(tmp_path)
    by_fraction = splits_of(path, validation=0.25, test=0.15)
    assert by_fraction == {"train": [[0, 60]], "validation": [[60, 85]], "test": [[85, 100]]}
    by_rows = splits_of(path, bounds=(10, 50, 70, 90))
    assert by_rows == {"train": [[10, 50]], "validation": [[50, 70]], "test": [[70, 90]]}
    with_context = splits_of(path, bounds=(10, 50, 70, 90), context=5)
    assert with_context == {"train": [[10, 50]], "validation": [[45, 70]], "test": [[65, 90]]}


def test_invalid_splits(tmp_path: Path) -> None:
    path = csv(tmp_path)
    assert refusal(path, bounds=(0, 50, 40, 100)) == (
        "a.csv has 100 rows, expected four increasing bounds from 0 to 100, found [0, 50, 40, 100]; correct data.bounds"
    )
    assert refusal(path, bounds=(0, 50, 80, 101)).startswith("a.csv has 100 rows, expected four increasing bounds")
    assert refusal(path, validation=0.5, test=0.5) == (
        "a.csv: validation and test must be positive fractions with a sum below 1, found 0.5 and 0.5"
    )
    assert refusal(path, bounds=(0, 50, 80, 100), context=51) == (
        "a.csv: context must be between 0 and the 50 rows of the training split, found 51"
    )
    assert refusal(path, window=21) == (
        "a.csv: the validation split has 20 rows, expected at least one window of 21; lower modality.window, or "
        "enlarge the split"
    )


# -- bad input ---------------------------------------------------------------------------------------------------


def test_missing_column(tmp_path: Path) -> None:
    path = csv(tmp_path)
    columns = "its columns are date, a, b, c"
    assert refusal(path, columns=("a", "bb")) == f"'a.csv' has no column 'bb' for columns, did you mean 'b'?; {columns}"
    assert refusal(path, time="day") == f"'a.csv' has no column 'day' for time, did you mean 'date'?; {columns}"
    assert refusal(path, anomaly="flag") == f"'a.csv' has no column 'flag' for anomaly; {columns}"


def test_text_in_a_numeric_column(tmp_path: Path) -> None:
    path = csv(tmp_path)
    lines = path.read_text().splitlines()
    lines[11] = "2016-07-01 10:00:00,1,broken,3"
    path.write_text("\n".join(lines))
    assert refusal(path) == (
        "a.csv, line 12, column 'b': 'broken' is not a number; correct the cells, choose other columns, or skip the "
        "windows that contain them in training with modality.on_error=skip"
    )


def test_missing_and_infinite_values(tmp_path: Path) -> None:
    rows = values()
    rows[30, 1] = np.nan
    assert refusal(csv(tmp_path, rows)) == (
        "a.csv, line 32, column 'b': the value is missing (NaN); correct it, or train with modality.missing=mask to "
        "exclude the value from the loss, or with modality.on_error=skip to skip the windows that contain it"
    )
    rows[30, 1] = -np.inf
    for missing in ("refuse", "mask"):
        assert refusal(csv(tmp_path, rows), missing=missing) == (
            "a.csv, line 32, column 'b': the value is infinite; correct it, or train with modality.on_error=skip to "
            "skip the windows that contain it"
        )


@pytest.mark.parametrize(
    ("row", "date", "fault"),
    [
        (7, "2016-07-01 06:00:00", "time '2016-07-01 06:00:00' repeats that of line 8"),
        (
            7,
            "2016-07-01 05:30:00",
            "time '2016-07-01 05:30:00' is earlier than '2016-07-01 06:00:00' in line 8",
        ),
    ],
)
def test_times_that_do_not_increase(tmp_path: Path, row: int, date: str, fault: str) -> None:
    dates = hours(100)
    dates[row] = date
    assert refusal(csv(tmp_path, dates=dates)) == (
        f"a.csv, line 9: {fault}; correct the file, or skip such rows in training with modality.on_error=skip"
    )


def test_numeric_times_and_utc_offsets(tmp_path: Path) -> None:
    numbers = [str(number) for number in range(100)]
    numbers[20] = "19"
    assert refusal(csv(tmp_path, dates=numbers)).startswith("a.csv, line 22: time 19 repeats that of line 21;")
    # Times in two time zones that increase in UTC.
    zones = [f"2016-07-01T{hour:02d}:00:00Z" for hour in range(12)] + ["2016-07-01T14:00:00+02:00"]
    Series(window=2).prepare(dataset(csv(tmp_path, values(13), dates=zones)))


def test_invalid_time(tmp_path: Path) -> None:
    dates = hours(100)
    dates[3] = "3rd of July"
    assert refusal(csv(tmp_path, dates=dates)) == (
        "a.csv, line 5: '3rd of July' is not a time; correct the file, or skip such rows in training with "
        "modality.on_error=skip"
    )
    assert refusal(csv(tmp_path, dates=["spring"] * 100)) == (
        "a.csv, line 2: 'spring' is not a time, expected a number or a date such as 2016-07-01 00:00:00; correct it, "
        "name the time column with data.time, or set its format, such as data.time_format=%d/%m/%Y"
    )


def test_invalid_anomaly_flag(tmp_path: Path) -> None:
    rows = values()
    rows[:, 2] = 0
    rows[4, 2] = 2
    assert refusal(csv(tmp_path, rows), anomaly="c") == (
        "a.csv, line 6, column 'c': '2.0' is not an anomaly flag, expected 0 or 1"
    )


def test_array_of_four_dimensions(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((5, 4, 3, 2)))
    with pytest.raises(AeframeError) as caught:
        dataset(tmp_path / "a.npy").describe()
    assert str(caught.value) == (
        "'a.npy' has rows of shape (4, 3, 2), expected an array (time steps, columns), or (series, time steps, columns)"
    )


def test_dataset_of_another_modality() -> None:
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
def empty_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AEFRAME_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


def test_ett_is_searched_for(empty_data_folder: Path) -> None:
    ett_file(empty_data_folder / "data" / "ETTh2.csv", [*ETT_COLUMNS[:-1], "temperature"], rows=2)
    with pytest.raises(AeframeError, match=r"^'ETTh2\.csv' has no column 'OT'"):
        ETT(station="ETTh2").describe()
    ett_file(empty_data_folder / "data" / "ETTh2.csv")
    assert ETT(station="ETTh2").describe() == {"num_columns": 7, "anomaly": False}
    assert len(ETT(station="ETTh2").load().rows) == 14400


def test_ett_is_downloaded_once_and_its_rows_counted(empty_data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = ett_file(empty_data_folder / "server" / "ETTh1.csv").as_uri()
    monkeypatch.setattr(ett, "_URL", url.removesuffix("ETTh1.csv"))
    # Known without the file, so that a config can be validated before the download.
    assert ETT().describe() == {"num_columns": 7, "anomaly": False}
    with pytest.raises(AeframeError) as caught:
        ETT().load()
    assert str(caught.value) == (
        f"dataset 'ett': '{url}' is not the expected file (14400 rows, expected 17420); try again "
        "later, or set data.path=... to a copy of your own"
    )
    monkeypatch.setattr(ett, "_NUM_ROWS", 14400)
    assert len(ETT().load().rows) == 14400
    assert [path.name for path in (empty_data_folder / "data").iterdir()] == ["ETTh1.csv"]
    (empty_data_folder / "server" / "ETTh1.csv").unlink()
    assert len(ETT().load().rows) == 14400
