"""Checks of modalities and datasets."""

from __future__ import annotations

import json

import torch
from torch import Tensor

from aeframe.data.in_memory import SampleSplits
from aeframe.data.samples import Samples, described
from aeframe.errors import AeframeError
from aeframe.factory import build, signature
from aeframe.noise import noise_of
from aeframe.registry import registry
from aeframe.testing.check import check
from aeframe.testing.expectations import CheckFailedError, NotApplicableError, expect
from aeframe.testing.part_under_test import PartUnderTest
from aeframe.types import Batch, DataSpec

_FORMATS = ("samples", "samples.npz", "samples.csv", "samples.txt", "samples.wav", "samples.h5ad", "samples.mp4")
_LARGEST_ERROR = 0.02
"""The largest mean error of a file round trip, relative to the range of the values: file formats may be lossy."""


@check(
    "dataset description",
    "shapes are checked before the data are loaded",
    kinds=["dataset"],
    depends_on=("complete", "plain defaults"),
)
def dataset_description(part: PartUnderTest) -> None:
    modality = part.target.modality
    expect(modality in registry().names("modality"), f"{part.id} is of modality '{modality}', which is not registered")
    takes_samples = "samples" in signature(part.target).injected
    injected = {"samples": SampleSplits({"train": Samples.of(part.samples)})} if takes_samples else {}
    dataset = build("dataset", part.config, **injected)
    try:
        spec = build("modality", modality).spec(dataset)
    except AeframeError as error:
        raise NotApplicableError(f"its data cannot be read: {error}") from error
    expect(
        isinstance(spec, DataSpec) and all(size > 0 for size in spec.shape),
        f"{part.id} describes data of shape {spec.shape}",
    )


@check(
    "data in the domain",
    "losses are validated by the domain that a modality declares",
    kinds=["modality"],
    depends_on=("builds",),
)
def data_in_the_domain(part: PartUnderTest) -> None:
    batch, spec = part.setup.rows, part.setup.spec
    expect(
        tuple(batch.x.shape[1:]) == spec.shape,
        f"{part.id} declares samples of shape {spec.shape}, but returns shape {tuple(batch.x.shape[1:])}",
    )
    outside = int(spec.domain.violations(batch.x).sum())
    expect(
        outside == 0,
        f"{part.id} declares {spec.domain} values, but {outside} of {len(batch)} samples have values outside",
    )
    expect(
        batch.index is not None and len(batch.index) == len(batch),
        f"{part.id} returns batches without an index; set Batch.index to the row of each sample in the source",
    )


@check(
    "registered defaults", "a modality must work without further choices", kinds=["modality"], depends_on=("imports",)
)
def registered_defaults(part: PartUnderTest) -> None:
    for kind, name in part.target.defaults.items():
        expect(name in registry().names(kind), f"{part.id} has the default {kind}={name}, which is not registered")
    for name in part.target.metrics:
        expect(name in registry().names("metric"), f"{part.id} has the metric '{name}', which is not registered")


@check(
    "files round trip", "written samples can be read again, in each format", kinds=["modality"], depends_on=("builds",)
)
def files_round_trip(part: PartUnderTest) -> None:
    modality, x = part.setup.modality, part.setup.batch().x
    formats = part.options.formats.get(part.entry.name)
    num_rejected = 0
    for name in formats or _FORMATS:
        path = part.folder / name
        try:
            written = modality.write(x, path)
        except AeframeError as error:
            if formats is not None:
                raise CheckFailedError(f"{part.id} does not write '{name}': {error}") from error
            num_rejected += 1
            continue
        expect(
            bool(written) and all(file.exists() for file in written),
            f"{part.id} returns the paths {[str(file) for file in written]} for '{name}', which do not exist",
        )
        # `write` may append a suffix to the path.
        _expect_near(part, name, modality.read(path if path.exists() else written[0]).x, x)
    if num_rejected == len(_FORMATS):
        raise CheckFailedError(
            f"{part.id} writes none of {', '.join(_FORMATS)}; name its formats in the suite: "
            f"formats = {{{part.entry.name!r}: ['samples.xyz']}}"
        )


def _expect_near(part: PartUnderTest, name: str, actual: Tensor, x: Tensor) -> None:
    expect(
        actual.shape == x.shape and actual.dtype == x.dtype,
        f"{part.id} writes {x.dtype} {tuple(x.shape)} to '{name}', but reads {actual.dtype} {tuple(actual.shape)}",
    )
    error = _relative_error(actual, x)
    expect(
        error <= _LARGEST_ERROR,
        f"{part.id} reads values from '{name}' that differ from those written by {error:.1%} of their range",
    )


