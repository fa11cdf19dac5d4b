"""``packed=true``: the points of a sweep are composed one after the other, and then trained together in one process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn
from omegaconf import DictConfig

from aeframe.errors import AeframeError
from aeframe.experiment.sweep import PointRecord

if TYPE_CHECKING:
    from aeframe.training.packed_training import PackedRun


@dataclass(frozen=True, slots=True)
class PreparedPoint:
    """What a job returns for a point that is trained together with others: its config was composed and checked."""

    record: PointRecord
    trainer: Mapping[str, Any]
    """Settings of the Trainer, which all points have in common."""
    train: Callable[[], Any]
    """Train the point, and return what its job is to return."""


def check_packed(hydra: DictConfig, config: Mapping[str, Any], keys: Sequence[str], name: str) -> None:
    """Check that a point can be trained together with the others of its sweep.

    Args:
        hydra: Hydra's settings of the sweep.
        config: The config of the point.
        keys: The settings that vary.
        name: The point in words.

    Raises:
        AeframeError: Another launcher or sweeper than Hydra's basic ones, or settings that one process has once.
    """
    for kind, part in (("launcher", hydra.launcher), ("sweeper", hydra.sweeper)):
        found = str(part.get("_target_", ""))
        if not found.endswith(f"Basic{kind.capitalize()}"):
            raise AeframeError(
                f"{name} has packed=true, which trains the points of a grid in this process, found the {kind} {found}; "
                f"leave out hydra/{kind} or packed"
            )
    varying = next((key for key in keys if key.partition(".")[0] in ("trainer", "profile")), None)
    if varying is not None:
        raise AeframeError(
            f"{name} has packed=true, but {varying} varies, of which one process has one value; set one, or leave out "
            "packed"
        )
    if config["profile"]:
        raise AeframeError(f"{name} has packed=true and profile=true, which measures one run; leave out one of them")


def train_together(returned: Sequence[JobReturn]) -> None:
    """Train the points that jobs have prepared, and put what each is to return in its place.

    Raises:
        BaseException: The first error that the user cannot correct, or a signal, after all points were recorded.
    """
    jobs = [each for each in returned if isinstance(each.return_value, PreparedPoint)]
    if not jobs:
        return
    from aeframe.training.packed_training import PackedRun, RunPack
    from aeframe.training.process_state import run_process

    points = [each.return_value for each in jobs]
    runs: list[PackedRun[Any]] = [PackedRun(point.record.name, point.train) for point in points]
    with run_process(points[0].trainer):
        RunPack(runs, lambda sentence: print(sentence, file=sys.stderr)).execute()
    for job, point, run in zip(jobs, points, runs, strict=True):
        job.return_value = run.result
        if isinstance(run.error, Exception):
            point.record.fail_unexpectedly(run.error)
    error = next((run.error for run in runs if run.error is not None), None)
    if error is not None:
        raise error
