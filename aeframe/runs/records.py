"""The table of a run: every measurement is one row, appended and never rewritten."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from pathlib import Path

from aeframe.errors import AeframeError
from aeframe.evaluation.measurement import Measurement

_HEADER = ",".join(Measurement._fields) + "\n"


class Records:
    """A tidy CSV: ``step, epoch, split, name, value``, one measurement a row.

    An existing table is continued. A last row that was cut off when a run was killed is dropped, since half a number
    looks like a number.

    Raises:
        AeframeError: The file is another table.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.num_rows = 0
        """Rows in the file."""
        if path.exists() and path.stat().st_size > 0:
            self._drop_half_row()
            with path.open("rb") as file:
                header = file.readline().decode(errors="replace")
                self.num_rows = sum(1 for _ in file)
            # A cut-off header leaves nothing: the table begins anew.
            if header and header != _HEADER:
                raise AeframeError(
                    f"'{path}' begins with '{header.strip()}', expected '{_HEADER.strip()}'; "
                    "move it out of the run folder"
                )

    def append(self, numbers: Mapping[str, float], *, step: int, epoch: int, split: str) -> None:
        """Add what was measured on a split after `step` batches; it is in the file when this returns."""
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
        """Return every measurement, in order; one that was measured twice counts once, as measured last.

        Raises:
            AeframeError: A row that is no measurement, or a file that is no text.
        """
        found: dict[tuple[int, str, str], Measurement] = {}
        for line, fields in enumerate(self._rows(), start=1):
            if line > 1:
                row = self._row(line, fields)
                found[row.step, row.split, row.name] = row
        return list(found.values())

    def keep(self, wanted: Callable[[int, Measurement], bool]) -> None:
        """Drop every row for which `wanted` of its number (from 0) and of itself is False.

        A resumed run drops what it is about to measure again.
        """
        if not self.path.exists():
            return
        lines = io.StringIO(newline="")
        writer = csv.writer(lines, lineterminator="\n")
        rows = [self._row(line, fields) for line, fields in enumerate(self._rows(), start=1) if line > 1]
        kept = [row for number, row in enumerate(rows) if wanted(number, row)]
        if len(kept) < len(rows):
            writer.writerows((*row[:4], repr(row.value)) for row in kept)
            partial = self.path.with_name(f".{self.path.name}.partial")
            partial.write_text(_HEADER + lines.getvalue(), encoding="utf-8", newline="")
            partial.replace(self.path)
        self.num_rows = len(kept)

    def _rows(self) -> list[list[str]]:
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

    def _drop_half_row(self) -> None:
        """Cut what stands after the last end of a line."""
        with self.path.open("rb+") as file:
            content = file.read()
            if not content.endswith(b"\n"):
                file.truncate(content.rfind(b"\n") + 1)
