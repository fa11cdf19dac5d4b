"""The sections of the report: each function returns the content below one heading, or None if a run has none."""

from __future__ import annotations

import base64
import math
import platform
import shlex
import sys
from collections.abc import Collection, Iterable, Mapping

import yaml

from aeframe.data.fingerprint import MEMORY
from aeframe.evaluation.measurement import Measurement
from aeframe.runs.report.charts import Points, bar_chart, line_chart
from aeframe.runs.report.contents import ReportContents
from aeframe.runs.report.markup import Html, bullet_list, element, join, table
from aeframe.version import __version__

_SPLITS = {"train": "training", "val": "validation", "test": "test"}
_EPOCH_MEAN = "train_epoch"
"""The split of the means over the training samples of an epoch."""
_FIRST = ("loss", "bound", "reconstruction", "kl")
"""The first charts, in this order."""
_LATENT = (
    "active_units",
    "kl",
    "kl_dimensions",
    "mutual_information",
    "marginal_kl",
    "prior_gap",
    "codebook_used",
    "codebook_perplexity",
    "fve",
    "l0",
    "dead",
    "mcc",
)
"""Metrics of the latent, in the order of the table."""
_KL = "kl/"
"""The prefix of the KL of single dimensions."""
_SUMMARIES = {
    "loss": "the minimised sum of the weighted loss terms",
    "bound": "the objective without weights and penalties, such as minus the ELBO",
    "reconstruction": "error or negative log-likelihood of a sample, summed over its elements",
    "kl": "KL divergence between posterior and prior",
    "mse_of_mean": "baseline: mse of predicting the mean sample",
    "mse_of_pca": "baseline: mse of PCA with as many numbers as the code, fitted to training samples",
    "kl_dimensions": "fraction of dimensions whose KL is above 0.01 nats",
    "mutual_information": "estimated information of the code about x",
    "marginal_kl": "KL divergence between aggregate posterior and prior",
    "prior_gap": "lower bound on that KL divergence, from means and covariances",
    "codebook_used": "fraction of codes in use",
    "codebook_perplexity": "effective number of codes in use",
    "dead": "fraction of features that are zero in every sample",
    "l0": "active features of a sample, on average",
    "dci_disentanglement": "whether each dimension of the code is important for one factor only",
    "dci_completeness": "whether each factor has one important dimension of the code",
    "dci_informativeness": "accuracy of factors predicted from the code; 0 is chance",
}
"""What values without a registered name of their own are."""
_MAX_ROWS = 30
"""The most rows of the table of a metric that are not folded."""
_NATS = ("kl", "mutual_information", "marginal_kl", "prior_gap")
_TITLES = {
    "reconstructions": "Samples and their reconstructions",
    "samples": "New samples",
    "interpolation": "Interpolations between codes",
    "latent": "Map of the codes",
    "curves": "Curves of all terms and metrics",
}
"""The titles of pictures that every run draws."""

LEGEND = Html(
    '<p class="legend"><span class="key train">training</span> <span class="key val">validation</span> '
    '<span class="key test">test, of the best epoch</span></p>'
)


def settings(run: ReportContents) -> Html:
    """Return the settings that differ from the defaults, and the whole config."""
    if run.changes is None:
        intro = element("p", "The defaults of this recipe are not available here; the run was started with:")
        changed = bullet_list(element("code", override) for override in run.overrides) if run.overrides else Html()
        head = [intro, changed] if run.overrides else []
    elif run.changes:
        rows = [(element("code", change.key), _value(change.value), _value(change.default)) for change in run.changes]
        head = [
            element("p", "These settings differ from those of the recipe and of the package."),
            table("Settings that differ from the defaults", ("setting", "value", "default"), rows),
        ]
    else:
        head = [element("p", "All settings are those of the recipe and of the package.")]
    config = yaml.safe_dump(dict(run.config), sort_keys=False, allow_unicode=True)
    whole = element("details", element("summary", "The whole config"), element("pre", config, tabindex="0"))
    return join([*head, whole])


def curves(run: ReportContents) -> Html | None:
    """Return a chart for each loss term and metric; None for a run without measurements."""
    lines = curves_by_name(run.measurements)
    if not lines:
        return None
    main, further = ordered_curves({name: by_split.keys() for name, by_split in lines.items()})
    parts = [LEGEND, _charts(run, main, lines)]
    if further:
        parts.append(
            element("details", element("summary", f"{len(further)} further curves"), _charts(run, further, lines))
        )
    return join(parts)


