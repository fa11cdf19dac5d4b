"""`RunFolder`: the paths of a run's files, and functions that read and write them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aeframe.errors import AeframeError
from aeframe.model_store.files import existing_folder, write_text, write_yaml
from aeframe.plain_files import read_mapping, read_strings
from aeframe.training.checkpoint_files import BEST, LAST, PREVIOUS

if TYPE_CHECKING:
    from aeframe.data.sample_comparison import SampleComparison
    from aeframe.evaluation.metric_table import MetricTable

_BEFORE_CHECKPOINT = (
    "config.yaml",
    "overrides.yaml",
    "hidden_options.yaml",
    "metrics.csv",
    "log.txt",
    "init.txt",
    "skipped.txt",
    "data.json",
    "splits.safetensors",
    "modality.json",
    "modality.safetensors",
    "tracker_ids.json",
    "state.json",
)
"""Files that a run writes before its first checkpoint."""
_TRACKER_FILES = ("wandb", "tensorboard", "mlflow.db", "mlruns", "mlartifacts", "mlflow", "trackio")
"""Files and folders that experiment trackers write into the run folder."""
_PROTOCOL = "protocol"
"""The entry of metrics.json that is no split: how metrics have measured."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The files of one run, below `path`."""

    path: Path

    def create(self) -> RunFolder:
        """Create the folder of a new run. Files of a previous run that ended before its first checkpoint are removed.

        Raises:
            AeframeError: The folder contains other files.
        """
        path = self.path
        if path.exists() and not path.is_dir():
            raise AeframeError(f"'{path}' is a file, a run needs a folder; choose another with folder=PATH")
        if path.is_symlink() and not path.exists():
            raise AeframeError(f"'{path}' is a link to nothing, a run needs a folder; choose another with folder=PATH")
        if path.is_dir() and not self.is_unbegun():
            raise AeframeError(
                f"run folder '{path}' exists and is not empty; continue that run with resume={path}, "
                "or choose another with folder=PATH"
            )
        path.mkdir(parents=True, exist_ok=True)
        for leftover in self._leftovers():
            leftover.unlink()
        return self

    def is_unbegun(self) -> bool:
        """Return whether the folder contains only files that a run writes before its first checkpoint."""
        leftovers = self._leftovers()
        return (
            all(
                entry in leftovers or entry == self.checkpoints or entry.name in _TRACKER_FILES
                for entry in self.path.iterdir()
                if entry.name != ".lock"
            )
            and not self.has_checkpoint()
        )

    def has_checkpoint(self) -> bool:
        """Return whether there is a checkpoint to resume from."""
        return any(self.checkpoints.glob("*.ckpt"))

    def _leftovers(self) -> list[Path]:
        """Return the files that a run writes before its first checkpoint, and temporary files of interrupted writes."""
        folders = [self.path, self.checkpoints]
        partial = [file for folder in folders if folder.is_dir() for file in folder.glob(".*.partial")]
        return [*(self.path / name for name in _BEFORE_CHECKPOINT if (self.path / name).is_file()), *partial]

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """Return the folder of an existing run.

        Raises:
            AeframeError: There is no folder at `path`, or it has no ``config.yaml``.
        """
        run = cls(existing_folder(path))
        if not run.config.is_file():
            raise AeframeError(f"'{path}' is not a run folder: it has no config.yaml; use the folder of a run")
        return run

    @property
    def config(self) -> Path:
        """The resolved config."""
        return self.path / "config.yaml"

    @property
    def overrides(self) -> Path:
        """The overrides of the command line."""
        return self.path / "overrides.yaml"

    @property
    def hidden_options(self) -> Path:
        """The files of the user that hid packaged options; missing if there are none."""
        return self.path / "hidden_options.yaml"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def best(self) -> Path:
        """The best checkpoint on the validation split."""
        return self.checkpoints / BEST

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self.checkpoints / LAST

    @property
    def previous(self) -> Path:
        """The checkpoint before the newest."""
        return self.checkpoints / PREVIOUS

    @property
    def time(self) -> Path:
        """Seconds of the phases of the run, with ``profile=true``."""
        return self.path / "time.json"

    @property
    def state(self) -> Path:
        """The status of the run: see `write_state`."""
        return self.path / "state.json"

    @property
    def model(self) -> Path:
        """The folder of the saved model."""
        return self.path / "model"

    @property
    def metrics(self) -> Path:
        """All measurements of the run: see `aeframe.runs.records.Records`."""
        return self.path / "metrics.csv"

    @property
    def metrics_json(self) -> Path:
        """The final metrics, by split."""
        return self.path / "metrics.json"

    @property
    def diagnosis(self) -> Path:
        """What `aeframe.evaluation.diagnosis.diagnose` has measured, by name."""
        return self.path / "diagnosis.json"

    @property
    def log(self) -> Path:
        """The metrics of each epoch as text, a line for each split."""
        return self.path / "log.txt"

    @property
    def pictures(self) -> Path:
        """The folder of PNG files."""
        return self.path / "pictures"

    @property
    def tables(self) -> Path:
        """The folder of tables of metrics, such as ``columns.csv``."""
        return self.path / "tables"

    @property
    def comparison(self) -> Path:
        """How new samples of the model compare with test samples, by the measures of the modality."""
        return self.path / "comparison.json"

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write the resolved config, a mapping of plain values."""
        write_yaml(self.config, config)

    def read_config(self) -> dict[str, Any]:
        """Read the resolved config."""
        return read_mapping(self.config)

    def write_overrides(self, overrides: Sequence[str]) -> None:
        """Write the overrides of the command line."""
        write_yaml(self.overrides, list(overrides))

    def read_overrides(self) -> list[str]:
        """Read the overrides of the command line."""
        return read_strings(self.overrides)

    def write_hidden_options(self, files: Sequence[str]) -> None:
        """Write the files of the user that hid packaged options, if there are any."""
        if files:
            write_yaml(self.hidden_options, list(files))

    def read_hidden_options(self) -> list[str]:
        """Read the files of the user that hid packaged options."""
        if not self.hidden_options.is_file():
            return []
        return read_strings(self.hidden_options)

    def write_state(self, status: str, command: str | None = None) -> None:
        """Write ``{"status": status, "command": command}``.

        Args:
            status: ``training``, ``trained`` (without a saved model), ``finished`` or ``pruned`` (ended early by a
                search; it can be resumed).
            command: The digest of the settings with which the run was begun; by default the stored one is kept.
        """
        stored = self.read_state().get("command") if command is None else command
        state = {"status": status} if stored is None else {"status": status, "command": stored}
        write_text(self.state, json.dumps(state, indent=2) + "\n")

    def read_state(self) -> dict[str, Any]:
        """Read the state of the run; ``{}`` if the file is missing or damaged."""
        try:
            return read_mapping(self.state) if self.state.is_file() else {}
        except AeframeError:
            return {}

    def write_metrics(
        self, metrics: Mapping[str, Mapping[str, float]], protocols: Mapping[str, str] | None = None
    ) -> None:
        """Write the final metrics, by split and name; NaN and infinity become null.

        Args:
            metrics: The metrics.
            protocols: How metrics have measured (`ModelMetric.protocol`), by the name of the value.
        """
        write_text(self.metrics_json, numbers_as_json({**metrics, **({_PROTOCOL: protocols} if protocols else {})}))

    def write_tables(self, tables: Mapping[str, MetricTable]) -> None:
        """Write the tables of the test metrics by name, as CSV."""
        if tables:
            self.tables.mkdir(exist_ok=True)
        for name, table in tables.items():
            write_text(self.tables / f"{name}.csv", table.to_csv())

    def read_tables(self) -> dict[str, MetricTable]:
        """Read the tables of the test metrics by name; their cells are strings.

        Raises:
            AeframeError: A file is damaged.
        """
        from aeframe.evaluation.metric_table import MetricTable

        tables = {}
        for file in sorted(self.tables.glob("*.csv")):
            try:
                tables[file.stem] = MetricTable.from_csv(file.read_text(encoding="utf-8"))
            except ValueError as error:
                raise AeframeError(f"'{file}' is no CSV in UTF-8 ({error}); copy the file again") from error
        return tables

    def write_comparison(self, comparison: SampleComparison) -> None:
        """Write how new samples compare with test samples; NaN and infinity become null."""
        write_text(self.comparison, numbers_as_json(comparison.as_dict()))

    def read_comparison(self) -> SampleComparison | None:
        """Read how new samples compare with test samples, without figures; None if they were not compared.

        Raises:
            AeframeError: The file is damaged.
        """
        # Imports torch, which listings of runs do not need.
        from aeframe.data.sample_comparison import SampleComparison

        if not self.comparison.is_file():
            return None
        try:
            return SampleComparison.from_dict(read_mapping(self.comparison))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise AeframeError(
                f"'{self.comparison}' has no values of samples by name ({error!r}); copy the file again"
            ) from error

    def read_metrics(self) -> dict[str, dict[str, float]]:
        """Read the final metrics; null becomes NaN.

        Raises:
            AeframeError: The file is missing or damaged.
        """
        stored = {name: each for name, each in read_mapping(self.metrics_json).items() if name != _PROTOCOL}
        for split, numbers in stored.items():
            if not isinstance(numbers, dict) or not all(
                value is None or isinstance(value, (int, float)) for value in numbers.values()
            ):
                raise AeframeError(f"'{self.metrics_json}' has no numbers by name under '{split}'; copy the file again")
        return {
            split: {name: math.nan if value is None else value for name, value in numbers.items()}
            for split, numbers in stored.items()
        }

    def write_diagnosis(self, values: Mapping[str, float]) -> None:
        """Write what `aeframe.evaluation.diagnosis.diagnose` has measured."""
        write_text(self.diagnosis, numbers_as_json(values))

    def read_diagnosis(self) -> dict[str, float]:
        """Read what was measured, by name; ``{}`` if the file is missing, as in runs of earlier versions.

        Raises:
            AeframeError: The file is damaged.
        """
        if not self.diagnosis.is_file():
            return {}
        stored = read_mapping(self.diagnosis)
        for name, value in stored.items():
            if value is not None and not isinstance(value, (int, float)):
                raise AeframeError(f"'{self.diagnosis}' has no number under '{name}'; delete the file")
        return {name: float(value) for name, value in stored.items() if value is not None}

    def read_protocols(self) -> dict[str, str]:
        """Read how metrics have measured, by name, as far as they state it."""
        stored = read_mapping(self.metrics_json).get(_PROTOCOL)
        return {name: str(text) for name, text in stored.items()} if isinstance(stored, dict) else {}


def numbers_as_json(measured: Mapping[str, Any]) -> str:
    """Return nested numbers and texts by name as JSON, which has no NaN or infinity: these become null."""

    def stored(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: stored(each) for name, each in value.items()}
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(stored(measured), indent=2) + "\n"
