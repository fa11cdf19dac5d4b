"""Electricity transformer temperature: a benchmark of long forecasting."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from aeframe.data import Dataset
from aeframe.errors import AeframeError
from aeframe_series.file import Roles, header, read
from aeframe_series.recording import Recording, by_bounds

COLUMNS = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
BOUNDS = (0, 8640, 11520, 14400)
"""Twelve, four and four months of thirty days."""
_SOURCE = "https://github.com/zhouhaoyi/ETDataset"


class ETT(Dataset):
    """Six loads and the oil temperature of a transformer, hour by hour (Zhou et al. 2021, arXiv 2012.07436).

    Rows 0 to 8640 are for training, to 11520 for validation, to 14400 for testing; the file's last rows are not used.

    Args:
        path: ``ETTh1.csv`` or ``ETTh2.csv``, plain or compressed. Without it, the folder that ``AEFRAME_DATA`` names
            and ``~/.cache/aeframe`` are searched.
        station: Which of the two, where it is searched.
        context: Rows before the validation and test splits that their first windows may reach back to: with that of the
            window the splits are those of the benchmark, with 0 no window lies in two splits.
    """

    modality = "series"

    def __init__(
        self, *, path: str | None = None, station: Literal["ETTh1", "ETTh2"] = "ETTh1", context: int = 0
    ) -> None:
        self.path = None if path is None else Path(path).expanduser()
        self.station, self.context = station, context
        self.roles = Roles(COLUMNS, "date")

    def describe(self) -> Mapping[str, Any]:
        return {"num_columns": header(self._found(), self.roles).shape[0], "anomaly": False}

    def load(self) -> Recording:
        recording = read(self._found(), self.roles)
        recording.splits = by_bounds(recording.rows, BOUNDS, context=self.context)
        return recording

    def _found(self) -> Path:
        if self.path is not None:
            return self.path
        named = os.environ.get("AEFRAME_DATA")
        folders = [Path(folder).expanduser() for folder in (named, "~/.cache/aeframe") if folder]
        names = (f"{self.station}.csv", f"{self.station}.csv.gz")
        for path in (folder / name for folder in folders for name in names):
            if path.is_file():
                return path
        raise AeframeError(
            f"dataset 'ett': there is no {names[0]} in {' or '.join(str(folder) for folder in folders)}; get it from "
            f"{_SOURCE} (licence CC BY-ND 4.0), and give data.path=..."
        )
