"""The table of a run: every measurement as one line, appended and never rewritten."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from aeframe.errors import AeframeError
from aeframe.evaluation.rows import Row

_HEADER = ",".join(Row._fields) + "\n"


class Records:
    """A tidy CSV: ``step, epoch, split, name, value``, one measurement a line.

    Opening an existing table goes on with it. A last line that was cut off when a run was killed is dropped, since
    half a number looks like a number; every whole line stays.

    Raises:
        AeframeError: The file is another table.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists() or path.stat().st_size == 0:
            path.write_text(_HEADER, encoding="utf-8")
            return
        self._mend()
        with path.open(encoding="utf-8", newline="") as file:
            header = file.readline()
        if header != _HEADER:
            raise AeframeError(
                f"'{path}' begins with '{header.strip()}', expected '{_HEADER.strip()}'; move it out of the run folder"
            )

    def append(self, numbers: Mapping[str, float], *, step: int, epoch: int, split: str) -> None:
        """Add what was measured on a split after `step` batches; it is in the file when this returns."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        # repr keeps every digit of a float.
        writer.writerows((step, epoch, split, name, repr(float(value))) for name, value in numbers.items())
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(text.getvalue())

    def read(self) -> list[Row]:
        """Return every measurement, in order.

        What a resumed run did again (same step, split and name) counts once, as it was measured last.
        """
        found: dict[tuple[int, str, str], Row] = {}
        with self.path.open(encoding="utf-8", newline="") as file:
            for line, fields in enumerate(csv.reader(file), start=1):
                if line > 1:
                    row = self._row(line, fields)
                    found[row.step, row.split, row.name] = row
        return list(found.values())

    def _row(self, line: int, fields: list[str]) -> Row:
        try:
            step, epoch, split, name, value = fields
            return Row(int(step), int(epoch), split, name, float(value))
        except ValueError:
            raise AeframeError(
                f"'{self.path}', line {line}: expected '{_HEADER.strip()}', found '{','.join(fields)}'; "
                "mend or delete that line"
            ) from None

    def _mend(self) -> None:
        """Cut what stands after the last end of a line."""
        with self.path.open("rb+") as file:
            content = file.read()
            if not content.endswith(b"\n"):
                file.truncate(content.rfind(b"\n") + 1)
        if self.path.stat().st_size == 0:
            self.path.write_text(_HEADER, encoding="utf-8")
