"""Decide how a run starts: in which folder, and whether it begins, continues or is complete."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from aeframe.data.fingerprint import resolved_paths
from aeframe.errors import AeframeError
from aeframe.experiment.completion import is_complete
from aeframe.experiment.compose import stored_config
from aeframe.experiment.data_sized import stored_choices
from aeframe.experiment.objects import RunObjects
from aeframe.experiment.resume import AUTO, check_unchanged
from aeframe.experiment.warm_start import with_absolute_init
from aeframe.runs.claim import claimed_folder
from aeframe.runs.folder import RunFolder
from aeframe.runs.run_id import in_queue, make_run_id, name_before_restart, run_id
from aeframe.training.first_process import decided_by_first_process, exported_decision

_NOT_OF_COMMAND = ("root", "folder", "resume", "verbose", "progress")
"""Settings that may differ between two starts of the same command."""
_NOT_OF_TRAINER = ("devices", "num_nodes")
"""Settings under ``trainer`` that may differ: a queue may start the command again with other devices."""
_num_starts = 0
"""The number of runs that this process has started."""


@dataclass(frozen=True, slots=True)
class Start:
    """How a run starts; equal in all its processes, except for `is_locked`."""

    path: str
    """The run folder."""
    continues: bool = False
    """Whether the folder has a run to continue or to finish."""
    is_complete: bool = False
    """Whether the run of the command is trained, tested and saved already."""
    chosen: Mapping[str, Any] = field(default_factory=dict)
    """What the run that is continued has chosen from its data, for the settings that the command leaves out."""
    command: str = ""
    """The digest of the command's settings, see `command_digest`; empty for a run that is not looked for."""
    is_locked: bool = False
    """Whether this process holds the lock of the folder."""

    @property
    def folder(self) -> RunFolder:
        """The run folder."""
        return RunFolder(Path(self.path))

    def config(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return the config of the run, with the settings that this start decides."""
        return {**config, **self.chosen, "resume": self.path if self.continues else None}


@contextmanager
def started(config: Mapping[str, Any], job: int | None, objects: RunObjects) -> Iterator[Start]:
    """Decide how a run starts. The first process of the run decides, and hands it to the others.

    A folder that is chosen among those of one job is locked inside.

    Args:
        config: The config of the run.
        job: The number of the run in a sweep.
        objects: What `aeframe.fit` received besides the config.

    Raises:
        AeframeError: The folder has another run, or another process runs the same command.
    """
    global _num_starts
    _num_starts += 1
    number, settings = _num_starts, config["trainer"]
    with ExitStack() as stack:
        decided: list[Start] = []

        def decide() -> dict[str, Any]:
            decided.append(_decided(config, job, objects, stack))
            return {**asdict(decided[0]), "is_locked": False}

        decision = decided_by_first_process(decide, settings, number)
        stack.enter_context(exported_decision(decision, settings, number))
        yield decided[0] if decided else Start(**decision)


def _decided(config: Mapping[str, Any], job: int | None, objects: RunObjects, stack: ExitStack) -> Start:
    """Return how a run starts; enter the lock of its folder into `stack`, if the folder is one of several."""
    resume = config["resume"]
    if isinstance(resume, str) and resume != AUTO:
        return Start(str(RunFolder.open(Path(resume)).path), continues=True)
    is_auto = resume == AUTO or (resume is None and in_queue())
    if config["folder"] is not None:
        folder = RunFolder(Path(config["folder"]))
        return _in_folder(folder, config, command_digest(config, objects)) if is_auto else Start(str(folder.path))
    if resume == AUTO and not in_queue():
        raise AeframeError("resume=auto requires the run's folder, found none; set folder=PATH")
    root, parts = Path(config["root"]), f"{config['model']['name']}-{config['data']['name']}"
    if not in_queue():
        return Start(str(root / f"{run_id(job)}-{parts}"))
    command = command_digest(config, objects)
    name = make_run_id() if job is None else f"{make_run_id()}-{job}"
    path = root / name_before_restart(root, f"{name}-{parts}")
    folder = stack.enter_context(claimed_folder(path, command, continues=is_auto))
    if is_complete(folder, config):
        return Start(str(folder.path), is_complete=True, command=command, is_locked=True)
    continues = folder.has_checkpoint()
    return Start(
        str(folder.path),
        continues=continues,
        chosen=stored_choices(config, lambda: stored_config(folder)) if continues else {},
        command=command,
        is_locked=True,
    )


def _in_folder(folder: RunFolder, config: Mapping[str, Any], command: str) -> Start:
    """Return how a run starts in the folder that its command names."""
    if not folder.config.is_file() or not (folder.has_checkpoint() or folder.read_state().get("status") == "finished"):
        return Start(str(folder.path), command=command)
    if folder.read_state().get("command") != command:
        check_unchanged(config, stored_config(folder), folder)
    if is_complete(folder, config):
        return Start(str(folder.path), is_complete=True, command=command)
    chosen = stored_choices(config, lambda: stored_config(folder))
    return Start(str(folder.path), continues=True, chosen=chosen, command=command)


def command_digest(config: Mapping[str, Any], objects: RunObjects) -> str:
    """Return a hash of what a command trains: its settings, and the samples and modules that are not in the config.

    Folders, what is printed, and the number of devices are left out.
    """
    complete = with_absolute_init(resolved_paths(config))
    settings = {name: value for name, value in complete.items() if name not in _NOT_OF_COMMAND}
    settings["trainer"] = {name: value for name, value in config["trainer"].items() if name not in _NOT_OF_TRAINER}
    samples: Any = {}
    if objects.samples is not None:
        # Samples that cannot be hashed are no samples of any modality; the checks of the run have the right sentence.
        with contextlib.suppress(TypeError, ValueError, LookupError, AttributeError):
            samples = objects.samples.content()
    modules = {kind: getattr(module, "__qualname__", None) or str(module) for kind, module in objects.modules.items()}
    text = json.dumps([settings, samples, modules], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
