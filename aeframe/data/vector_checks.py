"""Which rows of a table cannot be used, and why: `bad_values` before scaling, `outside_domain` after it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from aeframe.data.file_samples import OnError
from aeframe.data.tables import Rows
from aeframe.errors import AeframeError
from aeframe.types import Domain

TRAINING = "leave the row out with modality.on_error=skip"
"""What an error message advises in training."""
READING = "leave the row out with on_error=skip"
"""What it advises when a file is read after training."""
IN_MEMORY = "drop the row"
"""What it advises for rows in memory."""
_LARGEST = float(np.finfo(np.float32).max)


def bad_values(rows: Rows, *, is_masked: bool, way_out: str) -> Iterator[tuple[int, str]]:
    """Yield number and error message of each row that could not be read or has a value that cannot be stored.

    These are infinite values, values too large for single precision, and missing ones unless they are masked.

    Args:
        rows: The rows before scaling.
        is_masked: Whether missing values are masked.
        way_out: What the messages advise, one of the constants above.
    """
    if rows.values.dtype.kind != "f":
        yield from ((row, f"{message}; correct it, or {way_out}") for row, message in sorted(rows.bad.items()))
        return
    for start, values in rows.chunks():
        bad = np.isinf(values) if is_masked else ~np.isfinite(values)
        if values.dtype.itemsize > 4:
            bad |= np.abs(values) > _LARGEST
        is_bad = bad.reshape(len(bad), -1).any(1)
        is_bad[[row - start for row in rows.bad if start <= row < start + len(bad)]] = True
        for row in np.flatnonzero(is_bad).tolist():
            if start + row in rows.bad:
                yield start + row, f"{rows.bad[start + row]}; correct it, or {way_out}"
                continue
            element = [int(i) for i in np.argwhere(bad[row])[0]]
            yield start + row, _message(rows, start + row, element, float(values[row][tuple(element)]), way_out)


def _message(rows: Rows, row: int, element: list[int], value: float, way_out: str) -> str:
    where = rows.where(row, element)
    if np.isnan(value):
        mask = ", or set modality.missing=mask to leave the value out" if way_out == TRAINING else ""
        return f"{where}: the value is missing (NaN); fill it{', ' if mask else ', or '}{way_out}{mask}"
    if np.isinf(value):
        return f"{where}: the value is infinite; correct it, or {way_out}"
    return f"{where}: {value:g} is too large for single precision (at most 3.4e+38); correct it, or {way_out}"


def outside_domain(rows: Rows, x: Tensor, start: int, domain: Domain, *, way_out: str) -> Iterator[tuple[int, str]]:
    """Yield number and error message of each row with a value outside the domain after scaling.

    Args:
        rows: The rows before scaling.
        x: ``(B, *shape)``, some of the rows after scaling.
        start: The number of the first row of x.
        domain: The domain of x.
        way_out: What the messages advise, one of the constants above.
    """
    other = ", or set another modality.domain" if way_out == TRAINING else ""
    advice = f"{', ' if other else ', or '}{way_out}{other}"
    for first_row in domain.violations(x).nonzero().flatten().tolist():
        row = start + first_row
        if domain.kind == "simplex":
            yield (
                row,
                (
                    f"{rows.where(row)}: the values are outside domain 'simplex' (each at least 0, and a sum of one); "
                    f"correct them{advice}"
                ),
            )
            continue
        # Each element as a sample of its own, to find the first one outside.
        first = int(domain.violations(x[first_row].reshape(-1, 1)).nonzero()[0])
        element = tuple(int(i) for i in np.unravel_index(first, x.shape[1:]))
        value = float(rows.values[row][element])
        yield row, f"{rows.where(row, element)}: {value:g} is outside domain '{domain}'; correct it{advice}"


def rows_left(rows: Rows, problems: Iterable[tuple[int, str]], on_error: OnError) -> tuple[Tensor | None, list[str]]:
    """Return the numbers ``(n,)`` of the rows without problems, None for all, and the messages about the others.

    Raises:
        AeframeError: The first problem, if `on_error` is ``raise``; or no row is left.
    """
    messages: dict[int, str] = {}
    for row, message in problems:
        if on_error == "raise":
            raise AeframeError(message)
        messages[row] = message
    if not messages:
        return None, []
    is_good = torch.ones(len(rows), dtype=torch.bool)
    is_good[list(messages)] = False
    if not is_good.any():
        raise AeframeError(f"'{rows.origin}': all {len(rows)} rows are bad; the first: {next(iter(messages.values()))}")
    return is_good.nonzero().flatten(), [message.partition(";")[0] for message in messages.values()]
