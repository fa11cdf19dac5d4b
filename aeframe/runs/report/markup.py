"""Build HTML in which every text is escaped: `element` escapes its content unless it is `Html`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from aeframe.errors import printable

_VOID = frozenset({"meta", "img", "line", "rect", "circle", "polyline"})
"""Elements without content and end tag; those of SVG are closed by a slash."""


class Html(str):
    """HTML source, which is not escaped again."""

    __slots__ = ()


def text(content: object) -> Html:
    """Return text as HTML: markup is escaped, and so are control characters (see `aeframe.errors.printable`)."""
    return content if isinstance(content, Html) else Html(escape(printable(str(content)), quote=True))


def element(tag: str, *content: object, **attributes: object) -> Html:
    """Return an HTML or SVG element.

    Args:
        tag: Its name.
        content: What it contains; everything but `Html` is escaped.
        attributes: Values are escaped, and attributes with the value None are left out. In names, ``_`` stands for
            ``-``, and one at the end is left out: ``class_="plot"``.
    """
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{text(value)}"'
        for name, value in attributes.items()
        if value is not None
    )
    if tag in _VOID:
        return Html(f"<{tag}{written}/>")
    return Html(f"<{tag}{written}>{''.join(text(part) for part in content)}</{tag}>")


def join(parts: Iterable[object]) -> Html:
    """Return parts as HTML, one after another."""
    return Html("\n".join(text(part) for part in parts))


def bullet_list(items: Iterable[object]) -> Html:
    """Return an unordered list."""
    return element("ul", *(element("li", item) for item in items))


def table(
    caption: str, header: Sequence[str], rows: Iterable[Sequence[object]], *, numeric: Sequence[int] = ()
) -> Html:
    """Return a table that scrolls inside its own box where the screen is narrow.

    Args:
        caption: What the table has, for readers who do not see it.
        header: The names of the columns.
        rows: The cells; the first of each row is its heading.
        numeric: Indices of columns that are aligned on the right.
    """

    def kind(column: int) -> str | None:
        return "number" if column in numeric else None

    head = element("tr", *(element("th", name, scope="col", class_=kind(at)) for at, name in enumerate(header)))
    body = [
        element(
            "tr",
            *(
                element("td" if at else "th", cell, scope=None if at else "row", class_=kind(at))
                for at, cell in enumerate(row)
            ),
        )
        for row in rows
    ]
    content = element("table", element("thead", head), element("tbody", *body))
    # A box that scrolls can be reached with the keyboard.
    return element("div", content, class_="scroll", tabindex="0", role="region", aria_label=caption)
