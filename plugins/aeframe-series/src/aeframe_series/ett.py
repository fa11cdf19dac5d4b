"""Electricity transformer temperature: a benchmark of long forecasting."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from aeframe.data import Dataset
from aeframe.data.downloads import Remote, data_folders, fetch, local
from aeframe.errors import AeframeError
from aeframe_series.file import Roles, header, read
from aeframe_series.recording import Recording, by_bounds

COLUMNS = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
BOUNDS = (0, 8640, 11520, 14400)
"""Twelve, four and four months of thirty days."""
_SOURCE = "https://raw.githubusercontent.com/zhouhaoyi/ETDataset/main/ETT-small/"
# In place of a checksum: the address is of whatever is there now.
_ROWS = 17420


class ETT(Dataset):
    """Six loads and the oil temperature of a transformer, hour by hour (Zhou et al. 2021, arXiv 2012.07436).

    Rows 0 to 8640 are for training, to 11520 for validation, to 14400 for testing; the file's last rows are not used.
    The licence is CC BY-ND 4.0.

    Args:
        path: ``ETTh1.csv`` or ``ETTh2.csv``, plain or compressed; null searches the folder that ``AEFRAME_DATA`` names
            and ``~/.cache/aeframe``, then downloads 2.6 MB.
        station: Which of the two, where it is searched.
        context: Rows before the validation and test splits that their first windows may reach back to: with that of the
            window the splits are those of the benchmark, with 0 no window lies in two splits.
    """

    modality = "series"

    def __init__(
        self, *, path: Path | None = None, station: Literal["ETTh1", "ETTh2"] = "ETTh1", context: int = 0
    ) -> None:
        self.path = None if path is None else Path(path).expanduser()
        self.station, self.context = station, context
        self.roles = Roles(COLUMNS, "date")

    def describe(self) -> Mapping[str, Any]:
        here = self._here()
        # A run is checked before its data are fetched.
        num_columns = len(COLUMNS) if here is None else header(here, self.roles).shape[0]
        return {"num_columns": num_columns, "anomaly": False}

    def load(self) -> Recording:
        remote = Remote(f"{_SOURCE}{self.station}.csv")
        path = self._here() or fetch(remote, data_folders()[0], who="dataset 'ett'", check=self._check)
        recording = read(path, self.roles)
        recording.splits = by_bounds(recording.rows, BOUNDS, context=self.context)
        return recording

    def _here(self) -> Path | None:
        """Return the file, or None where it is still to be fetched."""
        return self.path or local(f"{self.station}.csv", f"{self.station}.csv.gz")

    def _check(self, path: Path) -> None:
        found = len(read(path, self.roles).rows)
        if found != _ROWS:
            raise AeframeError(f"{found} rows where {_ROWS} are expected")
