"""Checks of a part in a run: checkpoints, resume, the saved model, several processes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.runs.saved import save_model
from aeframe.testing import parcels, reopen, two_processes
from aeframe.testing.check import MODEL_KINDS, Check, CheckFailedError, check, expect
from aeframe.testing.reference import SAMPLES
from aeframe.testing.short_run import train_shortly
from aeframe.testing.subject import Subject
from aeframe.training.checkpoint import read_checkpoint


@check("trains", "four tiny epochs by the house's own trainer", kinds=MODEL_KINDS, after=("gradients",))
def trains(subject: Subject) -> None:
    for name, value in subject.short_run.state.items():
        expect(bool(value.isfinite().all()), f"{subject.id}: after four tiny epochs '{name}' is not finite")


@check(
    "safe checkpoint",
    "opening somebody's checkpoint must not run their code",
    kinds=MODEL_KINDS,
    after=("trains",),
)
def safe_checkpoint(subject: Subject) -> None:
    try:
        read_checkpoint(subject.short_run.checkpoint)
    except AeframeError as error:
        raise CheckFailedError(
            f"{subject.id}: a checkpoint with it does not load with weights_only=True; keep tensors and plain values "
            "in its state"
        ) from error
    for name, value in subject.short_run.model.state_dict().items():
        expect(
            isinstance(value, torch.Tensor),
            f"{subject.id}: '{name}' in its state is {type(value).__name__}; keep tensors only, in buffers",
        )


@check(
    "exact resume",
    "two epochs and two more are the four of a run that was not interrupted, bit for bit",
    kinds=MODEL_KINDS,
    after=("safe checkpoint",),
)
def exact_resume(subject: Subject) -> None:
    folder = subject.folder / "parts"
    train_shortly(subject.reference, folder, epochs=2)
    parts = train_shortly(subject.reference, folder, epochs=4, resume=True)
    different = [name for name, value in subject.short_run.state.items() if not _same(parts.state.get(name), value)]
    expect(
        not different,
        f"{subject.id}: a resumed run differs in {len(different)} tensors, first in '{(different or [''])[0]}'; keep "
        "what changes in training in buffers, and draw from torch's default generator",
    )


@check(
    "saved model",
    "opened in a new process it gives the same numbers",
    kinds=MODEL_KINDS,
    after=("safe checkpoint", "repeatable evaluation", "state"),
)
def saved_model(subject: Subject) -> None:
    _ask_for_all(subject, saved_model, _save, _reopen)
    found = parcels.answered(subject.folder / "answer.pt")
    expected = reopen.numbers(subject.short_run.model, subject.reference.batch(SAMPLES))
    _compare(subject, found, expected, "once it is saved and opened in a new process", exact=True)


@check(
    "two processes",
    "a batch shared by two processes makes the step that one would make",
    kinds=MODEL_KINDS - {"modality"},
    after=("batch invariance", "gradients"),
)
def two_processes_equal_one(subject: Subject) -> None:
    _ask_for_all(subject, two_processes_equal_one, _pack, _share)
    found = parcels.answered(subject.folder / "shared.pt")
    expected = two_processes.step(subject.reference, None)
    _compare(subject, found, expected, "when two processes share the batch", exact=False)


def _ask_for_all(
    subject: Subject, of: Check, prepare: Callable[[Subject], None], ask: Callable[[list[Subject]], None]
) -> None:
    """Start other processes once, for all the parts: a process of torch takes seconds to begin."""
    examination = subject.examination
    if of.name not in examination.shared:
        errors: dict[str, Exception] = {}
        examination.shared[of.name] = errors
        ready = []
        for each in examination.subjects_of(of):
            if examination.ready(of, each) is None:
                try:
                    prepare(each)
                except Exception as error:  # noqa: BLE001 -- the plugin boundary: told when its own turn comes
                    errors[each.id] = error
                else:
                    ready.append(each)
        if ready:
            ask(ready)
    if subject.id in examination.shared[of.name]:
        raise examination.shared[of.name][subject.id]


def _save(subject: Subject) -> None:
    reference, run = subject.reference, subject.short_run
    sampler = build("sampler", reference.config["sampler"], model=run.model)
    save_model(
        subject.folder / "model",
        run.model,
        reference.modality,
        reference.config,
        sampler,
        metrics={},
        clock=run.clock,
    )
    parcels.pack(reference, subject.folder / "parcel.pt")


def _reopen(subjects: list[Subject]) -> None:
    parcels.ask("aeframe.testing.reopen", [[subject.folder for subject in subjects]])


def _pack(subject: Subject) -> None:
    parcels.pack(subject.reference, subject.folder / "parcel.pt")


def _share(subjects: list[Subject]) -> None:
    meeting = subjects[0].examination.folder / "meeting"
    paths = [subject.folder / "parcel.pt" for subject in subjects]
    parcels.ask("aeframe.testing.two_processes", [[rank, meeting, *paths] for rank in range(two_processes.WORLD)])


def _compare(
    subject: Subject, found: dict[str, Tensor] | str, expected: dict[str, Tensor], when: str, *, exact: bool
) -> None:
    if isinstance(found, str):
        raise CheckFailedError(f"{subject.id} fails {when}: {found}")
    expect(found.keys() == expected.keys(), f"{subject.id} has other tensors {when}: {found.keys() ^ expected.keys()}")
    for name, value in expected.items():
        same = _same(found[name], value) if exact else torch.allclose(found[name], value, rtol=1e-3, atol=1e-5)
        expect(same, f"{subject.id}: the {name} changes {when}")


def _same(one: Tensor | None, other: Tensor) -> bool:
    return one is not None and torch.equal(one, other)


CHECKS = (trains, safe_checkpoint, exact_resume, saved_model, two_processes_equal_one)
