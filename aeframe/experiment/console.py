"""Print the banner before a run and the table of test metrics after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import nn

from aeframe.data.modality import Splits
from aeframe.errors import printable
from aeframe.evaluation.baselines import PcaError
from aeframe.evaluation.evaluator import grouped_protocols
from aeframe.kinds import SLOTS
from aeframe.model.autoencoder import Autoencoder


def banner(
    console: Console,
    config: Mapping[str, Any],
    model: Autoencoder,
    splits: Splits,
    device: str,
    folder: Path,
    hidden_options: Sequence[str] = (),
    start: str = "begins",
) -> None:
    """Print the data, the parts of the model with their parameter counts, the device, the run folder and `start`.

    A part is one component of the model, such as the encoder; penalties and critics are several, listed by label.
    `hidden_options` are files of the user that hide packaged options, and `start` says where training starts.
    """
    name = config["model"]["name"] if isinstance(config.get("model"), Mapping) else "model"
    title = _shown(f"{name} on {config['data']['name']}")
    table = Table(title=title, title_style="bold", show_header=False, box=None)
    shape = " x ".join(str(size) for size in model.spec.shape)
    sizes = f"{len(splits.train)} / {len(splits.validation)} / {len(splits.test)}"
    table.add_row(
        "data", f"{config['modality']['name']}, {shape}, {model.spec.domain.summary}; train / validation / test {sizes}"
    )
    for kind in SLOTS:
        part = getattr(model, kind.key)
        names = ", ".join(part) if kind.labelled else config[kind.key]["name"]
        if names not in ("", "none"):
            is_frozen = kind.key in config["freeze"]
            number = sum(parameter.numel() for parameter in part.parameters()) if is_frozen else num_parameters(part)
            in_use = {} if kind.labelled else getattr(part, "options_in_use", {})
            names = ", ".join([names, *(f"{option} {value}" for option, value in in_use.items())])
            table.add_row(kind.key, f"{names:<24}{number:>12,} parameters{', frozen' if is_frozen else ''}")
    table.add_row("code", f"{' x '.join(str(size) for size in model.latent.shape)} numbers")
    precision = config["trainer"]["precision"]
    table.add_row("runs on", f"{device}, precision {precision}, seed {config['seed']}")
    table.add_row("folder", _shown(folder))
    table.add_row("start", start)
    if splits.factor_names:
        table.add_row("factors", _shown(", ".join(splits.factor_names)))
    for file in hidden_options:
        table.add_row("options", f"{_shown(file)} hides the packaged option of that name")
    for sentence in splits.notes:
        table.add_row("note", _shown(sentence))
    for sentence in splits.skipped[:5]:
        table.add_row("skipped", _shown(sentence))
    if len(splits.skipped) > 5:
        table.add_row("skipped", f"and {len(splits.skipped) - 5} more, listed in the run folder")
    console.print(table, soft_wrap=True)


def console_of(config: Mapping[str, Any]) -> Console:
    """Return the console of a run, which is silent with ``verbose=false``."""
    return Console(stderr=True, quiet=not config["verbose"])


def print_note(console: Console, sentence: str) -> None:
    """Print a sentence in one line, after the word note."""
    console.print(f"note: {printable(sentence)}", soft_wrap=True, highlight=False, markup=False)


def closing_table(
    console: Console,
    metrics: Mapping[str, float],
    folder: Path,
    seconds: float,
    baseline: PcaError | None = None,
    units: Mapping[str, str] = MappingProxyType({}),
    protocols: Mapping[str, str] = MappingProxyType({}),
    better: Sequence[str] = (),
) -> None:
    """Print the test metrics with their units and protocols where they are known, and the error of PCA.

    Sentences on simple methods that are `better`, the time and the run folder follow.
    """
    table = Table(title="test", title_style="bold")
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_column("unit")
    for name, value in metrics.items():
        # Metrics of single dimensions or levels, such as `NAME/0`, are only written to files.
        if not name.rpartition("/")[2].isdigit():
            table.add_row(_shown(name), f"{value:.6g}", units.get(name, ""))
    console.print(table)
    if baseline is not None:
        console.print(baseline.describe(metrics.get("mse")), soft_wrap=True, highlight=False)
    for name, protocol in grouped_protocols(protocols).items():
        console.print(f"{_shown(name)}: {protocol}", soft_wrap=True, highlight=False, markup=False)
    for sentence in better:
        console.print(sentence, soft_wrap=True, highlight=False, markup=False)
    console.print(f"{seconds:.0f} s, {_shown(folder)}", soft_wrap=True, highlight=False)


def _shown(text: object) -> str:
    """Return text for `Console.print`, in one line and without markup of rich or control characters of a terminal."""
    return escape(printable(str(text)).replace("\n", "\\n"))


def num_parameters(module: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
