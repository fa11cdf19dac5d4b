"""Tables, views and queries of SQLite files: `read`."""

from __future__ import annotations

import shlex
import sqlite3
from contextlib import closing
from pathlib import Path

import pandas as pd

from aeframe.data.file_samples import OnError
from aeframe.errors import AeframeError, did_you_mean
from aeframe_tabular.reading.checks import checked
from aeframe_tabular.reading.plain_columns import plain_frame
from aeframe_tabular.reading.selection import chosen_columns
from aeframe_tabular.reading.table import RawTable, TableOptions


def read(path: Path, options: TableOptions, on_error: OnError) -> RawTable:
    """Read a table or the rows of a query; see `aeframe_tabular.reading.read_frame`. The file is opened read-only."""
    if options.query is not None and options.table is not None:
        raise AeframeError("data.query and data.table exclude each other; remove one")
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            query = options.query or _select(path, connection, options.table)
            cursor = connection.execute(query)
            if cursor.description is None:
                raise AeframeError(f"data.query returns no rows of '{path.name}', expected a SELECT")
            names = [str(column[0]) for column in cursor.description]
            chosen = chosen_columns(f"'{path.name}'", names, options)
            # As objects, so that integers with NULL among them stay integers.
            rows = pd.DataFrame(cursor.fetchall(), columns=range(len(names)), dtype=object)
    except (sqlite3.Error, sqlite3.Warning) as error:
        what = "data.query cannot be run on" if options.query is not None else "SQLite cannot read"
        raise AeframeError(f"{what} '{path.name}' ({error})") from None
    if not len(rows):
        raise AeframeError(f"'{path.name}' has no rows{' for data.query' if options.query else ''}, expected some")
    frame = rows.iloc[:, chosen].set_axis([names[number] for number in chosen], axis=1)
    plain, notes = plain_frame(frame, f"'{path.name}'", options.missing, parse=True)
    return checked(RawTable(plain, path.name, notes, options=options), on_error)


def _select(path: Path, connection: sqlite3.Connection, wanted: str | None) -> str:
    """Return the query of all rows of a table or view.

    Raises:
        AeframeError: It does not exist, or there are several and none is chosen.
    """
    query = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%' ORDER BY name"
    names = [str(name) for (name,) in connection.execute(query)]
    shown = ", ".join(names) or "none"
    if wanted is None and len(names) != 1:
        choose = f"; choose one with {shlex.quote(f'data.table={names[0]}')}, or set data.query" if names else ""
        raise AeframeError(f"'{path.name}' has {len(names)} tables ({shown}){choose}")
    name = names[0] if wanted is None else wanted
    if name not in names:
        raise AeframeError(f"'{path.name}' has no table '{name}'{did_you_mean(name, names)}; its tables are {shown}")
    quoted = name.replace('"', '""')
    return f'SELECT * FROM "{quoted}"'
