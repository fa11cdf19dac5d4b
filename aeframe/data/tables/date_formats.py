"""Formats of dates, found from one cell: ``"1/2/2021 1:00 PM"`` is ``%d/%m/%Y %I:%M %p`` or ``%m/%d/%Y %I:%M %p``."""

from __future__ import annotations

import re

_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
_TOKEN = re.compile(
    r"(?P<clock>\d{1,2}:\d{2}(:\d{2}(?P<fraction>[.,]\d+)?)?(\s?(?P<half>[ap]m))?)"
    r"|(?P<zone>(?<=\d)\s?(Z|UTC|GMT|[+-]\d{2}:?\d{2})\b)"
    r"|(?P<year>(?<!\d)\d{4}(?!\d))"
    r"|(?P<number>(?<!\d)\d{1,2}(?!\d))"
    r"|(?P<word>[A-Za-z]+)",
    re.IGNORECASE,
)
_ORDERS = {
    # Roles of the numbers of one or two digits: by whether the year has four digits, whether the month is a name, and
    # how many numbers there are.
    (True, False, 2): (("%d", "%m"), ("%m", "%d")),
    (True, False, 1): (("%m",),),
    (True, True, 1): (("%d",),),
    (True, True, 0): ((),),
    (False, False, 3): (("%d", "%m", "%y"), ("%m", "%d", "%y"), ("%y", "%m", "%d")),
    (False, True, 2): (("%d", "%y"),),
    (False, True, 1): (("%y",),),
}


def candidate_formats(text: str) -> list[str]:
    """Return the formats of `datetime.strptime` that may have written `text`, at most three; an empty list for none.

    Formats without a year are not among them.
    """
    roles: list[str | None] = []
    for match in _TOKEN.finditer(text):
        role = _role(match)
        if role == "":
            return []
        roles.append(role)
    names, numbers = [role for role in roles if role is not None], roles.count(None)
    has_year, has_month = "%Y" in names, "%b" in names or "%B" in names
    if names.count("%Y") > 1 or sum(name.startswith(("%H", "%I")) for name in names) > 1:
        return []
    orders = _ORDERS.get((has_year, has_month, numbers), ())
    if has_year and not has_month and numbers == 2 and roles.index("%Y") < roles.index(None):
        # With the year first the month is always second.
        orders = (("%m", "%d"),)
    return [_filled(text, roles, order) for order in orders]


def _role(match: re.Match[str]) -> str | None:
    """Return the directive of a token; None for a number that may be a day, a month or a year; "" for no date."""
    kind, text = match.lastgroup, match.group()
    if match["clock"] is not None:
        hour = "%I" if match["half"] else "%H"
        seconds = (
            "" if text.count(":") < 2 else ":%S" + ("" if match["fraction"] is None else f"{match['fraction'][0]}%f")
        )
        half = "" if match["half"] is None else (" %p" if " " in text else "%p")
        return f"{hour}:%M{seconds}{half}"
    if match["zone"] is not None:
        return " %z" if text[0].isspace() else "%z"
    if kind == "year":
        return "%Y"
    if kind == "number":
        return None
    word = text.lower()
    if word == "t":
        return "T"
    for names, short, long in ((_MONTHS, "%b", "%B"), (_DAYS, "%a", "%A")):
        if word in names and len(word) > 3:
            return long
        if word in {name[:3] for name in names}:
            return short
    return ""


def _filled(text: str, roles: list[str | None], order: tuple[str, ...]) -> str:
    """Return `text` with the directive of each token in its place; `order` has those of the plain numbers."""
    given = iter(order)
    directives = iter(next(given) if role is None else role for role in roles)
    return _TOKEN.sub(lambda match: next(directives), text.replace("%", "%%"))
