"""`RunLogger`: the Lightning logger of every run, which writes ``metrics.csv`` and ``log.txt``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from aeframe.errors import AeframeError, printable
from aeframe.evaluation.measurement import Measurement
from aeframe.runs.folder import RunFolder
from aeframe.runs.records import Records

_SPLITS = ("train", "train_epoch", "val", "test")
"""``train`` has means over the last batches, ``train_epoch`` means over a whole epoch."""


class RunLogger(Logger):
    """Write all logged metrics to ``metrics.csv``, and those of whole epochs to ``log.txt``.

    The prefix of a name is its split: ``val/mse`` is metric ``mse`` of split ``val``. A name without the prefix of a
    split belongs to ``train``. A write error is reported once on standard error, and training continues.
    """

    def __init__(self, folder: RunFolder) -> None:
        super().__init__()
        self._folder = folder
        self._records: Records | None = None
        self._failed = False

    @property
    def name(self) -> str:
        """Empty, so that Lightning writes its own files to the run folder itself."""
        return ""

    @property
    def version(self) -> str:
        """Empty, like `name`."""
        return ""

    @property
    def save_dir(self) -> str:
        """The run folder."""
        return str(self._folder.path)

    @property
    def records(self) -> Records:
        """The file ``metrics.csv``, opened at first use."""
        if self._records is None:
            self._records = Records(self._folder.metrics)
        return self._records

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write metrics that were measured after `step` batches."""
        numbers = dict(metrics)
        epoch = int(numbers.pop("epoch", 0))
        by_split: dict[str, dict[str, float]] = {}
        for name, value in numbers.items():
            split, _, metric = name.partition("/")
            split, metric = (split, metric) if metric and split in _SPLITS else ("train", name)
            by_split.setdefault(split, {})[metric] = float(value)
        try:
            for split, split_metrics in by_split.items():
                self.records.append(split_metrics, step=step or 0, epoch=epoch, split=split)
                if split != "train":
                    self._write_line(split_metrics, step or 0, epoch, split)
        except (OSError, AeframeError) as error:
            if not self._failed:
                print(f"warning: metrics are no longer written to '{self._folder.path}': {error}", file=sys.stderr)
            self._failed = True

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the hyper-parameters are in ``config.yaml``."""

    def written_rows(self) -> dict[str, int]:
        """Return the number of rows of each file, to be stored in a checkpoint."""
        lines = 0
        if self._folder.log.is_file():
            with self._folder.log.open("rb") as file:
                lines = sum(1 for _ in file)
        return {"metrics.csv": self.records.num_rows if not self._failed else 0, "log.txt": lines}

    def cut_back(self, rows: Mapping[str, int], *, batch: int, between_epochs: bool, drop_tests: bool) -> None:
        """Remove the rows that a run resumed from a checkpoint will write again.

        Args:
            rows: The value of `written_rows` at the checkpoint.
            batch: The number of training batches at the checkpoint.
            between_epochs: Whether the epoch was complete: then no row up to `batch` will be written again.
            drop_tests: Whether the test at `batch` will be repeated.
        """
        num_rows, num_lines = rows.get("metrics.csv", 0), rows.get("log.txt", 0)

        def is_kept(number: int, row: Measurement) -> bool:
            if drop_tests and row.split == "test" and row.step >= batch:
                return False
            return number < num_rows or row.step < batch or (between_epochs and row.step == batch)

        self.records.keep(is_kept)
        if self._folder.log.is_file() and not between_epochs:
            kept = self._folder.log.read_bytes().splitlines(keepends=True)[:num_lines]
            self._folder.log.write_bytes(b"".join(kept))
        elif self._folder.log.is_file():
            self._cut_log(batch, drop_tests)

    def _cut_log(self, batch: int, drop_tests: bool) -> None:
        """Remove the lines of ``log.txt`` after `batch`; their format is that of `_write_line`."""
        kept = []
        for line in self._folder.log.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
            fields = line.split(maxsplit=5)
            step = int(fields[3]) if len(fields) > 4 and fields[2] == "batch" and fields[3].isdecimal() else 0
            is_test = len(fields) > 4 and fields[4] == "test:"
            if line.endswith("\n") and step <= batch and not (drop_tests and is_test and step >= batch):
                kept.append(line)
        self._folder.log.write_text("".join(kept), encoding="utf-8")

    def _write_line(self, numbers: Mapping[str, float], step: int, epoch: int, split: str) -> None:
        line = "  ".join(f"{printable(name)} {value:.6g}" for name, value in numbers.items())
        with self._folder.log.open("a", encoding="utf-8") as file:
            file.write(f"epoch {epoch} batch {step} {split}: {line}\n")
