"""Bad rows in a run: one sentence with the file and the line, and nothing written; or a list of what was left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from series_files import csv, hours, values

from aeframe.testing.error_messages import run_expecting_error, run_expecting_skipped

WORDS = ["modality=series", "data=series_file", "modality.window=8", "batch_size=8", "encoder.channels=[4,8]"]


def test_bad_rows_are_named_or_listed(tmp_path: Path) -> None:
    rows, dates = values(), hours(100)
    rows[20, 1], rows[30, 0] = np.nan, np.inf
    dates[40], dates[41] = dates[39], "2016-07-01 12:30:00"
    csv(tmp_path, rows, dates=dates)
    words = [*WORDS, "data.path=a.csv", "data.time=date"]
    twice = "a.csv, line 42: time '2016-07-02 15:00:00' is there already, in line 41"
    way_out = "mend the file, or leave such rows out of training with modality.on_error=skip"
    assert run_expecting_error(tmp_path, words) == f"{twice}; {way_out}"
    assert run_expecting_skipped(tmp_path, [*words, "modality.on_error=skip"]) == [
        f"{twice}; the row is left out",
        "a.csv, line 43: time '2016-07-01 12:30:00' comes after '2016-07-02 15:00:00', so the rows are not in order; "
        "the row is left out",
        "a.csv, line 22, column 'b': the value is missing (NaN); the windows that hold it are left out",
        "a.csv, line 32, column 'a': the value is infinite; the windows that hold it are left out",
    ]


def test_a_line_that_is_cut_off(tmp_path: Path) -> None:
    path = csv(tmp_path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:60], lines[60].rpartition(",")[0]]) + "\n")
    assert run_expecting_error(tmp_path, [*WORDS, "data.path=a.csv", "data.time=date"]) == (
        "a.csv, line 61: the row has 3 cells, expected 4 as above it"
    )


def test_an_array_that_is_cut_off(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", values())
    np.savez(tmp_path / "a.npz", x=values())
    for name, told in (
        ("a.npy", "Failed to read all data for array. Expected (100, 3) = 300 elements, could only read 295 elements. "
                  "(file seems not fully written?)"),
        ("a.npz", "File is not a zip file"),
    ):  # fmt: skip
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:-40])
        assert run_expecting_error(tmp_path, [*WORDS, f"data.path={name}"]) == (
            f"'{name}' cannot be read ({told}); save it again with numpy.savez, without objects"
        )
