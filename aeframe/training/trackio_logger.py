"""`TrackioLogger`: a Lightning logger for trackio, which stores runs in a local folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import Logger

_SECONDS = 60
"""How long the end of a run waits for its last values to be written."""
_REMOTE = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL", "TRACKIO_BUCKET_ID", "TRACKIO_DATASET_ID")
"""Variables by which trackio would send values to another host."""


class TrackioLogger(Logger):
    """Log to trackio's files in a folder; nothing is sent to another host.

    trackio reads its folder from the environment once for each process, so values are written by a process of their own
    (`aeframe.training.trackio_writer`). That begins with the first value, and continues the run of this name if the
    folder has one.

    Args:
        folder: The folder of trackio's files.
        project: The project, which trackio's dashboard shows as a whole.
        run_name: The name of the run.
        group: A group of runs in the project.
    """

    def __init__(self, folder: Path, *, project: str, run_name: str, group: str | None = None) -> None:
        super().__init__()
        self.folder = folder
        self._run = {"project": project, "name": run_name, "group": group}
        self._config: Mapping[str, Any] = {}
        self._writer: subprocess.Popen[str] | None = None
        self._failed = False

    @property
    def name(self) -> str:
        """The project."""
        return str(self._run["project"])

    @property
    def version(self) -> str:
        """The name of the run."""
        return str(self._run["name"])

    @property
    def save_dir(self) -> str:
        """The folder of trackio's files."""
        return str(self.folder)

    @rank_zero_only
    def log_hyperparams(self, params: Mapping[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Keep the config of the run, which is stored with its first value."""
        self._config = vars(params) if isinstance(params, Namespace) else dict(params)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers by name."""
        self._send({"metrics": {name: float(value) for name, value in metrics.items()}, "step": step})

    @rank_zero_only
    def log_picture(self, name: str, path: Path, step: int) -> None:
        """Log a PNG file."""
        self._send({"pictures": {name: str(path.absolute())}, "step": step})

    @rank_zero_only
    def log_page(self, name: str, html: str, step: int) -> None:
        """Log an HTML page."""
        self._send({"pages": {name: html}, "step": step})

    @rank_zero_only
    def close(self) -> None:
        """Wait until all values are written; a later value continues the run."""
        if self._writer is None:
            return
        writer, self._writer = self._writer, None
        try:
            writer.communicate(timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            self._fail(f"its process did not end within {_SECONDS} seconds")
            return
        if writer.returncode != 0:
            self._fail(f"its process ended with exit code {writer.returncode}")

    def _send(self, message: Mapping[str, Any]) -> None:
        if self._failed:
            return
        try:
            if self._writer is None:
                self._writer = self._open()
            assert self._writer.stdin is not None
            self._writer.stdin.write(json.dumps(message) + "\n")
            self._writer.stdin.flush()
        except OSError as error:
            self._fail(str(error))

    def _open(self) -> subprocess.Popen[str]:
        """Start the process that writes, and send it the name and the config of the run."""
        self.folder.mkdir(parents=True, exist_ok=True)
        environment = {name: value for name, value in os.environ.items() if name not in _REMOTE}
        environment |= {"TRACKIO_DIR": str(self.folder.absolute()), "HF_HUB_OFFLINE": "1"}
        with (self.folder / "errors.txt").open("a", encoding="utf-8") as errors:
            writer = subprocess.Popen(
                # With -P, no module of this folder hides one that trackio imports.
                [sys.executable, "-P", str(Path(__file__).with_name("trackio_writer.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=environment,
                text=True,
                encoding="utf-8",
                # A signal of the terminal ends the run, which then writes its last values.
                start_new_session=True,
            )
        assert writer.stdin is not None
        config = json.loads(json.dumps(self._config, default=str))
        writer.stdin.write(json.dumps({**self._run, "config": config}) + "\n")
        return writer

    def _fail(self, reason: str) -> None:
        self._failed = True
        errors = self.folder / "errors.txt"
        warnings.warn(f"values are no longer logged to trackio: {reason}; see '{errors}'", stacklevel=2)
