"""The function that Hydra calls for a run or for each point of a sweep, and a check of all points beforehand.

A sweep (``-m``) trains several runs, its points. Hydra's *sweeper* chooses the overrides of each point, and its
*launcher* starts the points: in this process, in others, or as Slurm jobs.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from aeframe.entrances import user_errors
from aeframe.errors import AeframeError, ReportedError
from aeframe.experiment.compose import overrides_of, resolve
from aeframe.experiment.composition.hidden import command_flags, hidden_options
from aeframe.experiment.composition.hydra_internals import BasicSweeper, is_basic
from aeframe.experiment.composition.loader import CONFIG, Loader
from aeframe.experiment.local_device import use_free_device
from aeframe.experiment.optuna_sweeper import check_direction, first_point
from aeframe.experiment.packed_points import PreparedPoint, check_packed
from aeframe.experiment.sweep import PlannedSweep, PointRecord, planned_sweep, recorded_point
from aeframe.phases import measured, phase, process_age
from aeframe.runs.run_id import exported_run_id
from aeframe.runs.sweep_plan import chosen_keys, point_text, varied_keys, without_folders
from aeframe.training.launchers import num_devices, with_devices


@dataclass(frozen=True, slots=True)
class UserError:
    """The result of a job that ended with an error that the user can correct; its message was printed already."""

    message: str


def job(config: DictConfig) -> float | UserError | PreparedPoint:
    """Train one run, and return its monitored metric, which a sweeper optimizes.

    A point with ``packed=true`` is only prepared; `train_together` trains it.

    An error that the user can correct is returned instead of raised, so that the other points of a sweep are trained.
    A point of a sweep is recorded in the folder of the sweep, where also its run folder is.
    """
    hydra = HydraConfig.get()
    # Only the jobs of a sweep have a number.
    if OmegaConf.is_missing(hydra.job, "num"):
        return _train(config, overrides_of(hydra))
    overrides = overrides_of(hydra)
    with recorded_point(Path(str(hydra.sweep.dir)), int(hydra.job.num), overrides) as record:
        return _train(config, overrides, record)


def _train(
    config: DictConfig, overrides: Sequence[str], record: PointRecord | None = None
) -> float | UserError | PreparedPoint:
    """Train one run, or prepare a point that is trained together with others; see `job`."""
    try:
        loader = _loader()
        model = config.model.name if loader.pinned is None else loader.pinned.get("model", {}).get("name", "custom")
        folder = None if record is None else record.begin(config, str(model))
        run_config = resolve(config, overrides, loader)
        hidden = hidden_options(loader, overrides)
        if run_config["dry_run"]:
            with user_errors():
                from aeframe.experiment.run_cost import print_cost

                print_cost(run_config)
            return math.nan
        if record is not None:
            record.monitor(run_config)
            use_free_device(run_config["trainer"], str(HydraConfig.get().launcher.get("_target_", "")))
        stored = [*command_flags(loader, overrides), *overrides]
        execute = functools.partial(_execute, run_config, stored, hidden, record, folder)
        if record is not None and run_config["packed"]:
            return PreparedPoint(record, run_config["trainer"], execute)
        return execute()
    except AeframeError as error:
        return _user_error(error, record)


def _execute(
    config: dict[str, Any],
    overrides: Sequence[str],
    hidden: Sequence[str],
    record: PointRecord | None,
    folder: Path | None,
) -> float | UserError:
    """Train a run whose config is complete.

    Args:
        config: The config.
        overrides: What is stored as the arguments of its command.
        hidden: Files of the user that hide packaged options.
        record: The record of a point; None for a run by itself.
        folder: The folder of a point.
    """
    number = None if record is None else record.number
    try:
        # The environment passes the id of the run to the other processes of a run on several devices.
        with measured() as phases, user_errors(), exported_run_id():
            if record is None and (age := process_age()) is not None:
                phases.add("start", age)
            with phase("imports"):
                # Importing Lightning takes seconds, so errors in the config are raised first.
                from aeframe.experiment.workflow import train
                from aeframe.runs.sweep import finished_value
            if record is not None and folder is not None and (monitored := finished_value(folder)) is not None:
                # The sweep ended between the end of this run and its record.
                record.finish(folder, monitored)
                return monitored
            run = train(config, job=number, overrides=overrides, hidden_options=hidden)
        if record is not None and math.isnan(run.monitored):
            raise AeframeError(f"{config['monitor']} was never finite on the validation split")
        if record is not None:
            record.finish(run.folder, run.monitored)
        return run.monitored
    except AeframeError as error:
        return _user_error(error, record)


def _user_error(error: AeframeError, record: PointRecord | None) -> UserError:
    """Print and record an error that the user can correct."""
    user_error = UserError(str(error) if record is None else f"{record.name}: {error}")
    if not isinstance(error, ReportedError):
        print(f"error: {user_error.message}", file=sys.stderr)
    if record is not None:
        record.fail(str(error))
    return user_error


def _loader() -> Loader:
    """Return the loader of this command. In a process that a launcher started there is none, so a new one is made."""
    application = GlobalHydra.instance()
    loader = application.config_loader() if application.is_initialized() else None
    return loader if isinstance(loader, Loader) else Loader()


def check_sweep(loader: Loader, overrides: Sequence[str]) -> tuple[DictConfig, PlannedSweep]:
    """Return the config that all points of a sweep have in common, and which points are to be trained.

    Compose all points of a sweep before anything is written, and check the number of devices of each.

    A run on several devices starts this command once more for each further device, which would repeat the whole sweep.

    If the sweeper chooses its points during the sweep (Optuna), one point is checked, and the direction of the search.

    Raises:
        AeframeError: A point cannot be composed, or requires several devices without a launcher for Slurm; the folder
            of the sweep is in use.
    """
    master = loader.load_configuration(CONFIG, list(overrides), RunMode.MULTIRUN)
    launcher = str(master.hydra.launcher.get("_target_", ""))
    points = _points(loader, master)
    keys = varied_keys(points) if is_basic(master.hydra.sweeper) else chosen_keys(points[0], overrides)
    for point in points:
        text = point_text(point, keys)
        name = f"the point {text}" if text else "the only point"
        try:
            # The folder and the run to resume are those of the sweep.
            config = resolve(loader.point_settings(master, without_folders(point)), point, loader)
        except AeframeError as error:
            raise AeframeError(f"{name}: {error}") from error
        check_direction(master.hydra.sweeper, config)
        if config["dry_run"]:
            raise AeframeError(f"{name} has dry_run=true, which measures one run; leave out -m and several values")
        if config["packed"]:
            check_packed(master.hydra, config, keys, name)
        # On Slurm each point is a separate job, and Slurm starts one process for each of the job's devices.
        trainer = with_devices(config["trainer"])
        repeats_command = trainer["strategy"] != "ddp_spawn" and not launcher.endswith("SlurmLauncher")
        if num_devices(trainer) * trainer["num_nodes"] > 1 and repeats_command:
            raise AeframeError(
                f"{name} has trainer.devices={trainer['devices']}, but each process of a "
                "run on several devices would start the whole sweep again; use one device for each point, "
                "trainer.strategy=ddp_spawn, or a launcher that makes a Slurm job of each "
                "(hydra/launcher=submitit_slurm)"
            )
    sweep = planned_sweep(master, points if is_basic(master.hydra.sweeper) else None, overrides)
    master.hydra.sweep.dir = str(sweep.folder)
    return master, sweep


def _points(loader: Loader, master: DictConfig) -> list[list[str]]:
    """Return the overrides of each point.

    The points of other sweepers than Hydra's basic one are unknown: the first value of each setting stands for them.
    """
    sweeper: Any = master.hydra.sweeper
    # Besides the command line, the config may list values to sweep over: ``hydra.sweeper.params``.
    params: Any = {} if sweeper.get("params") is None else OmegaConf.to_container(sweeper.params)
    overrides = [f"{key}={value}" for key, value in params.items()] + overrides_of(master.hydra)
    parsed = OverridesParser.create(config_loader=loader).parse_overrides(overrides)
    if not is_basic(sweeper):
        return [first_point(parsed)]
    return [point for batch in BasicSweeper.split_arguments(parsed, None) for point in batch]