def _relative_error(actual: Tensor, x: Tensor) -> float:
    """Return the mean absolute error of values, relative to the range of `x`."""
    span = float(x.max() - x.min()) or 1.0
    return float((actual - x).abs().float().mean()) / span


@check(
    "samples in memory",
    "`aeframe.fit` takes samples without a file, and a model prepares and restores them",
    kinds=["modality"],
    depends_on=("builds",),
)
def samples_in_memory(part: PartUnderTest) -> None:
    name = part.target.in_memory
    if name is None:
        raise NotApplicableError(f"{part.id} takes no samples in memory")
    samples = part.samples
    expect(
        registry().load("dataset", name).accepts(samples),
        f"{part.id} has samples such as {described(samples)}, which its dataset '{name}' does not accept",
    )
    modality, dataset = (
        build("modality", part.config),
        build("dataset", name, samples=SampleSplits({"train": Samples.of(samples)})),
    )
    spec = modality.spec(dataset)
    trained = modality.prepare(dataset).train.batch(torch.arange(1)).x
    x = modality.prepare_samples(samples).x
    for does, shape in (("trains on", tuple(trained.shape[1:])), ("prepares", tuple(x.shape[1:]))):
        expect(
            shape == spec.shape,
            f"{part.id} declares shape {spec.shape} for samples in memory, but {does} samples of shape {shape}",
        )
    restored = modality.prepare_samples(modality.restore_samples(x)).x
    expect(
        restored.shape == x.shape and restored.dtype == x.dtype,
        f"{part.id} prepares {x.dtype} {tuple(x.shape)}, and after `restore_samples` {restored.dtype} "
        f"{tuple(restored.shape)}",
    )
    error = _relative_error(restored, x)
    expect(
        error <= _LARGEST_ERROR,
        f"{part.id} prepares what `restore_samples` returned to values that differ by {error:.1%} of their range",
    )


@check("rendering", "runs save pictures of samples", kinds=["modality"], depends_on=("builds",))
def rendering(part: PartUnderTest) -> None:
    # matplotlib takes long to import, and no other check uses it.
    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure

    x = part.setup.batch().x
    figure = part.setup.modality.render({"originals": x, "reconstructions": x})
    expect(isinstance(figure, Figure), f"{part.id} renders a {type(figure).__name__}, expected a matplotlib Figure")
    path = part.folder / "picture.png"
    figure.savefig(path)
    plt.close(figure)
    expect(path.stat().st_size > 0, f"{part.id} renders an empty file")


@check(
    "modality state",
    "a saved model prepares data as in training",
    kinds=["modality"],
    depends_on=("builds",),
)
def modality_state(part: PartUnderTest) -> None:
    state = part.setup.modality.state()
    for name, value in state.items():
        if isinstance(value, Tensor):
            continue
        try:
            is_plain = json.loads(json.dumps(value)) == value
        except TypeError:
            is_plain = False
        expect(
            is_plain,
            f"{part.id} has '{name}' in its state, a {type(value).__name__}; use tensors and JSON values",
        )
    restored = build("modality", part.config)
    restored.load_state(state)
    expect(str(restored.state()) == str(state), f"{part.id} has another state after `load_state(state())`")


@check(
    "data from saved state",
    "a saved model is evaluated on data that are prepared as in training",
    kinds=["modality"],
    depends_on=("modality state",),
)
def data_from_saved_state(part: PartUnderTest) -> None:
    restored = build("modality", part.config)
    restored.load_state(part.setup.modality.state())
    train = restored.prepare(build("dataset", part.setup.config["data"]), learn=False).train
    expected = part.setup.rows
    # The seed with which `aeframe.testing.reference.modality_setup` read the rows.
    with noise_of(torch.device("cpu"), 2):
        actual = _fields(train.batch(torch.arange(len(expected))))
    for name, value in _fields(expected).items():
        restored_value = actual.get(name)
        if value is None or restored_value is None:
            equal = value is restored_value
        else:
            equal = torch.equal(restored_value, value)
        expect(
            equal,
            f"{part.id} prepares another {name} from its saved state than in training; in `apply`, use only what "
            "`state` returns",
        )


def _fields(batch: Batch) -> dict[str, Tensor | None]:
    return {"x": batch.x, "mask": batch.mask, "condition": batch.condition, **batch.extras}


CHECKS_BEFORE_MODELS = (registered_defaults,)
CHECKS = (
    dataset_description,
    data_in_the_domain,
    files_round_trip,
    samples_in_memory,
    rendering,
    modality_state,
    data_from_saved_state,
)
