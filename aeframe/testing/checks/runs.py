"""Checks of a part in training: checkpoints, resume, the saved model, and several processes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.model_store.writer import save_model
from aeframe.testing.check import MODEL_KINDS, SharedWork, check
from aeframe.testing.expectations import CheckFailedError, expect
from aeframe.testing.part_under_test import PartUnderTest
from aeframe.testing.reference import BATCH_SIZE
from aeframe.testing.reload import OUTPUTS, SETUP, evaluation_outputs
from aeframe.testing.short_run import train_shortly
from aeframe.testing.subprocess_io import read_result, run_processes, write_setup
from aeframe.testing.two_process_step import GRADIENTS, WORLD_SIZE, gradients_of_step
from aeframe.training.checkpoint import read_checkpoint


@check("trains", "four short epochs with the Trainer of real runs", kinds=MODEL_KINDS, depends_on=("gradients",))
def trains(part: PartUnderTest) -> None:
    """Train four epochs of three batches with the Trainer of real runs, and expect finite weights."""
    for name, value in part.short_run.state.items():
        expect(bool(value.isfinite().all()), f"{part.id}: '{name}' is not finite after four short epochs")


@check(
    "safe checkpoint",
    "loading the checkpoint of someone else must not execute code",
    kinds=MODEL_KINDS,
    depends_on=("trains",),
)
def safe_checkpoint(part: PartUnderTest) -> None:
    """Load the checkpoint with ``weights_only=True``, and expect tensors only in the state of the model."""
    try:
        read_checkpoint(part.short_run.checkpoint)
    except AeframeError as error:
        raise CheckFailedError(
            f"{part.id}: its checkpoint cannot be loaded with weights_only=True; its state may contain only tensors "
            "and plain values"
        ) from error
    for name, value in part.short_run.model.state_dict().items():
        expect(
            isinstance(value, torch.Tensor),
            f"{part.id}: '{name}' in its state is a {type(value).__name__}; use tensors in buffers",
        )


@check(
    "exact resume",
    "a resumed run must be bit-identical to an uninterrupted one",
    kinds=MODEL_KINDS,
    depends_on=("safe checkpoint",),
)
def exact_resume(part: PartUnderTest) -> None:
    """Stop after two of four epochs, resume, and expect exactly the weights of the uninterrupted run.

    Values that change in training belong into buffers, and noise comes from torch's default generator.
    """
    folder = part.folder / "resumed"
    train_shortly(part.setup, folder, epochs=2)
    resumed = train_shortly(part.setup, folder, epochs=4, resume=True).state
    different = [name for name, value in part.short_run.state.items() if not _equal(resumed.get(name), value)]
    expect(
        not different,
        f"{part.id}: a resumed run differs in {len(different)} tensors, first in '{(different or [''])[0]}'; register "
        "values that change in training as buffers, and draw from torch's default generator",
    )


def _save(part: PartUnderTest) -> None:
    setup, run = part.setup, part.short_run
    sampler = build("sampler", setup.config["sampler"], model=run.model)
    save_model(
        part.folder / "model",
        run.model,
        setup.modality,
        setup.config,
        sampler,
        metrics={},
        progress=run.progress,
    )
    write_setup(setup, part.folder / SETUP)


def _reload(parts: Sequence[PartUnderTest]) -> None:
    run_processes("aeframe.testing.reload", [[part.folder for part in parts]])


@check(
    "saved model",
    "a saved model must return the same outputs when a new process loads it",
    kinds=MODEL_KINDS,
    depends_on=("safe checkpoint", "repeatable evaluation", "modality state"),
    shared_work=SharedWork(_save, _reload),
)
def saved_model(part: PartUnderTest) -> None:
    """Save the model, load it in a new process, and expect the same code and reconstruction."""
    actual = read_result(part.folder / OUTPUTS)
    expected = evaluation_outputs(part.short_run.model, part.setup.batch(BATCH_SIZE))
    _compare(part, actual, expected, "when a new process loads the saved model", exact=True)


def _write_setup(part: PartUnderTest) -> None:
    write_setup(part.setup, part.folder / SETUP)


def _compute_gradients(parts: Sequence[PartUnderTest]) -> None:
    rendezvous = parts[0].folder / "rendezvous"
    setups = [part.folder / SETUP for part in parts]
    run_processes("aeframe.testing.two_process_step", [[rank, rendezvous, *setups] for rank in range(WORLD_SIZE)])


@check(
    "two processes",
    "training on several devices must take the same steps as on one",
    kinds=MODEL_KINDS - {"modality"},
    depends_on=("batch invariance", "gradients"),
    shared_work=SharedWork(_write_setup, _compute_gradients),
)
def two_processes(part: PartUnderTest) -> None:
    """Compute the gradients of a step with the batch divided between two processes, and expect those of one process.

    Statistics of a batch are averaged over devices, see `aeframe.devices`.
    """
    actual = read_result(part.folder / GRADIENTS)
    expected = gradients_of_step(part.setup, None)
    _compare(part, actual, expected, "when two processes share the batch", exact=False)


def _compare(
    part: PartUnderTest, actual: dict[str, Tensor] | str, expected: dict[str, Tensor], when: str, *, exact: bool
) -> None:
    if isinstance(actual, str):
        raise CheckFailedError(f"{part.id} fails {when}: {actual}")
    expect(actual.keys() == expected.keys(), f"{part.id} has other tensors {when}: {actual.keys() ^ expected.keys()}")
    for name, value in expected.items():
        same = _equal(actual[name], value) if exact else torch.allclose(actual[name], value, rtol=1e-3, atol=1e-5)
        expect(same, f"{part.id}: the {name} changes {when}")


def _equal(actual: Tensor | None, expected: Tensor) -> bool:
    return actual is not None and torch.equal(actual, expected)


CHECKS = (trains, safe_checkpoint, exact_resume, saved_model, two_processes)