def ordered_curves(splits: Mapping[str, Collection[str]]) -> tuple[list[str], list[str]]:
    """Return the names of curves in the order of a page, those of terms and metrics and those that are folded.

    Args:
        splits: The splits of each curve by its name.
    """

    def position(name: str) -> tuple[int, bool, str]:
        return (_FIRST.index(name) if name in _FIRST else len(_FIRST), "train" not in splits[name], name)

    # Baselines do not depend on training, but on the samples of the split.
    further = sorted((name for name in splits if "/" in name or "_of_" in name), key=_by_number)
    return sorted(splits.keys() - set(further), key=position), further


def curves_by_name(measurements: Iterable[Measurement]) -> dict[str, dict[str, Points]]:
    """Return finite points ``(batches, value)`` by name and split.

    On the training split, means over an epoch are preferred to values of single batches. What was measured once and
    only on the test split has no curve.
    """
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for row in measurements:
        # Larger values overflow in the scale of a chart.
        if abs(row.value) < 1e300:
            found.setdefault(row.name, {}).setdefault(row.split, []).append((row.step, row.value))
    lines: dict[str, dict[str, Points]] = {}
    for name, by_split in found.items():
        train = by_split.get(_EPOCH_MEAN) or by_split.get("train")
        chosen = {"train": train, "val": by_split.get("val"), "test": by_split.get("test")}
        present: dict[str, Points] = {split: sorted(points) for split, points in chosen.items() if points}
        if present.keys() - {"test"}:
            lines[name] = present
    return lines


def test_metrics(run: ReportContents) -> Html:
    """Return the test metrics with units, baselines and the number of samples."""
    num = (run.data.fingerprint.get("rows") or {}).get("test")
    samples = f"{num:,} test samples" if num else "the test split"
    parts = [element("p", f"Measured on {samples}, with the weights of the best epoch."), *_comparison(run.metrics)]
    scalars = {name: value for name, value in run.metrics.items() if "/" not in name}
    every = f"all {num:,} samples" if num else "all samples"
    rows = [
        (name, number(value), _unit(run, name), _summary(run, name), run.protocols.get(name, every))
        for name, value in scalars.items()
    ]
    # A metric without a protocol takes every sample.
    parts.append(table("Test metrics", ("metric", "value", "unit", "what it is", "measured on"), rows, numeric=(1,)))
    further = {name: value for name, value in run.metrics.items() if "/" in name and not name.startswith(_KL)}
    if further:
        rows_of_further = [(name, number(value)) for name, value in further.items()]
        content = table("Further test metrics", ("metric", "value"), rows_of_further, numeric=(1,))
        parts.append(element("details", element("summary", f"{len(further)} further metrics"), content))
    return join(parts)


def tables(run: ReportContents) -> Html | None:
    """Return the tables of metrics, such as the values of columns or channels; None without any."""
    parts = []
    for name, values in run.tables.items():
        headings, rows = list(values.columns), list(values.rows())
        numeric = [at for at, cells in enumerate(values.columns.values()) if any(map(_is_number, cells))]
        content = table(f"Test metrics: {name}", headings, rows, numeric=numeric)
        protocol = run.protocols.get(name)
        intro = join([element("p", _sentence(protocol))] if protocol else [])
        folded = element("details", element("summary", f"{len(rows):,} {name}"), content)
        parts.append(join([element("h3", name), intro, content if len(rows) <= _MAX_ROWS else folded]))
    return join(parts) if parts else None


def comparison(run: ReportContents) -> Html | None:
    """Return how new samples compare with test samples; None if they were not compared."""
    if run.comparison is None:
        return None
    compared = run.comparison
    rows = [
        (name, number(value), number(compared.real.get(name, math.nan))) for name, value in compared.samples.items()
    ]
    intro = element("p", "New samples of the model, and the value that real samples reach.")
    values = table("New samples", ("measure", "new samples", "real"), rows, numeric=(1, 2))
    return join([intro, values, bullet_list(_sentence(each) for each in compared.protocol)])


def advice(run: ReportContents) -> Html | None:
    """Return advice for the next run; None without any."""
    return bullet_list(_sentence(each) for each in run.advice) if run.advice else None


