"""`make_page`: the report of a run as one HTML page."""

from __future__ import annotations

from aeframe.runs.report import sections
from aeframe.runs.report.contents import ReportContents
from aeframe.runs.report.markup import Html, element, join
from aeframe.runs.report.players import players
from aeframe.runs.report.shell import html_page


def make_page(run: ReportContents) -> str:
    """Return the report of a run as HTML, which refers to no other file or host.

    Sections that the run has nothing for are left out.
    """
    recipe = str((run.config.get("model") or {}).get("name", "custom"))
    dataset = str((run.config.get("data") or {}).get("name", "data"))
    title = f"{recipe} on {dataset}"
    chosen: list[tuple[str, Html | None]] = [
        ("Settings", sections.settings(run)),
        ("Learning curves", sections.curves(run)),
        ("Test metrics", sections.test_metrics(run)),
        ("Test metrics of parts", sections.tables(run)),
        ("Comparison of new samples", sections.comparison(run)),
        ("Advice", sections.advice(run)),
        ("Pictures", sections.pictures(run)),
        ("Sounds and videos", players(run.players)),
        ("Data", sections.data(run)),
        ("Latent", sections.latent(run)),
        ("Reproduction", sections.reproduction(run)),
    ]
    parts = [element("section", element("h2", heading), content) for heading, content in chosen if content is not None]
    about = f"Run {run.folder.name}, finished {run.finished:%Y-%m-%d %H:%M}"
    return html_page(title, about, join(parts), title=f"{title}, {run.folder.name}")
