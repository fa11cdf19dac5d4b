"""The dataset `ett`: electricity transformer temperature, a benchmark of long-horizon forecasting."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from aeframe.data import Dataset
from aeframe.data.downloads import Remote, data_folders, fetch, local
from aeframe.errors import AeframeError
from aeframe_series.file import ColumnRoles, read_series, read_series_header
from aeframe_series.recording import Recording
from aeframe_series.splits import split_by_rows

COLUMNS = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
BOUNDS = (0, 8640, 11520, 14400)
"""The start of training, and the ends of training, validation and test in the benchmark: 12, 4 and 4 months of 30 days
with 24 rows each.
"""
_URL = "https://raw.githubusercontent.com/zhouhaoyi/ETDataset/main/ETT-small/"
# A download is checked by its number of rows. It has no checksum, since the URL refers to a branch, which may change.
_NUM_ROWS = 17420


class ETT(Dataset):
    """Hourly measurements of six loads and the oil temperature of a transformer (Zhou et al. 2021, arXiv 2012.07436).

    Rows 0 to 8639 are for training, rows 8640 to 11519 for validation and rows 11520 to 14399 for testing. Later rows
    are not used.
    The licence is CC BY-ND 4.0.

    Args:
        path: ``ETTh1.csv`` or ``ETTh2.csv``, plain or compressed. With null the file is searched in the folder that
            the environment variable ``AEFRAME_DATA`` names and in ``~/.cache/aeframe``, and downloaded (2.6 MB) if it
            is in neither.
        station: The transformer whose file is used if `path` is null.
        context: Number of rows before the validation and the test split that are also added to them. The benchmark adds
            as many as a window has; with 0 no row belongs to two splits.
    """

    modality = "series"

    def __init__(
        self, *, path: Path | None = None, station: Literal["ETTh1", "ETTh2"] = "ETTh1", context: int = 0
    ) -> None:
        self.path = None if path is None else Path(path).expanduser()
        self.station, self.context = station, context
        self.roles = ColumnRoles(COLUMNS, "date")

    def describe(self) -> Mapping[str, Any]:
        path = self._local_path()
        # A config can be validated before the file is downloaded.
        num_columns = len(COLUMNS) if path is None else read_series_header(path, self.roles).shape[0]
        return {"num_columns": num_columns, "anomaly": False}

    def load(self) -> Recording:
        remote = Remote(f"{_URL}{self.station}.csv")
        path = self._local_path() or fetch(remote, data_folders()[0], who="dataset 'ett'", check=self._check_num_rows)
        recording = read_series(path, self.roles)
        recording.splits = split_by_rows(recording, BOUNDS, context=self.context)
        return recording

    def _local_path(self) -> Path | None:
        """Return the file, or None if it must be downloaded."""
        return self.path or local(f"{self.station}.csv", f"{self.station}.csv.gz")

    def _check_num_rows(self, path: Path) -> None:
        num_rows = len(read_series(path, self.roles).rows)
        if num_rows != _NUM_ROWS:
            raise AeframeError(f"{num_rows} rows, expected {_NUM_ROWS}")