def pictures(run: ReportContents) -> Html | None:
    """Return the pictures of the run; None without any. Curves are left out, which `curves` draws."""
    drawn = {name: content for name, content in run.pictures.items() if name != "curves" or not run.measurements}
    if not drawn:
        return None
    order = {name: at for at, name in enumerate(_TITLES)}
    figures = []
    for name in sorted(drawn, key=lambda name: (order.get(name, len(order)), name)):
        title = _TITLES.get(name, name.replace("_", " ").capitalize())
        source = f"data:image/png;base64,{base64.b64encode(drawn[name]).decode('ascii')}"
        figures.append(element("figure", element("img", src=source, alt=title), element("figcaption", title)))
    return join(figures)


def data(run: ReportContents) -> Html:
    """Return the data of the run, and what was changed, left out or guessed in them."""
    record, options = run.data, run.config.get("data") or {}
    fingerprint = record.fingerprint
    rows: list[tuple[object, object]] = [("dataset", options.get("name", "not recorded"))]
    for key, file in (fingerprint.get("files") or {}).items():
        size = f"{file['bytes']:,} bytes" if isinstance(file.get("bytes"), int) else ""
        checksum = f"sha256 {file['sha256']}" if file.get("sha256") else ""
        rows.append((key, ", ".join(part for part in (str(file.get("path", "")), size, checksum) if part)))
    if record.spec is not None:
        rows.append(("a sample", f"{' x '.join(map(str, record.spec.shape))}, values {record.spec.domain.summary}"))
        if record.spec.condition:
            rows.append(("condition", f"{record.spec.condition} numbers"))
    rows += [(f"{split} samples", f"{count:,}") for split, count in (fingerprint.get("rows") or {}).items()]
    if record.value_range is not None:
        low, high = record.value_range
        rows.append(("range of training values", f"{low:.5g} to {high:.5g}, after preparation"))
    if record.label_names:
        names = ", ".join(record.label_names[:20])
        more = len(record.label_names) - 20
        rows.append(("labels", f"{names} and {more} more" if more > 0 else names))
    notes = [_sentence(note) for note in record.notes]
    if record.num_skipped:
        notes.append(f"Bad files or rows that were left out: {record.num_skipped:,}.")
    changes = bullet_list(notes) if notes else element("p", "Nothing was left out or guessed.")
    return join([table("Data", ("property", "value"), rows), element("h3", "What was done to the data"), changes])


def latent(run: ReportContents) -> Html | None:
    """Return how the latent is used; None if no metric measures that."""
    rows = [
        (name, number(run.metrics[name]), _unit(run, name), _summary(run, name))
        for name in _LATENT
        if name in run.metrics
    ]
    kl = {name: run.metrics[name] for name in sorted(run.metrics, key=_by_number) if name.startswith(_KL)}
    if not rows and not kl:
        return None
    part = run.config.get("latent") or {}
    of = f"{part.get('name', 'the latent')}" + (f" of {part['dim']} dimensions" if "dim" in part else "")
    parts = [element("p", f"Latent: {of}.")]
    if rows:
        parts.append(table("Latent", ("metric", "value", "unit", "what it is"), rows, numeric=(1,)))
    is_numbered = list(kl) == [f"{_KL}{at}" for at in range(1, len(kl) + 1)]
    if kl and is_numbered and all(math.isfinite(value) for value in kl.values()):
        chart = bar_chart("KL of each dimension", list(kl.values()), x_label="dimension")
        caption = element("figcaption", "KL of each dimension, in nats; a dimension near 0 holds no information")
        parts.append(element("figure", chart, caption, class_="chart"))
    if kl:
        cells = [(name, number(value), "nats") for name, value in kl.items()]
        numbers = table("KL of each dimension", ("metric", "value", "unit"), cells, numeric=(1,))
        parts.append(element("details", element("summary", "KL of each dimension as numbers"), numbers))
    return join(parts)


