"""The card of a saved model, ``card.md``: its data, parts and test metrics, and how to load it.

A part is one named component of the model, such as a loss: a name, or ``{name: ..., options}``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import yaml

from aeframe.data.fingerprint import DataRecord
from aeframe.data.sample_comparison import SampleComparison
from aeframe.errors import printable
from aeframe.model_store.layout import saved_parts
from aeframe.model_store.requirements import pinned_requirement
from aeframe.types import Domain

UNKNOWN = "unknown"
"""The licence of a card without one, as the hub writes it."""
# The version of a plugin that is a plain Python file instead of an installed distribution.
_FILE = "file"


def make_card(
    config: Mapping[str, Any],
    metrics: Mapping[str, float],
    num_parameters: int,
    data: DataRecord | None = None,
    comparison: SampleComparison | None = None,
) -> str:
    """Return the card as Markdown text.

    Args:
        config: The config of a saved model; its entry ``aeframe`` is the version of aeframe that saved the model.
        metrics: Test metrics by name.
        num_parameters: The number of parameters of the model.
        data: The record of the training data, whose notes are listed.
        comparison: How new samples compare with test samples.
    """
    spec = config["spec"]
    shape = " x ".join(str(size) for size in spec["shape"])
    # For a conditional model, the length of the condition vector of each sample.
    condition = f", a condition of {spec['condition']} numbers" if spec["condition"] else ""
    lines = [
        *_front_matter(config, metrics, data),
        f"# {as_markdown(config['model']['name'])}",
        "",
        f"An autoencoder with {num_parameters:,} parameters, made with aeframe {config['aeframe']}.",
        "",
        f"- Data: {_described(config.get('data'))}",
        f"- Modality: {_described(config['modality'])}",
        f"- A sample: {shape}, values {Domain.parse(spec['domain']).summary}{condition}",
        *(
            f"- Options: {as_code(file)} of the user hid the packaged option of that name"
            for file in config.get("hidden_options", ())
        ),
        f"- License: {UNKNOWN}; its author has set none",
        *(_notes(data) if data is not None else ()),
        "",
        "## Parts",
        "",
        "| part | what |",
        "|---|---|",
        *(f"| {kind} | {_described(part)} |" for kind, part in saved_parts(config) if kind != "modality"),
        "",
    ]
    if metrics:
        lines += ["## Test metrics", "", *_protocol(config, data), "| metric | value |", "|---|---:|"]
        lines += [*(f"| {as_markdown(name)} | {value:.6g} |" for name, value in metrics.items()), ""]
    if comparison is not None:
        lines += _comparison(comparison)
    lines += ["## How to load", ""]
    if config["plugins"]:
        plugins = config["plugins"].values()
        pinned = [pinned_requirement(plugin["distribution"], plugin["version"]) for plugin in plugins]
        packages = " ".join(f"'{package}'" for package in pinned if package is not None)
        files = [plugin["distribution"] for plugin in plugins if plugin["version"] == _FILE]
        lines += [f"It needs `pip install {packages}`.", ""] if packages else []
        for name in files:
            lines += [f"It needs the plugin file {as_code(name)}, named in `AEFRAME_PLUGIN_FILES`.", ""]
    lines += [
        "```python",
        "import aeframe",
        "",
        'model = aeframe.load("this/folder")  # or "hub:owner/name"; runs no code from there',
        "z = model.encode(model.prepare(x))",
        "```",
        "",
        "A repository of the hub needs `pip install 'aeframe[hub]'`.",
        "",
    ]
    return "\n".join(lines)


def with_license(card: str, license: str) -> str:
    """Return a card with another licence, an identifier of the hub such as ``apache-2.0``."""
    if not card.startswith("---\n"):
        card = f"---\nlicense: {UNKNOWN}\n---\n\n{card}"
    card = re.sub(r"^license: .*$", f"license: {license}", card, count=1, flags=re.MULTILINE)
    return re.sub(r"^- License: .*$", f"- License: {license}", card, count=1, flags=re.MULTILINE)


def _front_matter(config: Mapping[str, Any], metrics: Mapping[str, float], data: DataRecord | None) -> list[str]:
    """Return the lines of YAML from which a hub makes its lists of models."""
    recipe, modality = _name_of(config["model"]), _name_of(config["modality"])
    fields: dict[str, Any] = {
        "library_name": "aeframe",
        "license": UNKNOWN,
        "tags": list(dict.fromkeys(["autoencoder", recipe, modality])),
    }
    # Those of single dimensions, such as kl/1, are in the table below.
    known = {_in_one_line(name): float(value) for name, value in metrics.items() if "/" not in name}
    known = {name: value for name, value in known.items() if math.isfinite(value)}
    if known:
        dataset = _name_of(config["data"]) if config.get("data") else UNKNOWN
        fields["metrics"] = list(known)
        result = {
            "task": {"type": "feature-extraction"},
            "dataset": {"name": dataset, "type": dataset, "split": "test"},
            "metrics": [{"type": name, "value": value} for name, value in known.items()],
        }
        fields["model-index"] = [{"name": recipe, "results": [result]}]
    text = yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=1000)
    return ["---", *text.splitlines(), "---", ""]


def _protocol(config: Mapping[str, Any], data: DataRecord | None) -> list[str]:
    """Return how many samples the test metrics are of, and how each is computed."""
    rows = {} if data is None else data.fingerprint.get("rows", {})
    sizes = (
        f"Of {rows['test']:,} test samples; the model was trained on {rows.get('train', 0):,} and chosen on "
        f"{rows.get('validation', 0):,} others. "
        if "test" in rows
        else ""
    )
    return [
        f"{sizes}Means over samples; loss terms are from one draw of z for each sample, where z is random. How a "
        "metric is computed: `aeframe explain metric NAME`.",
        "",
    ]


def _comparison(comparison: SampleComparison) -> list[str]:
    """Return how new samples compare with test samples, as lines of Markdown."""
    rows = [
        f"| {as_markdown(name)} | {value:.4g} | {comparison.real.get(name, math.nan):.4g} |"
        for name, value in comparison.samples.items()
    ]
    sentences = [f"- {as_markdown(sentence)}" for sentence in comparison.protocol]
    return ["## New samples", "", "| measure | new samples | real |", "|---|---:|---:|", *rows, "", *sentences, ""]


def _name_of(part: str | Mapping[str, Any]) -> str:
    return _in_one_line(str(part if isinstance(part, str) else part["name"]))


def _in_one_line(text: str) -> str:
    return " ".join(printable(text).split())


def _notes(data: DataRecord) -> list[str]:
    """Return what was changed, left out or guessed in the data, as lines of Markdown."""
    skipped = [f"- {data.num_skipped} bad files or rows were left out"] if data.num_skipped else []
    lines = [*(f"- {as_markdown(note)}" for note in data.notes), *skipped]
    return ["", "## What was done to the data", "", *lines] if lines else []


def as_markdown(text: str) -> str:
    """Return text on one line, in which no character has a meaning in Markdown."""
    # An underscore inside a word means nothing, nor do brackets that are no link.
    line = re.sub(r"([\\`*<>#|~]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", " ".join(printable(text).split()))
    return re.sub(r"([\[\]])", r"\\\1", line) if re.search(r"\]\s*[(:\[]", line) else line


def as_code(text: object) -> str:
    """Return text on one line between backticks, where it has no meaning in Markdown; also in a cell of a table."""
    line = " ".join(printable(str(text)).split())
    # A fence that is longer than any run of backticks in the text.
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    padding = " " if len(fence) > 1 else ""
    return f"{fence}{padding}{line}{padding}{fence}".replace("|", "\\|")


def _described(part: str | Mapping[str, Any] | None) -> str:
    """Return a part, or the data of the run, as ``name (option value, ...)``."""
    if part is None:
        return "not recorded"
    if isinstance(part, str):
        return as_code(part)
    options = ", ".join(f"{as_markdown(str(name))} {_value(value)}" for name, value in part.items() if name != "name")
    return as_code(part["name"]) + (f" ({options})" if options else "")


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{as_markdown(str(name))} {_value(inner)}" for name, inner in value.items()) + "}"
    return "none" if value is None else as_markdown(str(value))
