"""`comparison_page`: several runs on one HTML page, with tables and curves over one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aeframe.errors import AeframeError
from aeframe.runs.comparison import ComparedRun
from aeframe.runs.folder import RunFolder
from aeframe.runs.records import Records
from aeframe.runs.report.charts import Points, line_chart
from aeframe.runs.report.markup import Html, element, join, table
from aeframe.runs.report.sections import curves_by_name, ordered_curves
from aeframe.runs.report.shell import html_page

_COLORS, _DASHES = 6, 4
_MAX_LINES = _COLORS * _DASHES
"""Runs whose lines can be told apart: each has a colour and a dash pattern of its own."""
_SPLITS = {"train": "training", "val": "validation"}
_STYLE = """
:root { --k0: #0072b2; --k1: #d55e00; --k2: #007a5a; --k3: #a8327d; --k4: #1c1c1c; --k5: #8a6a00; }
@media (prefers-color-scheme: dark) {
  :root { --k0: #56b4e9; --k1: #e69f00; --k2: #2bbd91; --k3: #f09cc8; --k4: #f2f2f2; --k5: #f0e442; } }
main { max-width: 80rem; }
.compare td, .compare td:nth-child(4) { min-width: 0; }
.compare th, .compare td { white-space: nowrap; max-width: none; }
ul.lines { list-style: none; padding: 0; columns: 17rem; max-width: none; }
ul.lines li { break-inside: avoid; }
ul.lines svg { width: 2.4rem; height: .7rem; margin-right: .5rem; vertical-align: middle; }
svg .d1 { stroke-dasharray: 8 4; }
svg .d2 { stroke-dasharray: 2 3; }
svg .d3 { stroke-dasharray: 9 3 2 3; }
""" + "".join(
    f"svg .line.k{at} {{ stroke: var(--k{at}); }}\nsvg .dot.k{at} {{ fill: var(--k{at}); }}\n" for at in range(_COLORS)
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the page of several runs shows."""

    title: str
    about: str
    runs: Sequence[ComparedRun]
    """The rows of the first table; their order is that of the lines."""
    keys: Sequence[str]
    """Settings that differ."""
    metrics: Sequence[str]
    """Metrics of the first table."""
    further: Sequence[str] = ()
    """Metrics of a second table, which is folded."""
    best: ComparedRun | None = None
    best_by: str = ""
    """By which metric `best` is the best, and in which direction."""
    means: Sequence[ComparedRun] = ()
    """Means over the seeds, with settings `mean_keys`."""
    mean_keys: Sequence[str] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    """Errors by point of a sweep."""


def comparison_page(shown: Comparison) -> str:
    """Return the page as HTML, which refers to no other file or host.

    Curves are read from the folders of the runs; a run without them has no line.
    """
    chosen = [("Runs", _runs(shown))]
    if shown.means:
        chosen.append(("Means over seeds", _table(shown.means, shown.mean_keys, shown.metrics, None)))
    if shown.failed:
        rows = list(shown.failed.items())
        chosen.append(("Points without a result", table("Points without a result", ("point", "error"), rows)))
    if drawn := _curves(shown):
        chosen.append(("Learning curves", drawn))
    parts = [element("section", element("h2", heading), content) for heading, content in chosen]
    return html_page(shown.title, shown.about, join(parts), style=_STYLE)


def _runs(shown: Comparison) -> Html:
    parts: list[object] = []
    if any(len(run.names) > 1 for run in shown.runs):
        parts.append(element("p", "Values are means ± sample standard deviations over the given number of runs."))
    if shown.best is not None:
        label = _label(shown.best, shown.keys)
        parts.append(element("p", "★ marks the best run by ", shown.best_by, ": ", element("strong", label), "."))
    parts.append(_table(shown.runs, shown.keys, shown.metrics, shown.best))
    if shown.further:
        summary = element("summary", f"{len(shown.further)} further metrics")
        parts.append(element("details", summary, _table(shown.runs, shown.keys, shown.further, shown.best)))
    return join(parts)


def _table(runs: Sequence[ComparedRun], keys: Sequence[str], metrics: Sequence[str], best: ComparedRun | None) -> Html:
    counted = any(len(run.names) > 1 for run in runs)
    # Settings tell the rows apart, so that the long names of runs are the last column; several runs have no name.
    first = [] if keys else ["run"]
    last = ["run"] if keys and not counted else []
    header = [*first, *keys, *(["runs"] if counted else []), *metrics, *last]
    rows = []
    for run in runs:
        row: list[object] = [run.short_name for _ in first]
        row += [run.settings.get(key, "") for key in keys]
        row += [len(run.names)] if counted else []
        row += map(run.number, metrics)
        row += [run.short_name for _ in last]
        rows.append([element("strong", "★ ", row[0]), *row[1:]] if run is best else row)
    end = len(header) - len(last)
    numeric = range(end - len(metrics), end)
    return element("div", table("Settings and metrics", header, rows, numeric=numeric), class_="compare")


def _curves(shown: Comparison) -> Html | None:
    """Return the curves of all runs by name and split, with a legend; None if no run has any."""
    runs = shown.runs[:_MAX_LINES]
    classes: dict[str, str] = {}
    lines: dict[str, dict[str, dict[str, Points]]] = {}
    legend = []
    for at, run in enumerate(runs):
        style = f"k{at % _COLORS} d{at // _COLORS}"
        label = _label(run, shown.keys)
        swatch = element(
            "svg",
            element("line", x1=0, x2=40, y1=5, y2=5, class_=f"line {style}"),
            viewBox="0 0 40 10",
            aria_hidden="true",
        )
        legend.append(element("li", swatch, "★ " if run is shown.best else "", label))
        for number, folder in enumerate(run.names, start=1):
            unique = f"{label}, run {number}" if len(run.names) > 1 else label
            unique = unique if unique not in classes else f"{unique} ({Path(folder).name})"
            classes[unique] = style
            for name, by_split in _read_curves(Path(folder)).items():
                for split in _SPLITS.keys() & by_split.keys():
                    lines.setdefault(name, {}).setdefault(split, {})[unique] = by_split[split]
    if not lines:
        return None
    main, further = ordered_curves({name: by_split.keys() for name, by_split in lines.items()})
    parts: list[object] = []
    if len(shown.runs) > _MAX_LINES:
        parts.append(
            element("p", f"Lines are drawn for the first {_MAX_LINES} of {len(shown.runs)} rows of the table.")
        )
    parts += [element("ul", *legend, class_="lines"), _charts(main, lines, classes)]
    if further:
        summary = element("summary", f"{len(further)} further curves")
        parts.append(element("details", summary, _charts(further, lines, classes)))
    return join(parts)


def _charts(
    names: Sequence[str], lines: Mapping[str, Mapping[str, Mapping[str, Points]]], classes: Mapping[str, str]
) -> Html:
    figures = [
        element(
            "figure",
            element("figcaption", f"{name}, {words}"),
            line_chart(f"{name}, {words}", lines[name][split], classes=classes),
            class_="chart",
        )
        for name in names
        for split, words in _SPLITS.items()
        if split in lines[name]
    ]
    return element("div", join(figures), class_="charts")


def _read_curves(folder: Path) -> dict[str, dict[str, Points]]:
    """Return the curves of a run; none if its measurements are missing or damaged."""
    path = RunFolder(folder).metrics
    try:
        return curves_by_name(Records(path).read()) if path.is_file() else {}
    except AeframeError:
        return {}


def _label(run: ComparedRun, keys: Sequence[str]) -> str:
    """Return the settings in which a run differs, or its name."""
    chosen = [f"{key}={run.settings[key]}" for key in keys if run.settings.get(key)]
    return ", ".join(chosen) or run.short_name
