"""Train: from a composed config to a run folder with a saved model, numbers and pictures."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.exceptions import SIGTERMException
from rich.console import Console

from aeframe.assembly import assemble
from aeframe.autoencoder import Autoencoder
from aeframe.batch import Clock
from aeframe.build import build
from aeframe.data.datamodule import DataModule
from aeframe.data.labels import labelled
from aeframe.data.modality import Modality, Splits
from aeframe.data.pairs import Paired
from aeframe.errors import AeframeError
from aeframe.evaluation.advice import advice
from aeframe.evaluation.evaluator import Evaluator, metrics_of
from aeframe.evaluation.pictures import draw_pictures
from aeframe.experiment.checks import check
from aeframe.experiment.faces import banner, closing_table
from aeframe.experiment.identity import run_id
from aeframe.parts.samplers.base import Sampler
from aeframe.runs.fitting import first_batches, fit_sampler
from aeframe.runs.folder import RunFolder
from aeframe.runs.records import Records
from aeframe.runs.saved import SavedModel, save_model
from aeframe.training.checkpoint import check_fits, read_checkpoint
from aeframe.training.gate import Sink
from aeframe.training.module import AutoencoderModule
from aeframe.training.progress import ProgressLine
from aeframe.training.quiet import ignore_advice
from aeframe.training.trainer import compile_in_place, make_trainer

# How many samples are enough for a picture.
_PICTURED = 512


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run."""

    folder: Path
    metrics: dict[str, float]
    """On the test split, by name."""


def train(config: Mapping[str, Any], *, job: int | None = None, asked: Sequence[str] = ()) -> Run:
    """Train the model of a composed config of plain values, and return where it lies.

    Args:
        config: As `aeframe.experiment.compose.compose` returns it.
        job: The number of this run in a sweep.
        asked: The words the config was composed from, to be kept beside it.

    Raises:
        AeframeError: Anything a user can mend, before anything is written; or a loss that is not finite.
    """
    began = time.monotonic()
    _quiet()
    modality, dataset, spec = check(config)
    folder = _folder(config, job)
    splits = labelled(modality.prepare(dataset), config["label_classes"])
    if config["pairs"]:
        splits.train = Paired(splits.train)
    L.seed_everything(config["seed"], verbose=False)
    model = assemble(config, spec)
    clock = Clock()
    data = DataModule(
        splits,
        batch_size=config["batch_size"],
        seed=config["seed"],
        clock=clock,
        workers=config["workers"],
        steps_per_call=config["steps_per_call"],
    )
    per_epoch = data.batches_per_epoch(_world(config))
    clock.planned, clock.rows = config["max_epochs"] * per_epoch, len(splits.train)
    if config["max_batches"] is not None:
        clock.planned = min(clock.planned, config["max_batches"])
    resume = None if config["resume"] is None else folder.last
    if resume is not None:
        _check_resume(resume, model, clock.planned)
    sampler: Sampler = build("sampler", config["sampler"], model=model)
    evaluator = Evaluator(model, metrics_of(modality.metrics, config["metrics"]), seed=config["seed"])
    trainer = make_trainer(
        config["trainer"],
        checkpoints=folder.checkpoints,
        callbacks=_callbacks(config),
        monitor=config["monitor"],
        patience=config["patience"],
        several_players=bool(model.opponents()),
    )
    # Nothing was written until here, where all that can be refused has been.
    sinks: list[Sink] = []
    if _is_first():
        _open(folder, config, splits, asked)
        trainer.loggers = _loggers(config, folder)
        sinks = [_to_records(Records(folder.metrics)), _to_log(folder), *map(_to_logger, trainer.loggers)]
    module = AutoencoderModule(
        model,
        clock=clock,
        batches_per_epoch=per_epoch,
        evaluator=evaluator,
        optimizer=config["optimizer"],
        players=config["players"],
        seed=config["seed"],
        clip=config["clip"],
        accumulate=config["accumulate"],
        ema=config["ema"],
        log_every=config["log_every"],
        # A compiled graph is walked once.
        gradient_norms=config["gradient_norms"] and not config["trainer"]["compile"],
        sinks=sinks,
        config=config,
    )
    if config["trainer"]["compile"]:
        compile_in_place(model)
    console = Console(stderr=True)
    if _is_first():
        banner(console, config, model, splits, str(trainer.strategy.root_device), folder.path)
    try:
        trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=True)
    except SIGTERMException as ended:
        # It would end the process with 0, which a queue takes for success.
        raise SystemExit(143) from ended
    _take_best(module, folder)
    trainer.test(module, datamodule=data, verbose=False)
    metrics = module.measured["test"]
    if _is_first():
        _finish(folder, module, modality, splits, sampler, config, metrics)
        closing_table(console, metrics, folder.path, time.monotonic() - began)
        for sentence in advice(metrics):
            console.print(f"advice: {sentence}", soft_wrap=True, highlight=False)
    return Run(folder.path, metrics)


