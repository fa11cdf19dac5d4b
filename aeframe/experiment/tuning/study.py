"""Open the Optuna study of a search: an SQLite file that several processes may share."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from aeframe.errors import AeframeError, first_sentence
from aeframe.experiment.tuning.space import Choices, SearchSpace
from aeframe.runs.lock import is_locked, run_lock

ERROR = "error"
"""The attribute of a failed trial with its error. An interrupted trial has none."""
_WORKER = "worker"
"""The attribute of a trial with the folder that its process holds the lock of."""
_ASKED = ("search", "folder")
"""Attributes of a study: what is searched, and the folder of its trials."""
_TRIES = 20
"""Attempts to open a file that another process is creating, a tenth of a second apart."""
_SECONDS_TO_SIGN = 60
"""After this time, a trial without a worker was begun by a process that was killed."""


def distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """Return the distributions of a search space for Optuna, by key."""
    found: dict[str, BaseDistribution] = {}
    for key, varied in space.settings.items():
        if isinstance(varied, Choices):
            found[key] = CategoricalDistribution(varied.labels)
        elif varied.is_whole:
            step = 1 if varied.step is None else int(varied.step)
            found[key] = IntDistribution(int(varied.low), int(varied.high), log=varied.log, step=step)
        else:
            found[key] = FloatDistribution(varied.low, varied.high, log=varied.log, step=varied.step)
    return found


@contextmanager
def opened_study(
    path: Path,
    *,
    folder: Path,
    search: Mapping[str, Any],
    mode: str,
    sampler: BaseSampler,
    pruner: BasePruner,
) -> Iterator[optuna.Study]:
    """Create or open the study in an SQLite file; inside, Optuna prints warnings only.

    Args:
        path: The file; its stem is the name of the study.
        folder: The folder of the trials of a new study. An existing one keeps its own.
        search: What is searched, as plain values by name. An existing study must have been begun with the same.
        mode: ``min`` or ``max``.
        sampler: Chooses the points of this process.
        pruner: Ends trials of this process.

    Raises:
        AeframeError: The file is no study of Optuna, or one of another search.
    """
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        storage, study = _create(path, mode, sampler, pruner)
        _hold_to(study, path, folder, json.loads(json.dumps(search)))
        yield study
    finally:
        if storage is not None:
            storage.remove_session()
            storage.engine.dispose()
        optuna.logging.set_verbosity(verbosity)


def _create(path: Path, mode: str, sampler: BaseSampler, pruner: BasePruner) -> tuple[RDBStorage, optuna.Study]:
    # Another process that writes is waited for.
    url = sqlalchemy.URL.create("sqlite", database=str(path)).render_as_string()
    for attempt in range(_TRIES):
        try:
            storage = RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 60}})
            study = optuna.create_study(
                storage=storage,
                sampler=sampler,
                pruner=pruner,
                study_name=path.stem,
                direction="maximize" if mode == "max" else "minimize",
                load_if_exists=True,
            )
            return storage, study
        except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError, RuntimeError) as error:
            # Two processes that create the same file disturb each other.
            if attempt == _TRIES - 1 or "not a database" in str(error):
                raise AeframeError(
                    f"'{path}' cannot be opened as a study of Optuna ({first_sentence(error)}); choose another file"
                ) from error
            time.sleep(0.1)
    raise AssertionError


def _hold_to(study: optuna.Study, path: Path, folder: Path, search: Mapping[str, Any]) -> None:
    """Store what is searched in a new study, and compare it with that of an existing one."""
    asked = study.user_attrs.get(_ASKED[0])
    if asked is None:
        if study.get_trials(deepcopy=False):
            raise AeframeError(f"'{path}' is a study of another program; choose another file with --study")
        study.set_user_attr(_ASKED[1], str(folder.absolute()))
        study.set_user_attr(_ASKED[0], search)
        return
    for name in dict.fromkeys([*asked, *search]):
        if asked.get(name) != search.get(name):
            raise AeframeError(
                f"study '{path}' was begun with {_shown(name, asked)}, found {_shown(name, search)}; choose another "
                "file with --study, or use the same search space and settings"
            )


def _shown(name: str, values: Mapping[str, Any]) -> str:
    return f"{name} {json.dumps(values[name])}" if name in values else f"no {name}"


def folder_of(study: optuna.Study) -> Path:
    """Return the folder of the trials of a study, relative to the working folder if it is below that."""
    folder = Path(study.user_attrs[_ASKED[1]])
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


@contextmanager
def worker(folder: Path) -> Iterator[Path]:
    """Hold the lock by which other processes see that this one still trains; yield the folder of the lock."""
    own = folder / "workers" / f"{socket.gethostname()}-{os.getpid()}"
    own.mkdir(parents=True, exist_ok=True)
    try:
        with run_lock(own):
            yield own
    finally:
        # The folder of all workers is removed by the last one.
        for empty in (own, own.parent):
            with suppress(OSError):
                empty.rmdir()


def sign(trial: optuna.Trial, own: Path) -> None:
    """Store in a trial which process trains it."""
    trial.set_user_attr(_WORKER, own.name)


def fail_interrupted(study: optuna.Study) -> None:
    """Mark the trials of processes that have ended as failed, and queue their points again.

    A process may have been killed, or its machine switched off.
    """
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if not _is_alive(trial, folder_of(study)):
            fail_and_queue(study, trial)


def fail_and_queue(study: optuna.Study, trial: FrozenTrial | optuna.Trial) -> None:
    """Mark an interrupted trial as failed, and queue its point again."""
    study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
    if trial.params:
        study.enqueue_trial(trial.params)


def _is_alive(trial: FrozenTrial, folder: Path) -> bool:
    name = trial.user_attrs.get(_WORKER)
    if name is None:
        begun = trial.datetime_start
        return begun is None or (datetime.now() - begun).total_seconds() < _SECONDS_TO_SIGN
    return is_locked(folder / "workers" / str(name))


def num_counted(study: optuna.Study) -> int:
    """Return the number of trials that count: all but interrupted and queued ones."""
    return sum(
        trial.state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING) or ERROR in trial.user_attrs
        for trial in study.get_trials(deepcopy=False)
    )
