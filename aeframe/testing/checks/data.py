"""Checks of modalities and datasets."""

from __future__ import annotations

import json

import torch
from torch import Tensor

from aeframe.data.in_memory import SampleSplits
from aeframe.data.samples import Samples, described
from aeframe.errors import AeframeError
from aeframe.factory import build, signature
from aeframe.model.autoencoder import Autoencoder
from aeframe.noise import noise_of
from aeframe.registry import registry
from aeframe.tensors import broadcast_mask
from aeframe.testing.check import SharedWork, check
from aeframe.testing.checks.models import same_values
from aeframe.testing.checks.writing import FORMATS
from aeframe.testing.expectations import CheckFailedError, NotApplicableError, expect
from aeframe.testing.model_outputs import all_terms, deterministic_forward_pass
from aeframe.testing.part_under_test import PartUnderTest
from aeframe.testing.prepared_data import (
    DATA,
    prepare_in_new_process,
    prepared_samples,
    read_data_config,
    write_data_config,
)
from aeframe.testing.reference import PROGRESS
from aeframe.testing.subprocess_io import read_result
from aeframe.types import Batch, DataSpec

_LARGEST_ERROR = 0.02
"""The largest mean error of a file round trip, relative to the range of the values: file formats may be lossy."""


@check(
    "dataset description",
    "shapes are checked before the data are loaded",
    kinds=["dataset"],
    depends_on=("complete", "plain defaults"),
)
def dataset_description(part: PartUnderTest) -> None:
    """Build the spec of the data from `describe`, without `load`, and expect the shape of a sample."""
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
    """Expect samples of the shape and the domain of `Modality.spec`, where they are not masked, and `Batch.index`.

    A mask has the shape of `Modality.mask_shape`.
    """
    batch, spec = part.setup.rows, part.setup.spec
    expect(
        tuple(batch.x.shape[1:]) == spec.shape,
        f"{part.id} declares samples of shape {spec.shape}, but returns shape {tuple(batch.x.shape[1:])}",
    )
    outside = int(spec.domain.violations(batch.masked_x()).sum())
    expect(
        outside == 0,
        f"{part.id} declares {spec.domain} values, but {outside} of {len(batch)} samples have values outside",
    )
    declared, mask = part.setup.modality.mask_shape(spec), batch.mask
    expect(
        mask is None or tuple(mask.shape[1:]) == declared,
        f"{part.id} declares masks of shape {declared}, but returns shape "
        f"{None if mask is None else tuple(mask.shape[1:])}; override Modality.mask_shape",
    )
    expect(
        batch.index is not None and len(batch.index) == len(batch),
        f"{part.id} returns batches without an index; set Batch.index to the row of each sample in the source",
    )


@check(
    "registered defaults", "a modality must work without further choices", kinds=["modality"], depends_on=("imports",)
)
def registered_defaults(part: PartUnderTest) -> None:
    """Look up each name in `Modality.defaults`, `Modality.metrics` and `Modality.feature_spaces`."""
    for kind, name in part.target.defaults.items():
        expect(name in registry().names(kind), f"{part.id} has the default {kind}={name}, which is not registered")
    for name in part.target.metrics:
        expect(name in registry().names("metric"), f"{part.id} has the metric '{name}', which is not registered")
    for name in part.target.feature_spaces:
        registered = name in registry().names("feature_space")
        expect(registered, f"{part.id} has the feature space '{name}', which is not registered")


@check(
    "files round trip", "written samples can be read again, in each format", kinds=["modality"], depends_on=("builds",)
)
def files_round_trip(part: PartUnderTest) -> None:
    """Write samples in each format, read them, and expect values within 2 % of their range.

    Masked values are NaN in what is written. Where they are read, they are masked or left out.
    """
    modality, batch = part.setup.modality, part.setup.batch()
    x = batch.nan_masked_x()
    formats = part.options.formats.get(part.entry.name)
    num_rejected = 0
    for name in formats or FORMATS:
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
        _expect_near(part, name, modality.read(path if path.exists() else written[0]).nan_masked_x(), x)
    if num_rejected == len(FORMATS):
        raise CheckFailedError(
            f"{part.id} writes none of {', '.join(FORMATS)}; name its formats in the suite: "
            f"formats = {{{part.entry.name!r}: ['samples.xyz']}}"
        )


def _expect_near(part: PartUnderTest, name: str, actual: Tensor, x: Tensor) -> None:
    expect(
        actual.shape == x.shape and actual.dtype == x.dtype,
        f"{part.id} writes {x.dtype} {tuple(x.shape)} to '{name}', but reads {actual.dtype} {tuple(actual.shape)}",
    )
    expect(
        same_values(actual.isnan(), x.isnan()),
        f"{part.id} reads from '{name}' a mask that differs from that of the samples written",
    )
    error = _relative_error(actual, x)
    expect(
        error <= _LARGEST_ERROR,
        f"{part.id} reads values from '{name}' that differ from those written by {error:.1%} of their range",
    )