def reproduction(run: ReportContents) -> Html:
    """Return versions, command and seed of the run, and how to load its model."""
    rows: list[tuple[object, object]] = [(f"{name}, of the run", version) for name, version in run.versions.items()]
    rows.append(("seed", run.config.get("seed", "not recorded")))
    rows.append(("folder", run.folder))
    python = ".".join(str(part) for part in sys.version_info[:3])
    rows.append(("this page", f"aeframe {__version__}, Python {python} on {platform.system()}"))
    parts = [table("Versions and seed", ("property", "value"), rows)]
    if run.overrides and _is_in_memory(run):
        lines = "\n".join(run.overrides)
        parts += [element("h3", "Settings from Python"), element("pre", lines, tabindex="0")]
    elif run.overrides:
        parts += [element("h3", "Command"), element("pre", _command(run.overrides), tabindex="0")]
    else:
        parts.append(element("p", "No overrides are recorded; the whole config is above, under Settings."))
    load = f"import aeframe\nmodel = aeframe.load({str(run.folder)!r})\nz = model.encode(x)"
    parts += [element("h3", "Load the model"), element("pre", load, tabindex="0")]
    return join(parts)


def number(value: float) -> str:
    """Return a metric as text: ``0.12346``, ``1,234.5``, or ``not finite``."""
    if not math.isfinite(value):
        return "not finite"
    return f"{value:,.5g}" if abs(value) < 1e5 else f"{value:.5g}"


def _is_in_memory(run: ReportContents) -> bool:
    """Return whether the data were passed from Python, so that no command reproduces the run."""
    files = run.data.fingerprint.get("files") or {}
    return any(file["path"] == MEMORY for file in files.values())


def _comparison(metrics: Mapping[str, float]) -> list[Html]:
    """Return a sentence on the mean squared error beside its baselines."""
    mse, sentences = metrics.get("mse"), []
    if mse is None or not math.isfinite(mse):
        return []
    for name, what in (("mse_of_mean", "predicting the mean sample"), ("mse_of_pca", "PCA of as many numbers")):
        baseline = metrics.get(name, math.nan)
        if math.isfinite(baseline) and baseline > 0:
            sentences.append(f"{_ratio(mse / baseline)} that of {what} ({baseline:.3g})")
    return [element("p", f"The mean squared error ({mse:.3g}) is {' and '.join(sentences)}.")] if sentences else []


def _ratio(ratio: float) -> str:
    """Return a ratio as text: ``8.2% of``, ``1.04 times``."""
    return f"{100 * ratio:.2g}% of" if ratio < 1 else f"{ratio:.2f} times" if ratio < 10 else f"{ratio:.3g} times"


def _charts(run: ReportContents, names: Iterable[str], lines: Mapping[str, Mapping[str, Points]]) -> Html:
    figures = [
        element("figure", element("figcaption", _with_unit(run, name)), line_chart(name, lines[name]), class_="chart")
        for name in names
    ]
    return element("div", join(figures), class_="charts")


def _is_number(cell: object) -> bool:
    try:
        float(str(cell))
    except ValueError:
        return False
    return True


def _value(setting: str) -> str:
    return "none" if setting in ("None", "") else setting


def _with_unit(run: ReportContents, name: str) -> str:
    unit = _unit(run, name)
    return f"{name} ({unit})" if unit else name


def _unit(run: ReportContents, name: str) -> str:
    """Return the unit of a metric; baselines have that of the metric in their name."""
    known = run.units.get(name) or run.units.get(name.partition("_of_")[0])
    return known or ("nats" if name in _NATS or name.startswith(_KL) else "")


def _summary(run: ReportContents, name: str) -> str:
    return _SUMMARIES.get(name) or run.summaries.get(name, "")


def _by_number(name: str) -> tuple[str, int, str]:
    """Return a key that sorts ``kl/2`` before ``kl/10``."""
    prefix, _, last = name.rpartition("/")
    return (prefix, int(last) if last.isdecimal() else -1, last)


def _sentence(line: str) -> str:
    """Return a sentence with a capital letter at its start, unless that is part of a name, and a full stop."""
    start = line[:1].upper() + line[1:] if line[:1].isalpha() else line
    return start if start.endswith((".", "!", "?")) else f"{start}."


def _command(overrides: Iterable[str]) -> str:
    """Return the command of a run for a POSIX shell, with one override in each line."""
    return " \\\n  ".join(["aeframe-train", *(_quoted(override) for override in overrides)])


def _quoted(override: str) -> str:
    """Return an override as a word of a POSIX shell; one in single quotes is easier to read in double quotes."""
    return f'"{override}"' if "'" in override and not set(override) & set('"$`\\!') else shlex.quote(override)
