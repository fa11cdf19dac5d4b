"""Which columns of a file are read: `chosen_columns`."""

from __future__ import annotations

from collections.abc import Sequence

from aeframe.data.tables.rows import listed
from aeframe.errors import AeframeError, did_you_mean
from aeframe_tabular.reading.table import TableOptions


def chosen_columns(file: str, names: Sequence[str], options: TableOptions, kept: Sequence[int] = ()) -> list[int]:
    """Return the indices among `names` of the columns that are read.

    Args:
        file: The name of the file in error messages, in quotation marks.
        names: The names of all columns.
        options: The names in `TableOptions.columns` or without those in `TableOptions.exclude`.
        kept: Indices of columns with another role, which are not returned.

    Raises:
        AeframeError: A column does not exist, has no name, or two columns have the same name.
    """
    positions: dict[str, int] = {}
    for number, name in enumerate(names):
        if name in positions and number not in kept and name not in options.exclude:
            called = f"named '{name}'" if name else "without a name"
            raise AeframeError(
                f"{file} has two columns {called} (columns {positions[name] + 1} and {number + 1}); rename one"
            )
        positions.setdefault(name, number)
    for option, wanted in (("columns", options.columns or ()), ("exclude", options.exclude)):
        unknown = next((name for name in wanted if name not in positions), None)
        if unknown is not None:
            raise AeframeError(
                f"{file} has no column '{unknown}' for data.{option}{did_you_mean(unknown, names)}; its columns are "
                f"{listed(names)}"
            )
    if options.columns is not None:
        chosen = [positions[name] for name in options.columns if name not in options.exclude]
    else:
        chosen = [n for n, name in enumerate(names) if n not in kept and name not in options.exclude]
    unnamed = next((number for number in chosen if not names[number].strip()), None)
    if unnamed is not None:
        raise AeframeError(
            f"column {unnamed + 1} of {file} has no name; name it, or leave it out with data.exclude=['']"
        )
    if not chosen:
        raise AeframeError(f"{file} has no column left; its columns are {listed(names)}")
    return chosen
