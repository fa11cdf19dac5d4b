"""``aeframe table FILE`` prints the columns of a table, and what a run does with each."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aeframe.cli import Command
from aeframe.errors import AeframeError, printable
from aeframe_tabular.column import Column

_MAX_EXAMPLE = 24
_MAX_NOTES = 20


class Table(Command):
    """Print the columns of a table: kind, missing cells, distinct values, an example, and why a column has its kind.

    Options of the data are written as for a run, such as ``data.delimiter=tab`` or ``data.kinds.zip=category``.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "file", metavar="FILE", type=Path, help="a CSV, Parquet, Feather, Excel, SQLite or NPZ file"
        )
        parser.add_argument("overrides", metavar="data.OPTION=VALUE", nargs="*", help="options of the dataset 'table'")
        parser.add_argument("--json", action="store_true", help="print JSON")

    def run(self, args: Namespace) -> int:
        from aeframe.factory import build
        from aeframe_tabular.inference import infer_columns
        from aeframe_tabular.reading import read_frame

        options = data_options(args.overrides)
        dataset = build("dataset", {"name": "table", **options, "path": str(args.file)})
        raw = read_frame(dataset.path, dataset.options, on_error=dataset.on_error)
        columns = infer_columns(
            raw, kinds=dataset.kinds, date_formats=dataset.date_formats, day_first=dataset.day_first
        )
        if args.json:
            found: dict[str, Any] = {
                "rows": len(raw.frame),
                "columns": [column.to_dict() for column in columns],
                "notes": raw.notes,
                "skipped": list(raw.bad.values()),
            }
            print(json.dumps(found, indent=2, default=str))
            return 0
        num_used = sum(column.is_used for column in columns)
        print(f"{args.file.name}: {len(raw.frame):,} rows, {len(columns)} columns, {num_used} of them used")
        _print_columns(columns, len(raw.frame))
        for note in raw.notes:
            print(f"note: {printable(note)}")
        bad = list(raw.bad.values())
        for sentence in bad[:_MAX_NOTES]:
            print(f"left out: {printable(sentence)}")
        if len(bad) > _MAX_NOTES:
            print(f"left out: {len(bad) - _MAX_NOTES} more rows")
        _print_overrides(columns)
        return 0


def data_options(overrides: Sequence[str]) -> dict[str, Any]:
    """Return the options of the dataset in overrides of the form ``data.OPTION=VALUE``, in Hydra's grammar.

    Raises:
        AeframeError: One has another form, or is no option of the data.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    from aeframe.experiment.dotted_keys import set_value

    config: dict[str, Any] = {}
    for line in overrides:
        if not line.startswith("data."):
            raise AeframeError(
                f"'{line}' is no option of the data, expected data.OPTION=VALUE, such as data.delimiter=tab"
            )
        try:
            override = OverridesParser.create().parse_override(line)
        except HydraException as error:
            reason = str(error).splitlines()[0]
            raise AeframeError(
                f"'{line}' cannot be parsed ({reason}); write a text with special characters in quotation marks "
                "within those of the shell, such as 'data.delimiter=\";\"'"
            ) from None
        value = override.value()
        if isinstance(value, dict):
            value = {str(key): item for key, item in value.items()}
        set_value(config, override.key_or_group, value)
    options: dict[str, Any] = config.get("data", {})
    if "path" in options:
        raise AeframeError("data.path is the FILE of this command; remove it")
    return options


def _print_columns(columns: Sequence[Column], num_rows: int) -> None:
    """Print a table with a row for each column."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table as RichTable

    table = RichTable()
    for heading in ("column", "kind"):
        table.add_column(heading, overflow="fold")
    for heading in ("missing", "distinct"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("example", "what it is"):
        table.add_column(heading, overflow="fold")
    for column in columns:
        cells = (
            column.name,
            column.kind,
            _share(column.num_missing, num_rows),
            f"{column.num_distinct:,}",
            _shortened(column.example),
            _description(column),
        )
        table.add_row(*(escape(printable(cell)) for cell in cells), style=None if column.is_used else "dim")
    console = Console()
    if not console.is_terminal:
        # A file or pipe has no width: rows are as long as they have to be.
        console.width = max(console.width, console.measure(table, options=console.options.update(width=10_000)).maximum)
    console.print(table)


def _description(column: Column) -> str:
    """Return why a column has its kind, and the range of numbers and dates."""
    if not column.is_used:
        return f"left out: {column.reason}"
    if column.low is None or column.high is None:
        return column.reason
    if column.kind == "date":
        low, high = (str(np.datetime64(int(bound), "s").astype("datetime64[D]")) for bound in (column.low, column.high))
        return f"{column.reason}, {low} to {high}"
    return f"{column.reason}, {column.low:g} to {column.high:g}"


def _share(num: int, num_rows: int) -> str:
    if num == 0:
        return ""
    return f"{num:,} (<1%)" if 100 * num < num_rows else f"{num:,} ({num / num_rows:.0%})"


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_EXAMPLE else f"{text[: _MAX_EXAMPLE - 3]}..."


def _print_overrides(columns: Sequence[Column]) -> None:
    """Print how the kind of a column is changed, and how a name is written that a dotted key cannot have."""
    from aeframe_tabular.column import KINDS
    from aeframe_tabular.kind_overrides import kind_override

    left_out = [column for column in columns if not column.is_used]
    first = (left_out or list(columns))[0]
    print(f"Change a kind: {kind_override(first.name, 'category')} (kinds: {', '.join(KINDS)})")
    special = next((column for column in columns if "{" in kind_override(column.name, "number")), None)
    if special is not None and special is not first:
        print(f"A name with blanks, dots or other characters: {kind_override(special.name, 'category')}")
