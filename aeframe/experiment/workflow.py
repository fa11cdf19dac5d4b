"""Train the model of a composed config, and write its run folder: checkpoints, saved model, metrics and pictures."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger

from aeframe.data.fingerprint import compare
from aeframe.errors import AeframeError, did_you_mean, first_sentence, printable
from aeframe.evaluation.advice import advise
from aeframe.evaluation.baselines import baseline_metrics, better_baselines, pca_error
from aeframe.evaluation.evaluator import Evaluator, measure, metrics_of
from aeframe.evaluation.units import units_of
from aeframe.experiment.callbacks_and_loggers import build_callbacks, build_loggers, check_callbacks
from aeframe.experiment.completion import finished_run, is_trained, reached_limit, start_message
from aeframe.experiment.console import banner, closing_table, console_of, print_note
from aeframe.experiment.finished_run import Run
from aeframe.experiment.objects import RunObjects
from aeframe.experiment.run_setup import RunSetup, build_run, monitor_mode, schedule_names
from aeframe.experiment.saving import save_run
from aeframe.experiment.signals import ended
from aeframe.experiment.spawned import is_spawned, train_spawned
from aeframe.experiment.start import Start, started
from aeframe.experiment.validation import interval_seconds
from aeframe.interruption import Interrupted, SignalGuard
from aeframe.model_store.data_record import read_data_record, write_data_record
from aeframe.model_store.modality_state import read_modality_state, write_modality_state
from aeframe.model_store.trained_model import TrainedModel
from aeframe.phases import measured, phase
from aeframe.runs.evidence import read_evidence
from aeframe.runs.folder import RunFolder
from aeframe.runs.lock import run_lock
from aeframe.runs.newest import NewestCheckpoint, newest_checkpoint
from aeframe.runs.phase_table import report_phases
from aeframe.runs.run_logger import RunLogger
from aeframe.training.averaging import WeightAverage
from aeframe.training.checkpoint import check_fits, read_checkpoint
from aeframe.training.checkpoint_structure import restored_from
from aeframe.training.early_stopping import RunEarlyStopping
from aeframe.training.launchers import with_devices
from aeframe.training.loggers import close_loggers, is_first_process
from aeframe.training.process_state import run_process
from aeframe.training.processes import joined_processes
from aeframe.training.progress_line import ProgressLine
from aeframe.training.run_checkpoints import RunCheckpoints
from aeframe.training.time_limit import TrainingTimeLimit
from aeframe.training.trainer import compile_in_place, make_trainer
from aeframe.training.validation_time import ValidationTime
from aeframe.types import TrainingProgress


def train(
    config: Mapping[str, Any],
    *,
    job: int | None = None,
    overrides: Sequence[str] = (),
    objects: RunObjects | None = None,
    hidden_options: Sequence[str] = (),
) -> Run:
    """Train the model of a composed config, test it and save it.

    A resumed run continues at its newest checkpoint. If its training is complete but its model is not saved, it is
    tested and saved only. If `aeframe.experiment.start` finds the run complete, its result is read and returned.

    Args:
        config: As `aeframe.experiment.compose.compose` returns it.
        job: The number of this run in a sweep.
        overrides: The overrides that the config was composed from; they are stored in the run folder.
        objects: What `aeframe.fit` received besides the config.
        hidden_options: Files of the user that hide packaged options, for the banner and the card; a resumed run has
            those that it began with.

    Raises:
        AeframeError: An error that the user can correct, raised before anything is written; a loss that is not finite;
            a disk that is full or read-only.
        Interrupted: A signal ended the run, after its checkpoint was written.
    """
    if config["dry_run"]:
        raise AeframeError(
            "dry_run=true is for the command aeframe-train, which then trains nothing; leave it out, or run the command"
        )
    # Raises an error if the launcher has started another number of processes, before a folder is made.
    with_devices(config["trainer"])
    objects = objects or RunObjects()
    with measured(), SignalGuard() as signals, started(config, job, objects) as start:
        if start.is_complete:
            run, sentence = finished_run(start.folder, objects)
            if is_first_process():
                print_note(console_of(config), sentence)
            return run
        if not is_spawned(config["trainer"]):
            return _execute(start, start.config(config), overrides, objects, hidden_options, signals, finish_only=False)
    # The processes of the run lock its folder themselves.
    return train_spawned(start.folder, start.config(config), overrides, objects, hidden_options)


def finish(folder: Path) -> Run:
    """Test and save the model of a run's best checkpoint, without further training.

    Raises:
        AeframeError: The folder has no run, the run has no checkpoint, or its data cannot be read.
    """
    run = RunFolder.open(folder)
    config = run.read_config()
    single_device = {**config["trainer"], "devices": 1, "num_nodes": 1, "strategy": "auto"}
    resumed = {**config, "trainer": single_device, "resume": str(run.path)}
    with SignalGuard() as signals:
        start = Start(str(run.path), continues=True)
        return _execute(start, resumed, (), RunObjects(), (), signals, finish_only=True)


def _execute(
    start: Start,
    config: Mapping[str, Any],
    overrides: Sequence[str],
    objects: RunObjects,
    hidden_options: Sequence[str],
    signals: SignalGuard,
    *,
    finish_only: bool,
) -> Run:
    """Execute a run, report signals and system errors in one sentence, and restore the state of the process."""
    folder = start.folder
    with run_process(config["trainer"]):
        run = _RunInProgress(start, config, overrides, objects, hidden_options, signals, finish_only)
        try:
            return run.execute()
        except Interrupted as interruption:
            batch = run.checkpoints.written_batch if run.checkpoints is not None else None
            raise ended(interruption, folder, batch, is_first=is_first_process()) from None
        except OSError as error:
            file = f" ('{error.filename}')" if error.filename else ""
            raise AeframeError(
                f"run '{folder.path}' stopped: {error.strerror or error}{file}; correct that, then "
                f"{'resume=' + str(folder.path) if folder.has_checkpoint() else 'run the command again'}"
            ) from error
        except MisconfigurationException as error:
            raise AeframeError(
                f"Lightning refuses this run: {first_sentence(error)}; change trainer.* or callbacks.*"
            ) from error


class _RunInProgress:
    """The steps of `train` and of `finish`."""

    def __init__(
        self,
        start: Start,
        config: Mapping[str, Any],
        overrides: Sequence[str],
        objects: RunObjects,
        hidden_options: Sequence[str],
        signals: SignalGuard,
        finish_only: bool,
    ) -> None:
        self.start, self.folder, self.overrides = start, start.folder, overrides
        self.signals, self.finish_only = signals, finish_only
        self.config, self.objects = config, objects
        self.resumes = start.continues
        self.hidden_options = self.folder.read_hidden_options() if self.resumes else list(hidden_options)
        self.console = console_of(config)
        self.checkpoints: RunCheckpoints | None = None
        self.loggers: list[Logger] = []

    def execute(self) -> Run:
        """Check the run, train its model, test it and save it."""
        start = time.monotonic()
        newest = newest_checkpoint(self.folder) if self.resumes else None
        if self.finish_only and newest is None:
            raise AeframeError(
                f"run '{self.folder.path}' has no checkpoint to make a model of; "
                f"train it with resume={self.folder.path}"
            )
        record = read_data_record(self.folder.path) if self.resumes else None
        modality_state = read_modality_state(self.folder.path) if self.resumes else None
        setup = build_run(
            self.config,
            objects=self.objects,
            record=record if modality_state is not None else None,
            modality_state=modality_state,
            init=newest is None,
        )
        # The paths of this config are absolute. The errors above name paths as the user wrote them.
        self.config = setup.config
        trained = newest is not None and self._check_resume(newest, setup)
        trainer = self._make_trainer(setup)
        # Raises an error for a batch size that does not fit the data or the devices.
        setup.data.batches_per_epoch(trainer.world_size)
        self._check_monitor(setup)
        # All checks are done; files are written from here on.
        fingerprint = {} if record is None else record.fingerprint
        with joined_processes(trainer, setup.module, self.config["trainer"]), self._locked_folder(setup, fingerprint):
            if newest is not None:
                self._restore(newest, setup, trained=trained)
            elif self.resumes and is_first_process():
                # The run ended before its first checkpoint, so all measurements will be repeated.
                self._run_logger.cut_back({}, batch=0, between_epochs=False, drop_tests=True)
            if self.config["trainer"]["compile"]:
                compile_in_place(setup.model)
            trainer.loggers = self._open_loggers()
            status = "failed"
            try:
                if is_first_process():
                    device = str(trainer.strategy.root_device)
                    banner(
                        self.console,
                        self.config,
                        setup.model,
                        setup.splits,
                        device,
                        self.folder.path,
                        self.hidden_options,
                        start_message(newest, trained=trained),
                    )
                if setup.init is not None:
                    self._print_note(setup.init.summary())
                if not trained:
                    self._fit(trainer, setup, newest)
                run = self._test_and_save(trainer, setup, start)
                status = "success"
            finally:
                close_loggers(self.loggers, status=status)
            if self.config["profile"] and is_first_process():
                report_phases(self.console, self.folder)
        return run

    # -- before training -----------------------------------------------------------------------------------------

    def _check_resume(self, newest: NewestCheckpoint, setup: RunSetup) -> bool:
        """Return whether training is complete; raise an error for a checkpoint of another model, or a finished run."""
        for note in newest.notes:
            self._print_note(note)
        model_state = {f"model.{name}": value for name, value in setup.model.state_dict().items()}
        check_fits(model_state, newest.checkpoint["state_dict"])
        if self.finish_only:
            return True
        progress, config, trained = newest.progress, self.config, is_trained(newest, self.config)
        if trained and self.folder.read_state().get("status") == "finished":
            if is_first_process():
                # Removes the lock file of a process that was killed after it had finished the run.
                with run_lock(self.folder.path):
                    pass
            stopped = (
                " and was stopped early"
                if newest.stopped and not reached_limit(newest, config)
                else ", all that are planned"
            )
            raise AeframeError(
                f"run '{self.folder.path}' is finished: it has done {progress['batch']} batches{stopped}; "
                "to train on, set max_epochs, max_batches or patience higher"
            )
        if (
            not trained
            and progress["planned"]
            and progress["batch"] >= progress["planned"]
            and not config["stretch_schedules"]
        ):
            names = sorted(schedule_names(config))
            if names:
                self._print_note(
                    f"schedules ({', '.join(names)}) stay at their end, since they were planned for "
                    f"{progress['planned']} batches; stretch_schedules=true spreads them over the new length"
                )
        return trained

    def _check_monitor(self, setup: RunSetup) -> None:
        """Raise an error for a monitored metric that validation does not compute."""
        name = self.config["monitor"]
        if name in ("bound", "loss", "reconstruction"):
            return
        validation, config = setup.splits.validation, self.config
        batch = validation.batch(torch.arange(min(config["batch_size"], len(validation))))
        metrics = metrics_of(setup.modality.metrics, config["metrics"])
        evaluator = Evaluator(setup.model, metrics, modality=setup.modality, test_only=config["test_only"])
        evaluator.validates = True
        names = measure(evaluator, [batch], TrainingProgress(batch=1, planned=1), torch.device("cpu"))
        if name not in names:
            raise AeframeError(
                f"monitor '{name}' is not measured on the validation split{did_you_mean(name, names)}; "
                f"choose one of {', '.join(sorted(names))}"
            )

    def _make_trainer(self, setup: RunSetup) -> L.Trainer:
        """Return the Trainer with the callbacks of the run; checkpoints and metrics go to the run folder."""
        config, folder = self.config, self.folder
        every, mode = config["checkpoint_every"], monitor_mode(config)
        monitor = f"val/{config['monitor']}"
        callbacks: list[Callback] = [*build_callbacks(config["callbacks"]), *self.objects.callbacks]
        check_callbacks(callbacks)
        if config["profile"]:
            callbacks.append(ValidationTime())
        if ProgressLine.wanted(config["progress"]) and not self.finish_only:
            callbacks.append(ProgressLine())
        if config["ema"] is not None:
            callbacks.append(WeightAverage(config["ema"]))
        if config["max_hours"] is not None:
            callbacks.append(TrainingTimeLimit(config["max_hours"]))
        if config["patience"] is not None:
            callbacks.append(RunEarlyStopping(monitor, patience=config["patience"], mode=mode))
        self._run_logger = RunLogger(folder)
        self.checkpoints = RunCheckpoints(
            folder.checkpoints,
            monitor=monitor,
            mode=mode,
            every_batches=every if isinstance(every, int) else None,
            every_seconds=interval_seconds(every) if isinstance(every, str) else None,
            signals=self.signals,
            written_rows=self._run_logger.written_rows,
        )
        return make_trainer(
            config["trainer"],
            folder=folder.path,
            callbacks=[*callbacks, self.checkpoints],
            model=setup.model,
            max_epochs=config["max_epochs"],
            log_every_n_steps=config["log_every"],
        )

    @contextmanager
    def _locked_folder(self, setup: RunSetup, stored_fingerprint: Mapping[str, Any]) -> Iterator[None]:
        """Create or open the run folder and hold its lock inside; write what is known before training.

        Only the first process writes.
        """
        if not is_first_process():
            yield
            return
        if not self.resumes:
            self.folder.create()
        with nullcontext() if self.start.is_locked else run_lock(self.folder.path):
            for sentence in compare(stored_fingerprint, setup.record.fingerprint):
                self._print_note(sentence)
            if not self.resumes:
                write_data_record(self.folder.path, setup.record)
                write_modality_state(self.folder.path, setup.modality.state())
                self.folder.write_overrides(self.overrides)
                self.folder.write_hidden_options(self.hidden_options)
                self.folder.write_state("training", self.start.command or None)
            if not self.finish_only:
                self.folder.write_config({**self.config, "resume": None})
            if setup.init is not None:
                (self.folder.path / "init.txt").write_text(setup.init.text(), encoding="utf-8")
            if setup.splits.skipped:
                # One line for each, whatever the names of files contain.
                skipped = "".join(printable(sentence).replace("\n", "\\n") + "\n" for sentence in setup.splits.skipped)
                (self.folder.path / "skipped.txt").write_text(skipped, encoding="utf-8")
            yield

    def _restore(self, newest: NewestCheckpoint, setup: RunSetup, *, trained: bool) -> None:
        """Remove the rows of metrics that were written after the checkpoint, and restore the state of the run.

        If training is complete, the Trainer does not load the checkpoint: the progress is then restored here.
        """
        progress = newest.progress
        if trained:
            setup.module.restore_progress(progress)
        assert self.checkpoints is not None
        if newest.run_state:
            self.checkpoints.load_state_dict(newest.run_state)
        if is_first_process():
            newest.promote(self.folder)
            self._run_logger.cut_back(
                newest.run_state.get("rows", {}),
                batch=progress["batch"],
                between_epochs=progress["batch_in_epoch"] == 0,
                drop_tests=trained or self.folder.read_state().get("status") != "finished",
            )
            self.folder.write_state("trained" if trained else "training")

    def _open_loggers(self) -> list[Logger]:
        folder = self.folder.path
        configured = build_loggers(self.config["logger"], folder=folder, run_name=folder.name)
        self.loggers = [self._run_logger, *configured, *self.objects.loggers]
        return self.loggers

    # -- training and after --------------------------------------------------------------------------------------

    def _fit(self, trainer: L.Trainer, setup: RunSetup, newest: NewestCheckpoint | None) -> None:
        path = None if newest is None else self.folder.last
        with self.signals.deferring(), restored_from(path), phase("training"):
            trainer.fit(setup.module, datamodule=setup.data, ckpt_path=path, weights_only=True)
        if is_first_process():
            self.folder.write_state("trained")
        if self.signals.received is not None:
            raise Interrupted(self.signals.received)

    def _test_and_save(self, trainer: L.Trainer, setup: RunSetup, start: float) -> Run:
        """Load the best weights, test them, save the model and draw pictures."""
        assert self.checkpoints is not None
        self._load_best(setup)
        setup.evaluator.training_samples = setup.splits.train
        with phase("test"):
            trainer.test(setup.module, datamodule=setup.data, verbose=False)
        metrics = setup.module.measured["test"]
        trained = self._trained_model(setup)
        with phase("baseline"):
            baseline = pca_error(trained.model, setup.splits.train, setup.splits.test, seed=self.config["seed"])
        of_baseline = baseline_metrics(baseline)
        setup.module.report(of_baseline, "test")
        metrics |= of_baseline
        if is_first_process():
            stored = {**self.config, "hidden_options": self.hidden_options}
            with phase("saving"):
                of_codes = save_run(setup, trained, metrics, stored, self.folder, self.loggers, self._print_note)
            setup.module.report(of_codes, "test")
            metrics |= of_codes
            self.folder.write_state("finished")
            computed = metrics_of(setup.modality.metrics, self.config["metrics"])
            units, better = units_of(setup.model.loss.unit, computed), better_baselines(metrics, computed)
            tables = {name: table.summary for name, table in setup.evaluator.tables().items()}
            seconds, protocols = time.monotonic() - start, {**setup.evaluator.protocols(), **tables}
            closing_table(self.console, metrics, self.folder.path, seconds, baseline, units, protocols, better)
            for finding in advise(read_evidence(self.folder)):
                self.console.print(f"advice: {finding}", soft_wrap=True, highlight=False, markup=False)
        monitored = self.checkpoints.best_value
        return Run(self.folder.path, metrics, float("nan") if monitored is None else monitored, trained)

    def _load_best(self, setup: RunSetup) -> None:
        """Load the weights of ``best.ckpt`` (with ``ema``, their average), or of ``last.ckpt`` if it is missing."""
        path = self.folder.best
        if not path.is_file():
            if not self.folder.last.is_file():
                return
            assert self.checkpoints is not None
            reason = "is missing" if self.checkpoints.best_value is not None else "was never written"
            self._print_note(f"checkpoint '{path}' {reason}, so the model is that of the newest checkpoint")
            path = self.folder.last
        checkpoint = read_checkpoint(path, setup.module.device, entries=("state_dict",))
        setup.module.load_state_dict(checkpoint["state_dict"])

    def _trained_model(self, setup: RunSetup) -> TrainedModel:
        """Return the model with its best weights, in single precision and in evaluation mode."""
        model = setup.model.eval()
        if self.config["trainer"]["precision"] == "64-true":
            # A saved model computes in single precision.
            model.float()
        return TrainedModel(
            model=model,
            modality=setup.modality,
            sampler=setup.sampler,
            config=dict(self.config),
            spec=model.spec,
            progress=setup.module.progress,
            device=next(model.parameters()).device,
            data=setup.record,
        )

    # -- messages ------------------------------------------------------------------------------------------------

    def _print_note(self, sentence: str) -> None:
        if is_first_process():
            print_note(self.console, sentence)
