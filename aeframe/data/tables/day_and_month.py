"""The order of day and month in dates that are text, such as 1/2/2021."""

from __future__ import annotations

from collections.abc import Sequence

from aeframe.errors import AeframeError


def is_day_first(date_format: str) -> bool:
    """Return whether the day is before the month in a format of `datetime.strptime`."""
    return "%d" in date_format and date_format.find("%d") < date_format.find("%m")


def decided_format(
    formats: Sequence[str], day_first: bool | None, *, origin: str, example: str, remedy: str, training: bool = True
) -> str:
    """Return the right one of several formats that all fit the dates of a column.

    Args:
        formats: The formats, those of the usual order first.
        day_first: Whether the day is before the month; None if it is unknown.
        origin: What holds the dates, for the error message.
        example: One of the dates.
        remedy: An option, with its value, that states the format.
        training: Whether options of the dataset can be set; a file for a trained model can only be corrected.

    Raises:
        AeframeError: `day_first` does not decide.
    """
    if len(formats) > 1 and day_first is not None:
        formats = [each for each in formats if is_day_first(each) == day_first][:1] or formats
    if len(formats) > 1 and "." in formats[0].partition(" ")[0]:
        # Dates with points have the day first everywhere.
        formats = [each for each in formats if is_day_first(each)] or formats
    if len(formats) > 1:
        advice = f"set data.day_first to true or false, or {remedy}" if training else "write them as 2021-02-01"
        raise AeframeError(
            f"{origin}: day and month cannot be told apart in the dates ('{example}' fits {' and '.join(formats)}); "
            f"{advice}"
        )
    return formats[0]
