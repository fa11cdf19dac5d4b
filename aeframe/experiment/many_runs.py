"""`aeframe.fit_many`: train a model for each point of a grid of settings, in one process and vectorized."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aeframe.entrances import user_errors
from aeframe.errors import AeframeError
from aeframe.experiment.api import as_overrides, interruptible
from aeframe.experiment.compose import compose
from aeframe.experiment.composition.hidden import hidden_options
from aeframe.experiment.composition.shared_loader import shared_loader
from aeframe.experiment.received import received
from aeframe.interruption import Interrupted
from aeframe.runs.run_id import exported_run_id

if TYPE_CHECKING:
    from aeframe.experiment.finished_run import Run
    from aeframe.experiment.objects import RunObjects

_OF_ALL = ("trainer", "folder", "resume", "dry_run", "profile")
"""Settings that one process has for all of its runs, or that would name one run folder for several runs."""


@user_errors()
def fit_many(
    x: Any = None,
    *,
    grid: Mapping[str, Sequence[Any]],
    y: Any = None,
    condition: Any = None,
    sample_weight: Any = None,
    groups: Any = None,
    factors: Any = None,
    validation: Any = None,
    test: Any = None,
    overrides: Sequence[str] = (),
    **settings: Any,
) -> list[Run]:
    """Train a run for each combination of values in a grid, and return the runs in the order of `itertools.product`.

    All runs are trained in this process. Each has its own run folder, metrics, checkpoints and saved model, and equals
    the same run of `aeframe.fit` up to the rounding errors of sums in another order. The training steps of runs that
    differ in numbers only (seed, learning rate, weights, schedules) are computed together by `torch.func.vmap`. Runs
    whose models differ in shape are computed in groups. A line on stderr names a run that is trained alone, and why.

    Args:
        x: As for `fit`, like all others.
        grid: The values of each setting that varies, by its key: ``{"seed": [0, 1], "optimizer.lr": [1e-3, 3e-3]}``.
        y: The labels.
        condition: The condition.
        sample_weight: The weight of each sample's loss in training.
        groups: The group of each sample.
        factors: The known factors of variation.
        validation: Samples, or a fraction.
        test: Samples, or a fraction.
        overrides: As on the command line, for all runs.
        settings: Names of recipes and parts, options and settings, for all runs.

    Raises:
        AeframeError: An error that the user can correct. If some of the runs failed, it is raised after the others have
            been trained and saved.
        KeyboardInterrupt: Ctrl-C ended the runs, after their checkpoints were written.
        SystemExit: Another signal n ended the runs; the exit code is 128 + n.

    Example:
        >>> import aeframe
        >>> grid = {"optimizer.lr": [1e-3, 3e-3], "seed": range(8)}
        >>> runs = aeframe.fit_many(x, grid=grid, model="vae", max_epochs=20)  # doctest: +SKIP
        >>> best = min(runs, key=lambda run: run.monitored)  # doctest: +SKIP
    """
    points = _points(grid, {**settings, **dict.fromkeys(key.partition("=")[0] for key in overrides)})
    columns = {"y": y, "condition": condition, "sample_weight": sample_weight, "groups": groups, "factors": factors}
    objects = received(x, columns, {"validation": validation, "test": test}, settings)
    if objects.callbacks or objects.loggers:
        raise AeframeError(
            "fit_many: callbacks= and logger= have objects, which several runs cannot share; name them as "
            "callbacks={label: {'class': PATH}} and logger=NAME, of which each run has its own"
        )
    common = as_overrides({"progress": False, **settings})
    all_overrides = [[*common, *overrides, *_overrides(point)] for point in points]
    # All points are composed before one is trained, so that a wrong value in the last one costs nothing.
    configs = [compose(each) for each in all_overrides]
    with interruptible(), exported_run_id():
        return _train(points, configs, all_overrides, objects)


def _points(grid: Mapping[str, Sequence[Any]], fixed: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the settings of each point of a grid.

    Raises:
        AeframeError: No values, a string in place of a list, or a setting that cannot vary.
    """
    if not grid:
        raise AeframeError("fit_many: grid is empty; give values for a setting, such as grid={'seed': [0, 1, 2]}")
    for key, values in grid.items():
        if isinstance(values, (str, bytes, Mapping)) or not hasattr(values, "__iter__"):
            raise AeframeError(
                f"fit_many: grid['{key}'] expects a list of values, found {values!r}; write [{values!r}]"
            )
        if not list(values):
            raise AeframeError(f"fit_many: grid['{key}'] has no values; give some, or leave '{key}' out")
        if key.partition(".")[0] in _OF_ALL:
            raise AeframeError(
                f"fit_many: grid has '{key}', but all runs of one process have the same; use the command "
                "aeframe-train -m, whose points are trained one after the other without packed=true"
            )
    for name in ("folder", "resume", "dry_run", "profile"):
        if fixed.get(name):
            raise AeframeError(
                f"fit_many: '{name}' is a setting of one run; leave it out, and set root= for the folder of all runs"
            )
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*(list(v) for v in grid.values()))]


def _overrides(point: Mapping[str, Any]) -> list[str]:
    """Return the settings of a point as overrides; ``{"objective.beta": {...}}`` is ``objective={"beta": {...}}``."""
    overrides = []
    for key, value in point.items():
        first, *others = key.split(".")
        for name in reversed(others):
            value = {name: value}
        overrides += as_overrides({first: value})
    return overrides


def _train(
    points: Sequence[Mapping[str, Any]],
    configs: Sequence[dict[str, Any]],
    overrides: Sequence[Sequence[str]],
    objects: RunObjects,
) -> list[Run]:
    # Importing Lightning takes seconds, so errors in the configs are raised first.
    from aeframe.experiment.workflow import train
    from aeframe.training.packed_training import PackedRun
    from aeframe.training.process_state import execute_together

    def run_of(number: int) -> PackedRun[Run]:
        def execute() -> Run:
            hidden = hidden_options(shared_loader(None, tuple(overrides[number])), overrides[number])
            return train(
                configs[number],
                job=number,
                overrides=overrides[number],
                objects=objects,
                hidden_options=hidden,
            )

        text = ", ".join(f"{key}={value}" for key, value in points[number].items())
        return PackedRun(f"run {number} ({text})", execute)

    runs = [run_of(number) for number in range(len(points))]
    execute_together(runs, configs[0]["trainer"])
    return _results(runs)


def _results(runs: Sequence[Any]) -> list[Run]:
    """Return the results of all runs, or raise the error of those that failed."""
    errors = [(run.name, run.error) for run in runs if run.error is not None]
    for _, error in errors:
        if isinstance(error, Interrupted) or not isinstance(error, AeframeError):
            raise error
    if errors:
        finished = [str(run.result.folder) for run in runs if run.result is not None]
        sentences = "; ".join(f"{name}: {error}" for name, error in errors)
        others = f" (the others are in {', '.join(finished)})" if finished else ""
        raise AeframeError(f"{len(errors)} of {len(runs)} runs failed{others}: {sentences}")
    return [run.result for run in runs]
