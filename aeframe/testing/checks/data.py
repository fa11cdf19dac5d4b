"""Checks of modalities and data sets."""

from __future__ import annotations

import torch
from torch import Tensor

from aeframe.batch import Batch, DataSpec
from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.noise import noise_of
from aeframe.testing.check import CheckFailedError, NotApplicableError, check, expect
from aeframe.testing.subject import Subject

_FORMATS = ("samples", "samples.npz", "samples.csv", "samples.txt", "samples.wav", "samples.h5ad", "samples.mp4")
_LARGEST_ERROR = 0.02
"""Of the range of the values: a field's own format may keep 8 bits of them, or cut off what nobody sees or hears."""


@check(
    "describes itself",
    "shapes are checked before data are loaded",
    kinds=["dataset"],
    after=("complete", "plain defaults"),
)
def describes_itself(subject: Subject) -> None:
    dataset = build("dataset", subject.config)
    named = subject.target.modality
    expect(named in subject.known("modality"), f"{subject.id} is of modality '{named}', which is not installed")
    try:
        spec = build("modality", named).spec(dataset)
    except AeframeError as error:
        raise NotApplicableError(f"its data are not here: {error}") from error
    expect(
        isinstance(spec, DataSpec) and all(size > 0 for size in spec.shape),
        f"{subject.id} describes data of shape {spec.shape}",
    )


@check("data in the domain", "losses are chosen by what a modality states", kinds=["modality"], after=("builds",))
def data_in_the_domain(subject: Subject) -> None:
    reference = subject.reference
    batch, spec = reference.rows, reference.spec
    expect(
        tuple(batch.x.shape[1:]) == spec.shape,
        f"{subject.id} states samples of {spec.shape} and gives {tuple(batch.x.shape[1:])}",
    )
    outside = int(spec.domain.violations(batch.x).sum())
    expect(outside == 0, f"{subject.id} states {spec.domain} values, and {outside} of {len(batch)} samples have others")
    expect(
        batch.index is not None and len(batch.index) == len(batch),
        f"{subject.id} gives batches without an index; say which row of the source each sample is",
    )


@check("known defaults", "a modality works with nothing else chosen", kinds=["modality"], after=("imports",))
def known_defaults(subject: Subject) -> None:
    for kind, name in subject.target.defaults.items():
        expect(name in subject.known(kind), f"{subject.id} has the default {kind}={name}, which is not registered")
    for name in subject.target.metrics:
        expect(name in subject.known("metric"), f"{subject.id} has the metric '{name}', which is not registered")


@check("files round trip", "what is written can be read again, in each format", kinds=["modality"], after=("builds",))
def files_round_trip(subject: Subject) -> None:
    modality, x = subject.reference.modality, subject.reference.batch().x
    named = subject.examination.formats.get(subject.entry.name)
    refusals = []
    for name in named or _FORMATS:
        path = subject.folder / name
        try:
            written = modality.write(x, path)
        except AeframeError as error:
            if named is not None:
                raise CheckFailedError(f"{subject.id} does not write '{name}': {error}") from error
            refusals.append(str(error))
            continue
        expect(
            bool(written) and all(each.exists() for each in written),
            f"{subject.id} says it wrote {[str(each) for each in written]} for '{name}', and they are not there",
        )
        # A suffix may have been added.
        _same(subject, name, modality.read(path if path.exists() else written[0]).x, x)
    if len(refusals) == len(_FORMATS):
        raise CheckFailedError(
            f"{subject.id} writes none of {', '.join(_FORMATS)}; give the suite its formats: "
            f"formats = {{{subject.entry.name!r}: ['samples.xyz']}}"
        )


def _same(subject: Subject, name: str, found: Tensor, x: Tensor) -> None:
    expect(
        found.shape == x.shape and found.dtype == x.dtype,
        f"{subject.id} wrote {tuple(x.shape)} of {x.dtype} into '{name}', and reads {tuple(found.shape)} of "
        f"{found.dtype} from it",
    )
    span = float(x.max() - x.min()) or 1.0
    off = float((found - x).abs().float().mean()) / span
    expect(off <= _LARGEST_ERROR, f"{subject.id} reads values from '{name}' that are off by {off:.1%} of their range")


@check("picture", "a person wants to look at samples", kinds=["modality"], after=("builds",))
def picture(subject: Subject) -> None:
    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure

    x = subject.reference.batch().x
    drawn = subject.reference.modality.render({"originals": x, "reconstructions": x})
    expect(isinstance(drawn, Figure), f"{subject.id} renders a {type(drawn).__name__}, expected a matplotlib Figure")
    path = subject.folder / "picture.png"
    drawn.savefig(path)
    plt.close(drawn)
    expect(path.stat().st_size > 0, f"{subject.id} renders a picture of nothing")


@check("state", "a saved model prepares data as in training", kinds=["modality"], after=("builds",))
def state(subject: Subject) -> None:
    import json

    learned = subject.reference.modality.state()
    for name, value in learned.items():
        if isinstance(value, torch.Tensor):
            continue
        try:
            same = json.loads(json.dumps(value)) == value
        except TypeError:
            same = False
        expect(
            same, f"{subject.id} keeps '{name}' as {type(value).__name__}; keep tensors, and plain values JSON can hold"
        )
    again = build("modality", subject.config)
    again.load_state(learned)
    expect(str(again.state()) == str(learned), f"{subject.id} has another state once it was saved and loaded")


@check(
    "prepares by state",
    "a saved model is evaluated on data that are prepared as in training",
    kinds=["modality"],
    after=("state",),
)
def prepares_by_state(subject: Subject) -> None:
    reference = subject.reference
    again = build("modality", subject.config)
    again.load_state(reference.modality.state())
    train = again.prepare(build("dataset", reference.config["data"]), learn=False).train
    expected = reference.rows
    with noise_of(torch.device("cpu"), 2):
        found = train.batch(torch.arange(len(expected)))
    for name, value in _fields(expected).items():
        same = _fields(found).get(name)
        alike = value is same if value is None or same is None else torch.equal(same, value)
        expect(
            alike,
            f"{subject.id} prepares another {name} with ``prepare(dataset, learn=False)`` after `load_state` than with "
            "`learn`; read what was learned from the state alone, in `apply`",
        )


def _fields(batch: Batch) -> dict[str, Tensor | None]:
    return {"x": batch.x, "mask": batch.mask, "condition": batch.condition, **batch.extras}


BEFORE_MODELS = (known_defaults,)
CHECKS = (describes_itself, data_in_the_domain, files_round_trip, picture, state, prepares_by_state)
