"""`ReportContents`: what the report of a run shows, read from the run folder without its weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from aeframe.data.fingerprint import DataRecord
from aeframe.data.sample_comparison import SampleComparison
from aeframe.errors import AeframeError
from aeframe.evaluation.advice import advise
from aeframe.evaluation.evaluator import metrics_of
from aeframe.evaluation.measurement import Measurement
from aeframe.evaluation.metric_table import MetricTable
from aeframe.evaluation.units import units_of
from aeframe.model_store.data_record import read_data_record
from aeframe.plain_files import read_mapping
from aeframe.registry import registry
from aeframe.runs.evidence import read_evidence
from aeframe.runs.folder import RunFolder
from aeframe.runs.records import Records
from aeframe.runs.report.players import Players, read_players

_PNG = b"\x89PNG\r\n\x1a\n"
"""The first bytes of a PNG file."""


@dataclass(frozen=True, slots=True)
class SettingChange:
    """A setting of a run that differs from its default."""

    key: str
    value: str
    default: str
    """The value of the recipe or of the package; empty if it has none."""


@dataclass(frozen=True, slots=True)
class ReportContents:
    """What the report of one run shows."""

    folder: Path
    config: Mapping[str, Any]
    overrides: Sequence[str]
    changes: Sequence[SettingChange] | None
    """Settings that differ from the defaults; None if the defaults are not known."""
    metrics: Mapping[str, float]
    """Test metrics by name."""
    protocols: Mapping[str, str]
    """How a metric has measured, by name, for those that have choices."""
    units: Mapping[str, str]
    summaries: Mapping[str, str]
    """What a metric is, by name."""
    tables: Mapping[str, MetricTable]
    """Values of parts of the samples, such as columns, by the name of the metric; all cells are strings."""
    comparison: SampleComparison | None
    """How new samples compare with test samples; None if they were not compared."""
    measurements: Sequence[Measurement]
    advice: Sequence[str]
    data: DataRecord
    pictures: Mapping[str, bytes] = field(repr=False)
    """PNG files by name, without the suffix."""
    players: Players = field(repr=False)
    """Sounds and videos of samples."""
    versions: Mapping[str, str]
    """The versions that were saved with the model, by package."""
    finished: datetime
    """When the test metrics were written."""


Changes = Callable[[Mapping[str, Any], Sequence[str]], Sequence[SettingChange] | None]
"""Finds the settings that differ from the defaults, from the config and the overrides of a run; None if unknown."""


def read_contents(path: Path, find_changes: Changes) -> ReportContents:
    """Return what the report of a finished run shows.

    Args:
        path: The folder of the run.
        find_changes: See `ReportContents.changes`.

    Raises:
        AeframeError: There is no run in the folder, it is not finished, or one of its files is damaged.
    """
    folder = RunFolder.open(path)
    check_finished(folder)
    metrics = folder.read_metrics().get("test")
    if not metrics:
        raise AeframeError(f"'{folder.metrics_json}' has no test metrics, which a report shows; finish the run again")
    config, overrides = folder.read_config(), folder.read_overrides() if folder.overrides.is_file() else []
    measurements = Records(folder.metrics).read() if folder.metrics.is_file() else []
    saved = read_mapping(folder.model / "config.yaml") if (folder.model / "config.yaml").is_file() else {}
    return ReportContents(
        folder=folder.path,
        config=config,
        overrides=overrides,
        changes=find_changes(config, overrides),
        metrics=metrics,
        protocols=folder.read_protocols(),
        units=_units(config, metrics),
        summaries={name: registry().entry("metric", name).summary for name in metrics if _is_registered(name)},
        tables=folder.read_tables(),
        comparison=folder.read_comparison(),
        measurements=measurements,
        advice=[str(finding) for finding in advise(read_evidence(folder))],
        data=read_data_record(folder.path),
        pictures=_pictures(folder.pictures),
        players=read_players(folder.pictures),
        versions=_versions(saved),
        finished=datetime.fromtimestamp(folder.metrics_json.stat().st_mtime).astimezone(),
    )


def check_finished(folder: RunFolder) -> None:
    """Check that a run is finished.

    Raises:
        AeframeError: It is not.
    """
    status = folder.read_state().get("status")
    if status in ("training", "trained") or not folder.metrics_json.is_file():
        found = f"its status is '{status}'" if status in ("training", "trained") else "it has no metrics.json"
        raise AeframeError(
            f"a report needs a finished run, and run '{folder.path}' is not finished ({found}); "
            f"continue it with resume={folder.path}, or save its best model with 'aeframe finish {folder.path}'"
        )


def _is_registered(name: str) -> bool:
    return registry().has("metric", name)


def _units(config: Mapping[str, Any], metrics: Mapping[str, float]) -> dict[str, str]:
    """Return units by name; without that of the loss if the plugin of the loss is missing."""
    loss = str(config["loss"]["name"])
    loss_unit = getattr(registry().load("loss", loss), "unit", "") if registry().has("loss", loss) else ""
    # A metric has the label of the config as its name; an option 'name' is the registered name then.
    labelled = {
        label: options
        for label, options in (config.get("metrics") or {}).items()
        if options is None or _is_registered(options.get("name", label))
    }
    return units_of(loss_unit, metrics_of([name for name in metrics if _is_registered(name)], labelled))


def _pictures(folder: Path) -> dict[str, bytes]:
    """Return the PNG files of a folder by name; a file with other content is left out."""
    files = {file.stem: file.read_bytes() for file in sorted(folder.glob("*.png")) if file.is_file()}
    return {name: content for name, content in files.items() if content.startswith(_PNG)}


def _versions(saved: Mapping[str, Any]) -> dict[str, str]:
    versions = {name: str(saved[name]) for name in ("aeframe", "torch", "python") if name in saved}
    plugins = saved.get("plugins")
    for plugin in plugins.values() if isinstance(plugins, Mapping) else ():
        versions[str(plugin["distribution"])] = str(plugin["version"])
    return versions
