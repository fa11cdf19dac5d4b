"""``packed=true``: the points of a sweep are composed one after the other, and then trained together in one process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig

from aeframe.errors import AeframeError
from aeframe.experiment.composition.hydra_internals import is_basic
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
        if not is_basic(part):
            raise AeframeError(
                f"{name} has packed=true, which trains the points of a grid in this process, found the {kind} "
                f"{part.get('_target_')}; leave out hydra/{kind} or packed"
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

    An error in code makes its job a failed one, as Hydra does for a point that is trained by itself.

    Raises:
        Interrupted: A signal ended the points.
    """
    prepared = [job for job in returned if job.status == JobStatus.COMPLETED]
    jobs = [job for job in prepared if isinstance(job.return_value, PreparedPoint)]
    if not jobs:
        return
    from aeframe.training.packed_training import PackedRun
    from aeframe.training.process_state import execute_together

    points = [job.return_value for job in jobs]
    runs: list[PackedRun[Any]] = [PackedRun(point.record.name, point.train) for point in points]
    execute_together(runs, points[0].trainer)
    for job, point, run in zip(jobs, points, runs, strict=True):
        job.return_value = run.result if run.error is None else run.error
        if isinstance(run.error, Exception):
            job.status = JobStatus.FAILED
            point.record.fail_unexpectedly(run.error)
    for run in runs:
        if run.error is not None and not isinstance(run.error, Exception):
            raise run.error