def _relative_error(actual: Tensor, x: Tensor) -> float:
    """Return the mean absolute error of values, relative to the range of `x`; NaN, as under a mask, is left out."""
    known = ~x.isnan()
    if not bool(known.any()):
        return 0.0
    span = float(x[known].max() - x[known].min()) or 1.0
    return float((actual - x)[known].abs().float().mean()) / span


@check(
    "samples in memory",
    "`aeframe.fit` takes samples without a file, and a model prepares and restores them",
    kinds=["modality"],
    depends_on=("builds",),
)
def samples_in_memory(part: PartUnderTest) -> None:
    """Prepare samples in memory, restore them, prepare them again, and expect the same shape and values."""
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
    x = modality.prepare_samples(samples).nan_masked_x()
    for does, shape in (("trains on", tuple(trained.shape[1:])), ("prepares", tuple(x.shape[1:]))):
        expect(
            shape == spec.shape,
            f"{part.id} declares shape {spec.shape} for samples in memory, but {does} samples of shape {shape}",
        )
    restored = modality.prepare_samples(modality.restore_samples(x)).nan_masked_x()
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
    """Render a figure of samples, of which the first have NaN in some places, as masked values have in pictures."""
    # matplotlib takes long to import, and no other check uses it.
    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure

    x = part.setup.batch().nan_masked_x()
    masked = x.clone()
    if masked.is_floating_point():
        # The first half of a sample, and the whole of another one.
        masked[0, : max(1, x.shape[1] // 2)] = torch.nan
        masked[1] = torch.nan
    panels = {"original": masked, "input of the encoder": masked, "reconstruction": part.setup.batch().masked_x()}
    path = part.folder / "picture.png"
    for shown in (panels, {"samples": masked}):
        try:
            figure = part.setup.modality.render(shown)
            expect(
                isinstance(figure, Figure), f"{part.id} renders a {type(figure).__name__}, expected a matplotlib Figure"
            )
            figure.savefig(path)
        except ValueError as error:
            raise CheckFailedError(
                f"{part.id} does not render samples with NaN, which masked values are in pictures: {error}"
            ) from error
        plt.close(figure)
        expect(path.stat().st_size > 0, f"{part.id} renders an empty file")


@check("shown samples", "the explorer shows samples in a browser", kinds=["modality"], depends_on=("rendering",))
def shown_samples(part: PartUnderTest) -> None:
    """Show two samples, the first with NaN in some places: each has media with MIME types that browsers know."""
    x = part.setup.batch().nan_masked_x()[:2].clone()
    if x.is_floating_point():
        x[0, : max(1, x.shape[1] // 2)] = torch.nan
    shown = part.setup.modality.show(x)
    expect(len(shown) == len(x), f"{part.id} shows {len(shown)} of {len(x)} samples")
    for media in shown:
        expect(len(media) > 0, f"{part.id} shows nothing of a sample; `show` returns at least one medium for each")
        for medium in media:
            expected = str if medium.mime.startswith("text/") else bytes
            expect(
                medium.mime.startswith(("image/", "audio/", "video/", "text/"))
                and isinstance(medium.content, expected),
                f"{part.id} shows a medium of the type '{medium.mime}' with {type(medium.content).__name__}; expected "
                "image/..., audio/... or video/... with bytes, or text/plain with a string",
            )


@check("located errors", "reports say where a sample is anomalous", kinds=["modality"], depends_on=("rendering",))
def located_errors(part: PartUnderTest) -> None:
    """Locate errors of which one is the largest, and draw them.

    There is a text of one line for each sample, and texts differ with the place of the error.
    """
    import matplotlib.pyplot as plt

    modality, batch = part.setup.modality, part.setup.batch()
    x = batch.nan_masked_x()
    texts = []
    for place in (0, -1):
        errors = torch.zeros(x.shape)
        errors.flatten(1)[:, place] = 1.0
        found = modality.locate_errors(errors, batch)
        expect(
            len(found) == len(x) and all(isinstance(text, str) and text and "\n" not in text for text in found),
            f"{part.id} locates the errors of {len(x)} samples by {found!r}, expected a text of one line for each",
        )
        texts.append(found)
    is_single = x[0].numel() == 1
    expect(
        is_single or texts[0] != texts[1],
        f"{part.id} locates errors of the first and of the last element by the same texts {texts[0][:2]!r}",
    )
    figure = modality.render_errors(x, batch.masked_x(), torch.ones(x.shape))
    figure.savefig(part.folder / "errors.png")
    plt.close(figure)


@check(
    "modality state",
    "a saved model prepares data as in training",
    kinds=["modality"],
    depends_on=("builds",),
)
def modality_state(part: PartUnderTest) -> None:
    """Expect tensors and JSON values in `state`, and the same state after `load_state`."""
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
    """Prepare the data again with a new modality that has the saved state, and expect the same samples."""
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
            equal = same_values(restored_value, value)
        expect(
            equal,
            f"{part.id} prepares another {name} from its saved state than in training; in `apply`, use only what "
            "`state` returns",
        )


@check(
    "files from saved state",
    "a saved model reads new files as in training",
    kinds=["modality"],
    depends_on=("modality state", "files round trip"),
)
def files_from_saved_state(part: PartUnderTest) -> None:
    """Read files with the modality that was trained, and with a new one that has its saved state; expect equal values.

    A scale that `learn` computes and `state` does not return would be missing when a saved model reads a file.
    """
    trained, batch = part.setup.modality, part.setup.batch()
    restored = build("modality", part.config)
    restored.load_state(trained.state())
    folder = part.folder / "saved state"
    folder.mkdir(exist_ok=True)
    for name in part.options.formats.get(part.entry.name) or FORMATS:
        path = folder / name
        try:
            written = trained.write(batch.nan_masked_x(), path)
        except AeframeError:
            continue
        path = path if path.exists() else written[0]
        expect(
            same_values(restored.read(path).nan_masked_x(), trained.read(path).nan_masked_x()),
            f"{part.id} reads other values from '{name}' with its saved state than in training; return from `state` "
            "all that `learn` computes",
        )


@check(
    "masked samples",
    "what a mask hides is no data",
    kinds=["modality"],
    depends_on=("per-sample terms",),
)
def masked_samples(part: PartUnderTest) -> None:
    """Put other values, and NaN, where the samples of the modality are masked; expect the same code and terms.

    It does not apply to data without a masked element: name other data in the suite (`datasets`), or options under
    which samples are padded, to have masks tested too.
    """
    model, batch = part.setup.model().eval(), part.setup.rows
    if batch.mask is None or bool(batch.mask.all()):
        raise NotApplicableError(
            f"no sample of the data has a masked element; if samples of {part.id} can have one, name such data in the "
            f"suite: datasets = {{{part.entry.name!r}: {{'name': ...}}}}"
        )
    masked = broadcast_mask(~batch.mask, batch.x.ndim)
    fillings = {"another value": batch.masked_x().roll(1, 0)}
    if batch.x.is_floating_point():
        fillings["NaN"] = torch.full_like(batch.x, torch.nan)
    with torch.no_grad():
        expected = _masked_outputs(model, batch)
        for description, filling in fillings.items():
            actual = _masked_outputs(model, batch.with_x(torch.where(masked, filling, batch.x)))
            for name, value in expected.items():
                expect(
                    torch.allclose(actual[name], value, rtol=1e-4, atol=1e-5),
                    f"{part.id}: '{name}' changes when masked elements of x are {description}, by up to "
                    f"{float((actual[name] - value).abs().max()):.3g}",
                )


def _masked_outputs(model: Autoencoder, batch: Batch) -> dict[str, Tensor]:
    """Return the mean code and all terms of a batch."""
    out = deterministic_forward_pass(model, batch)
    return {"code": out.latent.mean, **all_terms(model, out, PROGRESS)}


@check(
    "repeatable data",
    "a run with the same config must train on the same samples",
    kinds=["dataset"],
    depends_on=("dataset description",),
    shared_work=SharedWork(write_data_config, prepare_in_new_process),
)
def repeatable_data(part: PartUnderTest) -> None:
    """Prepare the data twice in this process and once in another, and expect the same samples.

    torch, numpy and Python draw other random numbers each time, and Python's hashes differ. A dataset that simulates
    has an option `seed`, and draws from generators of its own: ``torch.Generator().manual_seed(self.seed)``.
    """
    config = read_data_config(part)
    first, second = (prepared_samples(config, seed=seed) for seed in (1, 2))
    if isinstance(first, str):
        raise NotApplicableError(f"its data cannot be read: {first}")
    results = {"it is prepared a second time": second, "another process prepares it": read_result(part.folder / DATA)}
    for when, actual in results.items():
        if isinstance(actual, str):
            raise CheckFailedError(f"{part.id} fails when {when}: {actual}")
        for name, value in first.items():
            expect(
                name in actual and same_values(actual[name], value),
                f"{part.id} has another {name} when {when}; draw from a generator with a seed of the dataset",
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
    shown_samples,
    located_errors,
    modality_state,
    data_from_saved_state,
    files_from_saved_state,
    masked_samples,
    repeatable_data,
)
