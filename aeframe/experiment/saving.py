"""Save what a run has trained: metrics, diagnosis, model and pictures, in the run folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lightning.pytorch.loggers import Logger

from aeframe.data.subset import random_batches
from aeframe.evaluation.diagnosis import diagnose
from aeframe.evaluation.report.pictures import draw_pictures
from aeframe.experiment.new_samples import compare_new_samples
from aeframe.experiment.run_setup import RunSetup
from aeframe.model.density import batches_to_fit, code_metrics, fit_sampler
from aeframe.model_store.trained_model import TrainedModel
from aeframe.model_store.writer import save_model
from aeframe.noise import random_rows
from aeframe.phases import phase
from aeframe.runs.folder import RunFolder
from aeframe.runs.records import Records
from aeframe.training.loggers import log_pictures

_NUM_PICTURED = 512
"""Samples of the test split that are used for pictures."""


def save_run(
    setup: RunSetup,
    trained: TrainedModel,
    metrics: Mapping[str, float],
    config: Mapping[str, Any],
    folder: RunFolder,
    loggers: Sequence[Logger],
    note: Callable[[str], None],
) -> dict[str, float]:
    """Fit the ex-post density (the sampler of new codes), calibrate the modality, save the model, draw pictures.

    Return the metrics of the test split that need the fitted density, see `code_metrics`.

    Args:
        setup: The run.
        trained: Its model, with the best weights.
        metrics: Metrics of the test split.
        config: The config that is stored with the model.
        folder: The folder of the run.
        loggers: Loggers that receive the pictures.
        note: Prints a sentence.
    """
    splits, sampler, of_codes = setup.splits, setup.sampler, dict[str, float]()
    model, progress, device = trained.model, trained.progress, trained.device
    size, seed = config["batch_size"], config["seed"]
    if sampler.requires_fit:
        with phase("sampler"):
            fit_sampler(sampler, model, batches_to_fit(splits.train, size, seed), seed)
            reconstruction = metrics.get("reconstruction") if model.loss.unit == "nats" else None
            tested = random_batches(splits.test, len(splits.test), seed, size)
            of_codes = code_metrics(sampler, model, tested, reconstruction)
    metrics = {**metrics, **of_codes}
    folder.write_metrics({"test": dict(metrics)}, setup.evaluator.protocols_by_value())
    folder.write_tables(setup.evaluator.tables())
    with phase("diagnosis"):
        folder.write_diagnosis(diagnose(model, splits.test, batch_size=size, seed=seed))
    with phase("scores"):
        setup.modality.calibrate(trained.reconstruct, splits.validation)
        trained = trained.with_scale("reconstruction", splits.train, splits.validation, required=False)
    comparison = None
    if config["pictures"]:
        with phase("comparison"):
            comparison = compare_new_samples(trained, splits, folder, note)
    save_model(
        folder.model,
        model,
        setup.modality,
        config,
        sampler,
        metrics=metrics,
        progress=progress,
        data=setup.record,
        scales=trained.scales,
        comparison=comparison,
    )
    if config["pictures"]:
        with phase("pictures"):
            pictured = splits.test.batch(random_rows(len(splits.test), _NUM_PICTURED, seed))
            pictures = draw_pictures(
                folder.pictures,
                model,
                setup.modality,
                pictured.to(device),
                sampler,
                seed=seed,
                measurements=Records(folder.metrics).read(),
                comparison=comparison,
            )
            log_pictures(loggers, pictures, progress.batch)
    return of_codes
