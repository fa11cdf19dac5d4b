"""`aeframe.tune`: train trials whose settings Optuna chooses, and find the best by the monitored metric."""

from __future__ import annotations

import copy
import math
import sys
import time
import traceback
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.trial import FrozenTrial, TrialState

from aeframe.entrances import user_errors
from aeframe.errors import AeframeError
from aeframe.experiment.api import as_overrides, interruptible
from aeframe.experiment.checks import SuspiciousConfigWarning, check
from aeframe.experiment.compose import composed_by
from aeframe.experiment.composition.hidden import hidden_options
from aeframe.experiment.composition.loader import Loader
from aeframe.experiment.data_sized import DEFAULT_EPOCHS
from aeframe.experiment.dotted_keys import ABSENT, get_value
from aeframe.experiment.objects import RunObjects
from aeframe.experiment.received import received
from aeframe.experiment.run_setup import monitor_mode
from aeframe.experiment.tuning.pruning import ReportToTrial
from aeframe.experiment.tuning.result import FOLDER, VALUES_OF, Trial, TuneResult
from aeframe.experiment.tuning.sampler import SeededSampler
from aeframe.experiment.tuning.space import SearchSpace, read_space
from aeframe.experiment.tuning.study import (
    ERROR,
    distributions,
    fail_and_queue,
    fail_interrupted,
    folder_of,
    num_counted,
    opened_study,
    sign,
    worker,
)
from aeframe.experiment.workflow import train
from aeframe.runs.comparison import flat_settings
from aeframe.runs.folder import RunFolder
from aeframe.runs.run_id import exported_run_id, run_id
from aeframe.runs.sweep import SweepPoint, write_point, write_summary
from aeframe.training.launchers import num_devices, with_devices

_SAMPLE_ARGUMENTS = ("y", "condition", "sample_weight", "groups", "factors")
_HELD_OUT = ("validation", "test")
_QUIET = ("verbose=false", "progress=false", "pictures=false")
"""Overrides that come before those of the user."""
_MOST_FAILURES = 3
"""A study whose first trials all fail ends after so many."""
_FEWEST_FOR_IMPORTANCE = 10
"""Trials with a result from which the importance of settings is estimated."""
_WARMUP = 0.1
"""The fraction of the epochs in which no trial is pruned."""


@user_errors()
def tune(
    space: str | Path | Mapping[str, Any],
    x: Any = None,
    *,
    trials: int = 20,
    study: str | Path | None = None,
    timeout: float | None = None,
    prune: bool = False,
    overrides: Sequence[str] = (),
    config_dir: Path | None = None,
    **settings: Any,
) -> TuneResult:
    """Search settings with Optuna: train trials, and return them with the best one by the monitored validation metric.

    The first trial has the values that the run has without a search, if they are in the space. Each trial is a run in
    a folder of its own, ``ROOT/studies/NAME/NUMBER-MODEL-DATA``, with the seed of the run. A trial that fails is
    recorded with its error, and the search continues; it ends if the first three trials of a study fail.

    Args:
        space: A YAML file or a mapping: dotted keys with ``{low, high, log, step}`` or a list of choices.
        x: The samples, as for `aeframe.fit`; None takes the dataset that ``data=`` names.
        trials: The number of trials of the study, with those that it already has. Interrupted ones do not count.
        study: The SQLite file of the study, which several processes may share. If it exists, its search is continued.
            By default ``ROOT/studies/NAME.db``; NAME is that of the file `space`, or the id of this process.
        timeout: Hours after which no further trial begins; None for no limit.
        prune: End trials whose validation metric is worse than the median of the previous trials at the same
            validation.
        overrides: As on the command line, for all trials.
        config_dir: The folder of the user's own option files; by default ``./configs``, if present.
        settings: All other arguments of `aeframe.fit`, for all trials: ``model="vae"``, ``y=y``, ``max_epochs=20``.

    Raises:
        AeframeError: An error in the space or the settings, raised before anything is written; a study of another
            search; no trial has a result.

    Example:
        >>> import aeframe
        >>> result = aeframe.tune({"latent.dim": {"low": 2, "high": 32}}, x, model="vae")  # doctest: +SKIP
        >>> result.best.settings, result.best.value  # doctest: +SKIP
    """
    if trials < 1:
        raise AeframeError(f"tune expects at least 1 trial, found {trials}; set trials higher")
    columns = {name: settings.pop(name, None) for name in _SAMPLE_ARGUMENTS}
    held_out = {name: settings.pop(name, None) for name in _HELD_OUT}
    objects = received(x, columns, held_out, settings)
    common = [*_QUIET, *as_overrides(settings), *overrides]
    search = _Search(read_space(space), common, objects, config_dir)
    name = Path(space).stem if not isinstance(space, Mapping) else None
    with interruptible(), exported_run_id():
        return search.run(trials, study, name, None if timeout is None else timeout * 3600, prune=prune)


