"""Intervals between two checkpoints: a number of batches, or a time such as ``10min``."""

from __future__ import annotations

import re

from aeframe.errors import AeframeError

_TIME = re.compile(r"(\d+(?:\.\d+)?) ?(s|min|h)")
_SECONDS = {"s": 1, "min": 60, "h": 3600}


def interval(setting: str, value: int | str | None) -> int | str | None:
    """Return an interval as a config stores it: batches as an int, a time as ``NUMBER`` and ``s``, ``min`` or ``h``.

    Raises:
        AeframeError: A string of another form, or an interval of nothing.
    """
    if value is None:
        return None
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if isinstance(value, int):
        if isinstance(value, bool) or value < 1:
            raise AeframeError(
                f"setting '{setting}' must be at least 1 batch, found {value}; set {setting} to such a number"
            )
        return value
    if _TIME.fullmatch(value.strip()) is None or interval_seconds(value) <= 0:
        raise AeframeError(
            f"setting '{setting}' expects a number of batches or a time, found {value!r}; "
            f"write {setting}=500, {setting}=90s, {setting}=10min or {setting}=2h"
        )
    return value.strip()


def interval_seconds(value: str) -> float:
    """Return the seconds in a time of the form that `interval` accepts: 600 for ``10min``."""
    found = _TIME.fullmatch(value.strip())
    assert found is not None
    return float(found.group(1)) * _SECONDS[found.group(2)]
