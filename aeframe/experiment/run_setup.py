"""Build the data, the model and the Lightning module of a run from its config; nothing is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import lightning.pytorch as L

from aeframe.data.datamodule import DataModule
from aeframe.data.fingerprint import DataRecord, resolved_paths
from aeframe.data.labels import check_labels, condition_on_labels
from aeframe.data.modality import Modality, Splits
from aeframe.data.pairs import Paired
from aeframe.evaluation.evaluator import Evaluator, metrics_of
from aeframe.experiment.checks import check
from aeframe.experiment.data_sized import AUTO, with_chosen
from aeframe.experiment.fastest_batch import fastest_batch_size
from aeframe.experiment.objects import RunObjects
from aeframe.experiment.warm_start import init_source, with_absolute_init
from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.model.initialisation import Initialisation, initialise
from aeframe.parts.samplers.base import Sampler
from aeframe.phases import phase
from aeframe.registry import registry
from aeframe.training.launchers import num_devices, with_devices
from aeframe.training.module import AutoencoderModule


@dataclass(frozen=True, slots=True)
class RunSetup:
    """The objects of one run."""

    config: dict[str, Any]
    """The config of the run, with absolute paths."""
    modality: Modality
    splits: Splits
    record: DataRecord
    """Fingerprint and split of the data."""
    model: Autoencoder
    sampler: Sampler
    data: DataModule
    module: AutoencoderModule
    evaluator: Evaluator
    """The metrics that `module` computes."""
    init: Initialisation | None = None
    """Which weights the setting ``init`` gave the model; None without it."""


def build_run(
    config: Mapping[str, Any],
    *,
    objects: RunObjects | None = None,
    record: DataRecord | None = None,
    modality_state: Mapping[str, Any] | None = None,
    init: bool = True,
) -> RunSetup:
    """Return the objects of a run; the initial weights are a function of its seed.

    Args:
        config: As `aeframe.experiment.compose.compose` returns it.
        objects: What `aeframe.fit` received besides the config: samples in memory and modules.
        record: For a resumed run, the fingerprint and split of its data; the split is used again.
        modality_state: For a resumed run, the fitted state of its modality; without it, the modality is fitted to
            the data.
        init: Initialise the model with the weights that the config names; False if those of a checkpoint replace them.

    Raises:
        AeframeError: An error in the config or the data that the user can correct.
    """
    objects = RunObjects() if objects is None else objects
    modality, dataset, spec = check(config, record, objects)
    # Opened before the data are loaded, which can take long.
    source = init_source(config, objects) if init else None
    config = resolved_paths(config)
    if modality_state is not None:
        modality.load_state(modality_state)
    with phase("data"):
        splits = modality.prepare(dataset, learn=modality_state is None)
        splits = dataset.attach(splits)
    record = DataRecord.of(config["data"], dataset, splits, spec)
    splits = condition_on_labels(splits, config["label_classes"])
    if config["label_classes"]:
        check_labels(splits)
    if config["pairs"]:
        splits.train = Paired(splits.train)
    trainer = with_devices(config["trainer"])
    world = num_devices(trainer) * trainer["num_nodes"]
    if config["batch_size"] == AUTO:
        size, note = fastest_batch_size(config, spec, splits.train, objects, world)
        config = {**config, "batch_size": size}
        splits.notes.add(note)
    config, notes = with_chosen(config, len(splits.train), world)
    for note in notes:
        splits.notes.add(note)
    # The choices depend on what conditions and pairs have made of the splits.
    record = replace(record, notes=tuple(splits.notes))
    L.seed_everything(config["seed"], verbose=False)
    model = assemble(config, spec, modules=objects.modules)
    report = None
    if source is not None:
        report = initialise(model, source, name=config["init"], parts=config["init_parts"])
    config = with_absolute_init(config)
    data = DataModule(
        splits,
        batch_size=config["batch_size"],
        seed=config["seed"],
        workers=config["workers"],
        steps_per_call=config["steps_per_call"],
    )
    metrics = metrics_of(modality.metrics, config["metrics"])
    evaluator = Evaluator(model, metrics, seed=config["seed"], modality=modality, test_only=config["test_only"])
    module = AutoencoderModule(
        model,
        config["optimizer"],
        optimizers=config["optimizers"],
        clip=config["clip"],
        accumulate=config["accumulate"],
        seed=config["seed"],
        max_batches=config["max_batches"],
        stretch_schedules=config["stretch_schedules"],
        # A compiled graph supports one backward pass only, but each loss term's gradient norm takes a pass of its own.
        gradient_norms=config["gradient_norms"] and not config["trainer"]["compile"],
        freeze=config["freeze"],
        lr_factors=config["lr_factors"],
        callbacks=[evaluator],
        config=config,
    )
    sampler: Sampler = build("sampler", config["sampler"], model=model)
    return RunSetup(dict(config), modality, splits, record, model, sampler, data, module, evaluator, report)


def monitor_mode(config: Mapping[str, Any]) -> str:
    """Return ``monitor_mode`` of the config; if it is null, the direction in which the monitored metric improves."""
    if config["monitor_mode"] is not None:
        return str(config["monitor_mode"])
    name = config["monitor"]
    options = config["metrics"].get(name) or {}
    metric = options.get("name", name)
    if not registry().has("metric", metric):
        return "min"
    return "max" if getattr(registry().load("metric", metric), "higher_is_better", None) else "min"


def schedule_names(config: Any) -> set[str]:
    """Return the names of the schedules in a config, except ``constant``."""
    schedules = set(registry().names("schedule")) - {"constant"}
    if isinstance(config, Mapping):
        names = {config["name"]} if config.get("name") in schedules else set()
        return names.union(*(schedule_names(value) for value in config.values()))
    return set()
