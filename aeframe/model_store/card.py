"""The card of a saved model, ``card.md``: its data, parts and test metrics, and how to load it.

A part is one named component of the model, such as a loss: a name, or ``{name: ..., options}``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from aeframe.data.fingerprint import DataRecord
from aeframe.errors import printable
from aeframe.model_store.layout import saved_parts

# The version of a plugin that is a plain Python file instead of an installed distribution.
_FILE = "file"


def make_card(
    config: Mapping[str, Any], metrics: Mapping[str, float], num_parameters: int, data: DataRecord | None = None
) -> str:
    """Return the card as Markdown text.

    Args:
        config: The config of a saved model; its entry ``aeframe`` is the version of aeframe that saved the model.
        metrics: Test metrics by name.
        num_parameters: The number of parameters of the model.
        data: The record of the training data, whose notes are listed.
    """
    spec = config["spec"]
    shape = " x ".join(str(size) for size in spec["shape"])
    # For a conditional model, the length of the condition vector of each sample.
    condition = f", a condition of {spec['condition']} numbers" if spec["condition"] else ""
    lines = [
        f"# {config['model']['name']}",
        "",
        f"An autoencoder with {num_parameters:,} parameters, made with aeframe {config['aeframe']}.",
        "",
        f"- Data: {_described(config.get('data'))}",
        f"- Modality: {_described(config['modality'])}",
        f"- A sample: {shape}, values {spec['domain']}{condition}",
        *(
            f"- Options: `{file}` of the user hid the packaged option of that name"
            for file in config.get("hidden_options", ())
        ),
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
        lines += ["## Test metrics", "", "| metric | value |", "|---|---:|"]
        lines += [*(f"| {name} | {value:.6g} |" for name, value in metrics.items()), ""]
    lines += ["## How to load", ""]
    if config["plugins"]:
        plugins = config["plugins"].values()
        packages = " ".join(
            f"'{plugin['distribution']}=={plugin['version']}'" for plugin in plugins if plugin["version"] != _FILE
        )
        files = [plugin["distribution"] for plugin in plugins if plugin["version"] == _FILE]
        lines += [f"It needs `pip install {packages}`.", ""] if packages else []
        lines += [f"It needs the plugin file {name}, named in `AEFRAME_PLUGIN_FILES`." for name in files]
    lines += [
        "```python",
        "import aeframe",
        "",
        'model = aeframe.load("this/folder")  # runs no code from the folder',
        "z = model.encode(x)",
        "```",
        "",
    ]
    return "\n".join(lines)


def _notes(data: DataRecord) -> list[str]:
    """Return what was changed, left out or guessed in the data, as lines of Markdown."""
    skipped = [f"- {data.num_skipped} bad files or rows were left out"] if data.num_skipped else []
    lines = [*(f"- {as_markdown(note)}" for note in data.notes), *skipped]
    return ["", "## What was done to the data", "", *lines] if lines else []


def as_markdown(text: str) -> str:
    """Return text on one line, in which no character has a meaning in Markdown."""
    return re.sub(r"([\\`*_{}\[\]<>#|~])", r"\\\1", " ".join(printable(text).split()))


def _described(part: str | Mapping[str, Any] | None) -> str:
    """Return a part, or the data of the run, as ``name (option value, ...)``."""
    if part is None:
        return "not recorded"
    if isinstance(part, str):
        return f"`{part}`"
    options = ", ".join(f"{name} {_value(value)}" for name, value in part.items() if name != "name")
    return f"`{part['name']}`" + (f" ({options})" if options else "")


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name} {_value(inner)}" for name, inner in value.items()) + "}"
    return "none" if value is None else str(value).replace("|", "\\|")
