"""Bad rows in a run: an error with the file and the line and no output, or a list of skipped rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from series_files import csv, hours, values

from aeframe.testing.error_messages import run_expecting_error, run_expecting_skipped

OVERRIDES = ["modality=series", "data=series_file", "modality.window=8", "batch_size=8", "encoder.channels=[4,8]"]


def test_bad_rows_are_errors_or_listed(tmp_path: Path) -> None:
    rows, dates = values(), hours(100)
    rows[20, 1], rows[30, 0] = np.nan, np.inf
    dates[40], dates[41] = dates[39], "2016-07-01 12:30:00"
    csv(tmp_path, rows, dates=dates)
    overrides = [*OVERRIDES, "data.path=a.csv", "data.time=date"]
    repeated = "a.csv, line 42: time '2016-07-02 15:00:00' repeats that of line 41"
    next_step = "correct the file, or skip such rows in training with modality.on_error=skip"
    assert run_expecting_error(tmp_path, overrides) == f"{repeated}; {next_step}"
    assert run_expecting_skipped(tmp_path, [*overrides, "modality.on_error=skip"]) == [
        f"{repeated}; the row is skipped",
        "a.csv, line 43: time '2016-07-01 12:30:00' is earlier than '2016-07-02 15:00:00' in line 41; "
        "the row is skipped",
        "a.csv, line 22, column 'b': the value is missing (NaN); the windows that contain it are skipped",
        "a.csv, line 32, column 'a': the value is infinite; the windows that contain it are skipped",
    ]


def test_truncated_line(tmp_path: Path) -> None:
    path = csv(tmp_path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:60], lines[60].rpartition(",")[0]]) + "\n")
    assert run_expecting_error(tmp_path, [*OVERRIDES, "data.path=a.csv", "data.time=date"]) == (
        "a.csv, line 61: the row has 3 cells, expected 4 as above it; correct the file, or skip such rows in training "
        "with modality.on_error=skip"
    )
    skip = [*OVERRIDES, "data.path=a.csv", "data.time=date", "modality.on_error=skip"]
    skipped = "a.csv, line 61: the row has 3 cells, expected 4 as above it; the row is skipped"
    assert run_expecting_skipped(tmp_path, skip) == [skipped]


def test_truncated_array(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", values())
    np.savez(tmp_path / "a.npz", x=values())
    for name, reason, function in (
        ("a.npy", "array 'arr_0' of shape (100, 3) needs 2400 bytes, and the file has 2360", "save"),
        ("a.npz", "File is not a zip file", "savez"),
    ):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:-40])
        assert run_expecting_error(tmp_path, [*OVERRIDES, f"data.path={name}"]) == (
            f"'{name}' cannot be read ({reason}); save it again with numpy.{function}, without objects"
        )
