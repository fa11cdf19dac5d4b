"""Checks of modalities and data sets."""

from __future__ import annotations

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.noise import noise_of
from aeframe.testing.check import CheckFailedError, NotApplicableError, check, expect
from aeframe.testing.part_under_test import PartUnderTest
from aeframe.types import Batch, DataSpec

_FORMATS = ("samples", "samples.npz", "samples.csv", "samples.txt", "samples.wav", "samples.h5ad", "samples.mp4")
_LARGEST_ERROR = 0.02
"""Of the range of the values: a field's own format may keep 8 bits of them, or cut off what nobody sees or hears."""


@check(
    "describes itself",
    "shapes are checked before data are loaded",
    kinds=["dataset"],
    after=("complete", "plain defaults"),
)
def describes_itself(tested: PartUnderTest) -> None:
    dataset = build("dataset", tested.config)
    named = tested.target.modality
    expect(named in tested.known("modality"), f"{tested.id} is of modality '{named}', which is not installed")
    try:
        spec = build("modality", named).spec(dataset)
    except AeframeError as error:
        raise NotApplicableError(f"its data are not here: {error}") from error
    expect(
        isinstance(spec, DataSpec) and all(size > 0 for size in spec.shape),
        f"{tested.id} describes data of shape {spec.shape}",
    )


@check("data in the domain", "losses are chosen by what a modality states", kinds=["modality"], after=("builds",))
def data_in_the_domain(tested: PartUnderTest) -> None:
    reference = tested.reference
    batch, spec = reference.rows, reference.spec
    expect(
        tuple(batch.x.shape[1:]) == spec.shape,
        f"{tested.id} states samples of {spec.shape} and gives {tuple(batch.x.shape[1:])}",
    )
    outside = int(spec.domain.violations(batch.x).sum())
    expect(outside == 0, f"{tested.id} states {spec.domain} values, and {outside} of {len(batch)} samples have others")
    expect(
        batch.index is not None and len(batch.index) == len(batch),
        f"{tested.id} gives batches without an index; say which row of the source each sample is",
    )


@check("known defaults", "a modality works with nothing else chosen", kinds=["modality"], after=("imports",))
def known_defaults(tested: PartUnderTest) -> None:
    for kind, name in tested.target.defaults.items():
        expect(name in tested.known(kind), f"{tested.id} has the default {kind}={name}, which is not registered")
    for name in tested.target.metrics:
        expect(name in tested.known("metric"), f"{tested.id} has the metric '{name}', which is not registered")


@check("files round trip", "what is written can be read again, in each format", kinds=["modality"], after=("builds",))
def files_round_trip(tested: PartUnderTest) -> None:
    modality, x = tested.reference.modality, tested.reference.batch().x
    named = tested.runner.formats.get(tested.entry.name)
    refusals = []
    for name in named or _FORMATS:
        path = tested.folder / name
        try:
            written = modality.write(x, path)
        except AeframeError as error:
            if named is not None:
                raise CheckFailedError(f"{tested.id} does not write '{name}': {error}") from error
            refusals.append(str(error))
            continue
        expect(
            bool(written) and all(each.exists() for each in written),
            f"{tested.id} says it wrote {[str(each) for each in written]} for '{name}', and they are not there",
        )
        # A suffix may have been added.
        _same(tested, name, modality.read(path if path.exists() else written[0]).x, x)
    if len(refusals) == len(_FORMATS):
        raise CheckFailedError(
            f"{tested.id} writes none of {', '.join(_FORMATS)}; give the suite its formats: "
            f"formats = {{{tested.entry.name!r}: ['samples.xyz']}}"
        )


def _same(tested: PartUnderTest, name: str, found: Tensor, x: Tensor) -> None:
    expect(
        found.shape == x.shape and found.dtype == x.dtype,
        f"{tested.id} wrote {tuple(x.shape)} of {x.dtype} into '{name}', and reads {tuple(found.shape)} of "
        f"{found.dtype} from it",
    )
    span = float(x.max() - x.min()) or 1.0
    off = float((found - x).abs().float().mean()) / span
    expect(off <= _LARGEST_ERROR, f"{tested.id} reads values from '{name}' that are off by {off:.1%} of their range")


@check("picture", "a person wants to look at samples", kinds=["modality"], after=("builds",))
def picture(tested: PartUnderTest) -> None:
    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure

    x = tested.reference.batch().x
    drawn = tested.reference.modality.render({"originals": x, "reconstructions": x})
    expect(isinstance(drawn, Figure), f"{tested.id} renders a {type(drawn).__name__}, expected a matplotlib Figure")
    path = tested.folder / "picture.png"
    drawn.savefig(path)
    plt.close(drawn)
    expect(path.stat().st_size > 0, f"{tested.id} renders a picture of nothing")


@check("state", "a saved model prepares data as in training", kinds=["modality"], after=("builds",))
def state(tested: PartUnderTest) -> None:
    import json

    learned = tested.reference.modality.state()
    for name, value in learned.items():
        if isinstance(value, torch.Tensor):
            continue
        try:
            same = json.loads(json.dumps(value)) == value
        except TypeError:
            same = False
        expect(
            same, f"{tested.id} keeps '{name}' as {type(value).__name__}; keep tensors, and plain values JSON can hold"
        )
    again = build("modality", tested.config)
    again.load_state(learned)
    expect(str(again.state()) == str(learned), f"{tested.id} has another state once it was saved and loaded")


@check(
    "prepares by state",
    "a saved model is evaluated on data that are prepared as in training",
    kinds=["modality"],
    after=("state",),
)
def prepares_by_state(tested: PartUnderTest) -> None:
    reference = tested.reference
    again = build("modality", tested.config)
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
            f"{tested.id} prepares another {name} with ``prepare(dataset, learn=False)`` after `load_state` than with "
            "`learn`; read what was learned from the state alone, in `apply`",
        )


def _fields(batch: Batch) -> dict[str, Tensor | None]:
    return {"x": batch.x, "mask": batch.mask, "condition": batch.condition, **batch.extras}


BEFORE_MODELS = (known_defaults,)
CHECKS = (describes_itself, data_in_the_domain, files_round_trip, picture, state, prepares_by_state)
