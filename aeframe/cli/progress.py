"""`with_progress`: a progress bar on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def with_progress(items: Iterable[Item], num: int, description: str) -> Iterator[Item]:
    """Yield `items`, with a progress bar on stderr if it is a terminal; the bar disappears at the end.

    Args:
        items: The items.
        num: Their number.
        description: What is done with them, such as ``encode``.
    """
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return iter(track(items, description, num, console=console, transient=True, disable=not console.is_terminal))
