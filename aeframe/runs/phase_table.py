"""Print and store the time of the phases of a run."""

from __future__ import annotations

import json

from rich.console import Console
from rich.table import Table

from aeframe.model_store.files import write_text
from aeframe.phases import current
from aeframe.runs.folder import RunFolder


def report_phases(console: Console, folder: RunFolder) -> None:
    """Print the phases of the run up to now, and write them to its folder."""
    phases = current()
    if phases is not None:
        seconds = phases.total()
        console.print(phase_table(seconds))
        write_text(folder.time, json.dumps({name: round(value, 6) for name, value in seconds.items()}, indent=2) + "\n")


def phase_table(seconds: dict[str, float]) -> Table:
    """Return a table of phases with their seconds and their shares of the sum, the longest first."""
    table = Table(title="time", title_style="bold")
    table.add_column("phase")
    table.add_column("seconds", justify="right")
    table.add_column("share", justify="right")
    total = sum(seconds.values())
    for name, value in sorted(seconds.items(), key=lambda item: -item[1]):
        table.add_row(name, f"{value:.2f}", f"{value / total:.0%}" if total > 0 else "")
    table.add_section()
    table.add_row("all", f"{total:.2f}", "")
    return table
