"""Checks of a part in a run: checkpoints, resume, the saved model, several processes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.model_store.writer import save_model
from aeframe.testing import reload, subprocess_io, two_processes
from aeframe.testing.check import MODEL_KINDS, Check, CheckFailedError, check, expect
from aeframe.testing.part_under_test import PartUnderTest
from aeframe.testing.reference import SAMPLES
from aeframe.testing.short_run import train_shortly
from aeframe.training.checkpoint import read_checkpoint


@check("trains", "four tiny epochs by the house's own trainer", kinds=MODEL_KINDS, after=("gradients",))
def trains(tested: PartUnderTest) -> None:
    for name, value in tested.short_run.state.items():
        expect(bool(value.isfinite().all()), f"{tested.id}: after four tiny epochs '{name}' is not finite")


@check(
    "safe checkpoint",
    "opening somebody's checkpoint must not run their code",
    kinds=MODEL_KINDS,
    after=("trains",),
)
def safe_checkpoint(tested: PartUnderTest) -> None:
    try:
        read_checkpoint(tested.short_run.checkpoint)
    except AeframeError as error:
        raise CheckFailedError(
            f"{tested.id}: a checkpoint with it does not load with weights_only=True; keep tensors and plain values "
            "in its state"
        ) from error
    for name, value in tested.short_run.model.state_dict().items():
        expect(
            isinstance(value, torch.Tensor),
            f"{tested.id}: '{name}' in its state is {type(value).__name__}; keep tensors only, in buffers",
        )


@check(
    "exact resume",
    "two epochs and two more are the four of a run that was not interrupted, bit for bit",
    kinds=MODEL_KINDS,
    after=("safe checkpoint",),
)
def exact_resume(tested: PartUnderTest) -> None:
    folder = tested.folder / "parts"
    train_shortly(tested.reference, folder, epochs=2)
    parts = train_shortly(tested.reference, folder, epochs=4, resume=True)
    different = [name for name, value in tested.short_run.state.items() if not _same(parts.state.get(name), value)]
    expect(
        not different,
        f"{tested.id}: a resumed run differs in {len(different)} tensors, first in '{(different or [''])[0]}'; keep "
        "what changes in training in buffers, and draw from torch's default generator",
    )


@check(
    "saved model",
    "opened in a new process it gives the same numbers",
    kinds=MODEL_KINDS,
    after=("safe checkpoint", "repeatable evaluation", "state"),
)
def saved_model(tested: PartUnderTest) -> None:
    _ask_for_all(tested, saved_model, _save, _reopen)
    found = subprocess_io.answered(tested.folder / "answer.pt")
    expected = reload.numbers(tested.short_run.model, tested.reference.batch(SAMPLES))
    _compare(tested, found, expected, "once it is saved and opened in a new process", exact=True)


@check(
    "two processes",
    "a batch shared by two processes makes the step that one would make",
    kinds=MODEL_KINDS - {"modality"},
    after=("batch invariance", "gradients"),
)
def two_processes_equal_one(tested: PartUnderTest) -> None:
    _ask_for_all(tested, two_processes_equal_one, _pack, _share)
    found = subprocess_io.answered(tested.folder / "shared.pt")
    expected = two_processes.step(tested.reference, None)
    _compare(tested, found, expected, "when two processes share the batch", exact=False)


def _ask_for_all(
    tested: PartUnderTest,
    of: Check,
    prepare: Callable[[PartUnderTest], None],
    ask: Callable[[list[PartUnderTest]], None],
) -> None:
    """Start other processes once, for all the parts: a process of torch takes seconds to begin."""
    runner = tested.runner
    if of.name not in runner.shared:
        errors: dict[str, Exception] = {}
        runner.shared[of.name] = errors
        ready = []
        for each in runner.tested_by(of):
            if runner.ready(of, each) is None:
                try:
                    prepare(each)
                except Exception as error:  # noqa: BLE001 -- the plugin boundary: told when its own turn comes
                    errors[each.id] = error
                else:
                    ready.append(each)
        if ready:
            ask(ready)
    if tested.id in runner.shared[of.name]:
        raise runner.shared[of.name][tested.id]


def _save(tested: PartUnderTest) -> None:
    reference, run = tested.reference, tested.short_run
    sampler = build("sampler", reference.config["sampler"], model=run.model)
    save_model(
        tested.folder / "model",
        run.model,
        reference.modality,
        reference.config,
        sampler,
        metrics={},
        progress=run.progress,
    )
    subprocess_io.pack(reference, tested.folder / "parcel.pt")


def _reopen(subjects: list[PartUnderTest]) -> None:
    subprocess_io.ask("aeframe.testing.reload", [[tested.folder for tested in subjects]])


def _pack(tested: PartUnderTest) -> None:
    subprocess_io.pack(tested.reference, tested.folder / "parcel.pt")


def _share(subjects: list[PartUnderTest]) -> None:
    meeting = subjects[0].runner.folder / "meeting"
    paths = [tested.folder / "parcel.pt" for tested in subjects]
    subprocess_io.ask("aeframe.testing.two_processes", [[rank, meeting, *paths] for rank in range(two_processes.WORLD)])


def _compare(
    tested: PartUnderTest, found: dict[str, Tensor] | str, expected: dict[str, Tensor], when: str, *, exact: bool
) -> None:
    if isinstance(found, str):
        raise CheckFailedError(f"{tested.id} fails {when}: {found}")
    expect(found.keys() == expected.keys(), f"{tested.id} has other tensors {when}: {found.keys() ^ expected.keys()}")
    for name, value in expected.items():
        same = _same(found[name], value) if exact else torch.allclose(found[name], value, rtol=1e-3, atol=1e-5)
        expect(same, f"{tested.id}: the {name} changes {when}")


def _same(one: Tensor | None, other: Tensor) -> bool:
    return one is not None and torch.equal(one, other)


CHECKS = (trains, safe_checkpoint, exact_resume, saved_model, two_processes_equal_one)
