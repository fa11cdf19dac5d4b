"""`Records`: the measurements of a run, one row each in ``metrics.csv``."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from pathlib import Path

from aeframe.errors import AeframeError
from aeframe.evaluation.measurement import Measurement
from aeframe.model_store.files import write_text

_HEADER = ",".join(Measurement._fields) + "\n"


class Records:
    """A CSV file of measurements with the columns ``step, epoch, split, name, value``.

    An existing file is continued. If a killed run left an incomplete last line, that line is removed, since a truncated
    number can be read as another number.

    Raises:
        AeframeError: The file has another header.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.num_rows = 0
        """Rows in the file."""
        if path.exists() and path.stat().st_size > 0:
            self._drop_incomplete_line()
            with path.open("rb") as file:
                header = file.readline().decode(errors="replace")
                self.num_rows = sum(1 for _ in file)
            # The file is empty if its header was incomplete.
            if header and header != _HEADER:
                raise AeframeError(
                    f"'{path}' begins with '{header.strip()}', expected '{_HEADER.strip()}'; "
                    "move it out of the run folder"
                )

    def append(self, numbers: Mapping[str, float], *, step: int, epoch: int, split: str) -> None:
        """Append the metrics of a split, which were measured after `step` batches."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        # repr keeps every digit of a float.
        writer.writerows((step, epoch, split, name, repr(float(value))) for name, value in numbers.items())
        with self.path.open("a", encoding="utf-8", newline="") as file:
            if file.tell() == 0:
                file.write(_HEADER)
            file.write(text.getvalue())
        self.num_rows += len(numbers)

    def read(self) -> list[Measurement]:
        """Return all rows in order. Of several rows with the same step, split and name, only the last one is returned.

        Raises:
            AeframeError: A malformed row, or a file that is not text.
        """
        latest: dict[tuple[int, str, str], Measurement] = {}
        for line, fields in enumerate(self._rows(), start=1):
            # The first line is the header.
            if line > 1:
                row = self._row(line, fields)
                latest[row.step, row.split, row.name] = row
        return list(latest.values())

    def keep(self, is_kept: Callable[[int, Measurement], bool]) -> None:
        """Remove the rows for which ``is_kept(number, row)`` is False; the first row has number 0.

        A resumed run thus removes rows that it will write again.
        """
        if not self.path.exists():
            return
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        rows = [self._row(line, fields) for line, fields in enumerate(self._rows(), start=1) if line > 1]
        kept = [row for number, row in enumerate(rows) if is_kept(number, row)]
        if len(kept) < len(rows):
            writer.writerows((*row[:4], repr(row.value)) for row in kept)
            write_text(self.path, _HEADER + text.getvalue())
        self.num_rows = len(kept)

    def _rows(self) -> list[list[str]]:
        """Return the fields of all lines, including the header."""
        if not self.path.exists():
            return []
        try:
            with self.path.open(encoding="utf-8", newline="") as file:
                return list(csv.reader(file))
        except (UnicodeDecodeError, csv.Error) as error:
            raise AeframeError(
                f"'{self.path}' cannot be read as a table of measurements ({error}); move it out of the run folder"
            ) from error

    def _row(self, line: int, fields: list[str]) -> Measurement:
        try:
            step, epoch, split, name, value = fields
            return Measurement(int(step), int(epoch), split, name, float(value))
        except ValueError:
            raise AeframeError(
                f"'{self.path}', line {line}: expected '{_HEADER.strip()}', found '{','.join(fields)}'; "
                "correct or delete that line"
            ) from None

    def _drop_incomplete_line(self) -> None:
        """Remove the bytes after the last line break."""
        with self.path.open("rb+") as file:
            content = file.read()
            if not content.endswith(b"\n"):
                file.truncate(content.rfind(b"\n") + 1)