def _quiet() -> None:
    """Silence what Lightning says about itself; what it warns of stays."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    ignore_advice()


def _is_first() -> bool:
    return int(getattr(rank_zero_only, "rank", 0)) == 0


def _world(config: Mapping[str, Any]) -> int:
    return int(config["trainer"]["devices"]) * int(config["trainer"]["num_nodes"])


def _folder(config: Mapping[str, Any], job: int | None) -> RunFolder:
    if config["resume"] is not None:
        return RunFolder(Path(config["resume"]))
    if config["folder"] is not None:
        return RunFolder(Path(config["folder"]))
    name = f"{run_id(job)}-{config['model']['name']}-{config['data']['name']}"
    return RunFolder(Path(config["root"]) / name)


def _check_resume(path: Path, model: Autoencoder, planned: int) -> None:
    """Refuse a checkpoint that cannot be gone on from, or that has nothing left to do."""
    checkpoint = read_checkpoint(path)
    check_fits({f"model.{name}": value for name, value in model.state_dict().items()}, checkpoint["state_dict"])
    done = checkpoint["aeframe"]["clock"]["batch"]
    if done >= planned:
        raise AeframeError(
            f"run '{path.parents[1]}' has done {done} batches, all of the {planned} that are planned; "
            "to go on set max_epochs or max_batches higher"
        )


def _loggers(config: Mapping[str, Any], folder: RunFolder) -> list[Logger]:
    chosen = config["logger"]
    return [build("logger", chosen, folder=folder.path, run_name=folder.path.name)] if chosen else []


def _open(folder: RunFolder, config: Mapping[str, Any], splits: Splits, asked: Sequence[str]) -> None:
    """Make the folder, or go on in the one of a resumed run."""
    if config["resume"] is None:
        folder.create()
        folder.write_overrides(asked)
    folder.write_config(config)
    if splits.skipped:
        (folder.path / "skipped.txt").write_text("\n".join(splits.skipped) + "\n", encoding="utf-8")


def _callbacks(config: Mapping[str, Any]) -> list[Callback]:
    made = [build("callback", {"name": name, **options}) for name, options in config["callbacks"].items()]
    return [*made, ProgressLine()] if ProgressLine.wanted(config["progress"]) else made


def _to_records(records: Records) -> Sink:
    def sink(numbers: dict[str, float], clock: Clock, split: str) -> None:
        records.append(numbers, step=clock.batch, epoch=clock.epoch, split=split)

    return sink


def _to_log(folder: RunFolder) -> Sink:
    def sink(numbers: dict[str, float], clock: Clock, split: str) -> None:
        if split == "train":
            return
        line = "  ".join(f"{name} {value:.6g}" for name, value in numbers.items())
        with folder.log.open("a", encoding="utf-8") as file:
            file.write(f"epoch {clock.epoch} batch {clock.batch} {split}: {line}\n")

    return sink


def _to_logger(logger: Logger) -> Sink:
    def sink(numbers: dict[str, float], clock: Clock, split: str) -> None:
        named = {f"{split}/{name}": value for name, value in numbers.items()}
        logger.log_metrics({**named, "epoch": clock.epoch}, step=clock.batch)

    return sink


def _take_best(module: AutoencoderModule, folder: RunFolder) -> None:
    """Put the best weights, by `monitor`, into the model, averaged where the run averages."""
    if not folder.best.is_file():
        return
    checkpoint = read_checkpoint(folder.best, module.device)
    module.load_state_dict(checkpoint["state_dict"])
    average = checkpoint["aeframe"]["average"]
    if average is not None:
        with torch.no_grad():
            for name, parameter in module.model.named_parameters():
                if name in average:
                    parameter.copy_(average[name])
        # The model holds the average now, so evaluation must not swap it away.
        module.average = None


def _finish(
    folder: RunFolder,
    module: AutoencoderModule,
    modality: Modality,
    splits: Splits,
    sampler: Sampler,
    config: Mapping[str, Any],
    metrics: dict[str, float],
) -> None:
    """Fit the ex-post density, calibrate the modality, save the model, and draw."""
    model = module.model.eval()
    if sampler.fitted:
        fit_sampler(sampler, model, first_batches(splits.train, config["batch_size"]), config["seed"])
    folder.write_metrics({"test": metrics})
    device = next(model.parameters()).device
    trained = SavedModel(model, modality, sampler, dict(config), model.spec, module.clock, device)
    modality.calibrate(trained.reconstruct, splits.validation)
    save_model(folder.model, model, modality, config, sampler, metrics=metrics, clock=module.clock)
    if config["pictures"]:
        pictured = splits.test.batch(torch.arange(min(_PICTURED, len(splits.test))))
        draw_pictures(
            folder.pictures,
            model,
            modality,
            pictured.to(device),
            sampler,
            seed=config["seed"],
            records=Records(folder.metrics).read(),
        )