class _Search:
    """The search of one process."""

    def __init__(self, space: SearchSpace, common: Sequence[str], objects: RunObjects, config_dir: Path | None) -> None:
        self.space, self.common, self.objects, self.config_dir = space, list(common), objects, config_dir
        self._loader = Loader(config_dir)
        _check_overrides(space, common)
        # What a run has without a search; the values of the space may be missing in it.
        self.config = self._check_corners()
        self.mode: Literal["min", "max"] = "max" if monitor_mode(self.config) == "max" else "min"
        self.metric = f"val/{self.config['monitor']}"

    def run(
        self, trials: int, file: str | Path | None, name: str | None, seconds: float | None, *, prune: bool
    ) -> TuneResult:
        """Train trials until the study has as many as wanted, and write the summary of the study."""
        studies = Path(self.config["root"]) / "studies"
        path = studies / f"{name or run_id()}.db" if file is None else Path(file)
        pruner: BasePruner = NopPruner()
        if prune:
            # Without a number, that of a trial depends on its batch size.
            epochs = self.config["max_epochs"] or DEFAULT_EPOCHS
            pruner = MedianPruner(n_startup_trials=5, n_warmup_steps=math.ceil(_WARMUP * epochs))
        with opened_study(
            path,
            folder=studies / path.stem,
            search=self._asked(),
            mode=self.mode,
            sampler=SeededSampler(self.config["seed"]),
            pruner=pruner,
        ) as study:
            folder, end = folder_of(study), math.inf if seconds is None else time.monotonic() + seconds
            self._queue_default(study)
            try:
                with worker(folder) as own:
                    fail_interrupted(study)
                    while num_counted(study) < trials and time.monotonic() < end:
                        trial = study.ask(distributions(self.space))
                        sign(trial, own)
                        self._train(study, trial, folder)
                        _check_first_trials(study)
            except BaseException as error:
                if not isinstance(error, Exception):
                    print(f"study '{path}' was interrupted; the same command continues it", file=sys.stderr)
                raise
            finally:
                _summarize(folder)
            return self._result(study, path, folder)

    def _check_corners(self) -> dict[str, Any]:
        """Check every choice and the ends of every range, and return the config of a run without a search.

        Raises:
            AeframeError: A point is refused.
        """
        checked = []
        for point in self.space.corners():
            settings = ", ".join(f"{key}={value}" for key, value in point.items())
            try:
                config = self._compose(point)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", SuspiciousConfigWarning)
                    check(config, objects=self.objects)
            except AeframeError as error:
                raise AeframeError(f"the search has the point {settings}, which is refused: {error}") from error
            checked.append(config)
        trainer = with_devices(checked[0]["trainer"])
        if num_devices(trainer) * trainer["num_nodes"] > 1:
            raise AeframeError(
                "tune trains each trial on one device, found several; set trainer.devices=1, and run the same command "
                "once for each device"
            )
        if checked[0]["monitor"] == "loss":
            print(
                "note: monitor=loss is weighted as in training, so trials that differ in weights such as "
                "objective.beta cannot be compared by it; monitor=bound has no weights",
                file=sys.stderr,
            )
        try:
            return self._compose({})
        except AeframeError:
            # A value that a run has to set is in the space.
            return checked[0]

    def _compose(self, point: Mapping[str, Any]) -> dict[str, Any]:
        return composed_by(self._loader, [*self.common, *as_overrides(point)])

    def _asked(self) -> dict[str, Any]:
        """Return what is searched as plain values: a study must be continued with the same."""
        searched = {f"the search of {key}": value for key, value in self.space.as_dict().items()}
        return searched | dict(flat_settings(self.config))

    def _queue_default(self, study: optuna.Study) -> None:
        """Queue the point that a run has without a search as the first trial, if it is in the space."""
        if study.get_trials(deepcopy=False):
            return
        default = {}
        for key, varied in self.space.settings.items():
            value = get_value(self.config, key)
            if isinstance(value, Mapping) and "name" in value:
                value = value["name"]
            if value is ABSENT or value not in varied:
                return
            default[key] = value
        study.enqueue_trial(self.space.params(default))

    def _train(self, study: optuna.Study, trial: optuna.Trial, folder: Path) -> None:
        """Train one trial, and tell its result to the study."""
        point = self.space.point(trial.params)
        written = [f"{key}={value}" for key, value in point.items()]
        shown = ", ".join(
            f"{key}={f'{value:.4g}' if isinstance(value, float) else value}" for key, value in point.items()
        )
        record = SweepPoint(trial.number, tuple(written), "training", monitor=self.config["monitor"], mode=self.mode)
        write_point(folder, record)
        start = time.monotonic()
        run_folder = None
        try:
            config = self._compose(point)
            run_folder = folder / f"{trial.number}-{config['model']['name']}-{config['data']['name']}"
            trial.set_user_attr(FOLDER, run_folder.name)
            overrides = [*self.common, *as_overrides({**point, "folder": run_folder})]
            callbacks = [*copy.deepcopy(list(self.objects.callbacks)), ReportToTrial(trial, self.metric)]
            with user_errors():
                run = train(
                    {**config, "folder": str(run_folder)},
                    overrides=overrides,
                    objects=replace(self.objects, callbacks=callbacks),
                    hidden_options=hidden_options(self._loader, overrides),
                )
            if not math.isfinite(run.monitored):
                raise AeframeError(f"{self.metric} was never finite")
        except optuna.TrialPruned as pruned:
            assert run_folder is not None
            RunFolder(run_folder).write_state("pruned")
            write_point(folder, replace(record, status="pruned", error=str(pruned), folder=str(run_folder)))
            study.tell(trial, state=TrialState.PRUNED)
            outcome = str(pruned)
        except AeframeError as error:
            self._fail(study, trial, replace(record, status="failed", error=str(error)), folder)
            outcome = f"failed: {error}"
        except Exception as error:  # noqa: BLE001 any part may fail at one point; the other points are trained
            traceback.print_exc()
            message = f"{type(error).__name__}: {' '.join(str(error).split())}"
            self._fail(study, trial, replace(record, status="failed", error=message), folder)
            outcome = f"failed: {message}"
        except BaseException:
            fail_and_queue(study, trial)
            raise
        else:
            write_point(folder, replace(record, status="finished", folder=str(run.folder), monitored=run.monitored))
            study.tell(trial, run.monitored)
            outcome = (
                f"{self.metric} {run.monitored:.6g} (best {study.best_value:.6g}, trial {study.best_trial.number})"
            )
        print(f"trial {trial.number}: {shown}: {outcome}, {time.monotonic() - start:.0f} s", flush=True)

    def _fail(self, study: optuna.Study, trial: optuna.Trial, record: SweepPoint, folder: Path) -> None:
        write_point(folder, record)
        trial.set_user_attr(ERROR, record.error)
        study.tell(trial, state=TrialState.FAIL)

    def _result(self, study: optuna.Study, path: Path, folder: Path) -> TuneResult:
        """Return the trials of a study.

        Raises:
            AeframeError: No trial has a result.
        """
        finished = [self._trial(trial, folder) for trial in study.get_trials(deepcopy=False)]
        complete = [trial for trial in finished if trial.status == "complete"]
        if not complete:
            raise AeframeError(
                f"study '{path}' has no trial with a result; its folder '{folder}' has the error of each in sweep.csv"
            )
        best = next(trial for trial in complete if trial.number == study.best_trial.number)
        importance: dict[str, float] = {}
        # Without two different results, or with equal values of a setting in all trials, it is not defined.
        with suppress(ValueError, RuntimeError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importance = (
                optuna.importance.get_param_importances(study) if len(complete) >= _FEWEST_FOR_IMPORTANCE else {}
            )
        objects = self.objects
        is_repeatable = objects.samples is None and objects.init is None and not objects.modules
        is_repeatable &= not objects.callbacks and not objects.loggers
        return TuneResult(
            best,
            tuple(finished),
            importance,
            self.metric,
            self.mode,
            path,
            folder,
            is_repeatable,
            self.config_dir,
        )

    def _trial(self, trial: FrozenTrial, folder: Path) -> Trial:
        value, error = trial.value, str(trial.user_attrs.get(ERROR, ""))
        point = self.space.point(trial.params) if trial.params.keys() == self.space.settings.keys() else {}
        name = trial.user_attrs.get(FOLDER)
        return Trial(
            trial.number,
            point,
            VALUES_OF.get(trial.state.name, "interrupted" if not error else "failed"),
            math.nan if value is None else value,
            None if name is None else folder / name,
            (*self.common, *as_overrides(point)),
            error,
        )


def _check_overrides(space: SearchSpace, common: Sequence[str]) -> None:
    """Raise an error for an override of a setting that is searched, or that trials cannot share."""
    for override in common:
        key = override.partition("=")[0].lstrip("+~")
        if key in space.settings:
            raise AeframeError(
                f"'{key}' is set to one value and searched; leave out {override}, or the search of {key}"
            )
        if key in ("folder", "resume"):
            raise AeframeError(
                f"tune makes a folder for each trial, found {override}; set root=PATH, or continue a study with --study"
            )


def _check_first_trials(study: optuna.Study) -> None:
    """Raise an error if all trials have failed so far: their common settings are probably wrong."""
    trials = study.get_trials(deepcopy=False)
    errors = [trial.user_attrs[ERROR] for trial in trials if ERROR in trial.user_attrs]
    if len(errors) >= _MOST_FAILURES and not any(
        trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in trials
    ):
        raise AeframeError(f"the first {len(errors)} trials failed, the last one with: {errors[-1]}")


def _summarize(folder: Path) -> None:
    """Write and print the table of all trials, as for a sweep."""
    try:
        write_summary(folder)
    except (AeframeError, OSError) as error:
        print(f"warning: the study in '{folder}' has no summary: {error}", file=sys.stderr)
