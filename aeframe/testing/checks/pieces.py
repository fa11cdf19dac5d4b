"""Checks of the parts around a model: schedules, optimizers, samplers and metrics."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.distributions import Normal

from aeframe.data.modality import Modality
from aeframe.errors import AeframeError
from aeframe.evaluation.evaluator import evaluation_mode
from aeframe.factory import build
from aeframe.model.autoencoder import Autoencoder
from aeframe.noise import noise_of
from aeframe.testing.check import check
from aeframe.testing.expectations import CheckFailedError, NotApplicableError, expect
from aeframe.testing.global_seeds import global_seeds
from aeframe.testing.part_under_test import PartUnderTest
from aeframe.testing.reference import BATCH_SIZE, CPU, ReferenceSetup
from aeframe.types import Batch, ForwardOutput, TrainingProgress

_PLANNED_BATCHES = 20


@check(
    "schedule",
    "a schedule is a function of the training progress, so that a resumed run continues it",
    kinds=["schedule"],
    depends_on=("complete",),
)
def schedule(part: PartUnderTest) -> None:
    """Expect finite numbers for each progress, also when the schedule is called in the reverse order."""
    built = build("schedule", part.config)
    steps = [TrainingProgress(batch=batch, planned=_PLANNED_BATCHES) for batch in range(_PLANNED_BATCHES + 5)]
    values = [built(progress) for progress in steps]
    expect(
        all(isinstance(value, float) and math.isfinite(value) for value in values),
        f"{part.id} must return finite floats, found {values}",
    )
    values_in_reverse = [built(progress) for progress in reversed(steps)]
    expect(
        values == values_in_reverse[::-1],
        f"{part.id} depends on earlier calls; compute the value from the training progress only",
    )


@check(
    "optimizer",
    "an optimizer reduces the loss, and a resumed run restores its state",
    kinds=["optimizer"],
    depends_on=("imports",),
)
def optimizer(part: PartUnderTest) -> None:
    """Take four steps on a parabola, with the state saved and loaded in between, and expect a lower loss."""

    def two_steps(state: dict[str, object] | None, weight: Tensor) -> tuple[dict[str, object], Tensor]:
        """Return the optimizer's state and the weight after two steps, from `state` unless it is None."""
        parameter = torch.nn.Parameter(weight.clone())
        built = build("optimizer", {**part.config, "lr": 1e-2}, params=[parameter])
        if state is not None:
            built.load_state_dict(state)
        for _ in range(2):
            built.zero_grad()
            (parameter - 3).square().sum().backward()
            built.step()
        return built.state_dict(), parameter.detach()

    initial = torch.ones(4, 3)
    state, weight = two_steps(None, initial)
    expect(
        bool(weight.isfinite().all()) and not torch.equal(weight, initial),
        f"{part.id} does not change the weights, or makes them not finite",
    )
    expect(float((weight - 3).square().sum()) < float((initial - 3).square().sum()), f"{part.id} increases the loss")
    path = part.folder / "state.pt"
    torch.save(state, path)
    loaded = torch.load(path, weights_only=True)
    expect(
        torch.equal(two_steps(state, weight)[1], two_steps(loaded, weight)[1]),
        f"{part.id} continues differently after its state is saved and loaded",
    )


@check(
    "sampler",
    "a saved model includes the fitted density of its sampler",
    kinds=["sampler"],
    depends_on=("plain defaults",),
)
def sampler(part: PartUnderTest) -> None:
    """Fit the density, save and load its state, and expect the same finite samples of the shape of z."""
    model = part.setups[0].model().eval()
    built = build("sampler", part.config, model=model)
    with noise_of(CPU, 8), torch.no_grad():
        z = torch.randn(40, *model.latent.shape)
        codes = torch.randint(max(1, model.latent.num_codes), (40, *model.latent.shape[1:], model.latent.num_levels))
        if built.requires_fit:
            built.fit(z, codes if model.latent.num_codes else None)
    restored = build("sampler", part.config, model=model)
    restored.load_state_dict(built.state_dict())
    samples = []
    for fitted in (built, restored):
        with noise_of(CPU, 9), torch.no_grad():
            samples.append(fitted.sample(model, BATCH_SIZE))
    shape = (BATCH_SIZE, *model.latent.shape)
    expect(
        tuple(samples[0].shape) == shape and bool(samples[0].isfinite().all()),
        f"{part.id} must return finite samples of shape {shape}, found shape {tuple(samples[0].shape)}",
    )
    expect(
        torch.equal(*samples),
        f"{part.id} draws other samples after its state is saved and loaded; register what `fit` computes as buffers",
    )


@check(
    "metric",
    "a metric must not depend on how the data are divided into batches, nor on random draws",
    kinds=["metric"],
    depends_on=("plain defaults",),
)
def metric(part: PartUnderTest) -> None:
    """Compute the metric in one batch, in two unequal ones, and again with other random numbers; expect equal values.

    Reconstructions are made up, from bad to nearly perfect, so that the samples differ. Add up sums and counts over
    samples, and divide in `compute`; choose random elements with a generator of the metric's own, or `SubsetMetric`.
    """
    setup, model = _metric_model(part)
    outputs = _made_up_outputs(model, setup.batch(2 * BATCH_SIZE))
    rows = torch.arange(2 * BATCH_SIZE)
    expected = _compute_metric(part, model, setup.modality, outputs, [rows], seed=1)
    if not expected:
        raise NotApplicableError("it computes nothing for samples without labels")
    # Unequal batches, so that a mean over batches would differ.
    in_two = _compute_metric(part, model, setup.modality, outputs, rows.split([3, 2 * BATCH_SIZE - 3]), seed=1)
    again = _compute_metric(part, model, setup.modality, outputs, [rows], seed=2)
    alone = [_compute_metric(part, model, setup.modality, outputs, [row], seed=1) for row in rows.split(1)[::3]]
    for name, value in expected.items():
        expect(value.numel() == 1 and bool(value.isfinite()), f"{part.id}: '{name}' is {value}")
        expect(
            torch.allclose(value, again[name], rtol=1e-6),
            f"{part.id}: '{name}' is {float(value):.6g}, and {float(again[name]):.6g} when it is computed again; draw "
            "random numbers from a generator of the metric with a fixed seed",
        )
        expect(
            torch.allclose(value, in_two[name], rtol=1e-4),
            f"{part.id}: '{name}' is {float(value):.6g} in one batch and {float(in_two[name]):.6g} in two",
        )
    constant = [name for name, value in expected.items() if not bool(value) and not any(bool(v[name]) for v in alone)]
    if len(constant) == len(expected):
        raise NotApplicableError(
            f"'{constant[0]}' is 0 for all samples, so that nothing is tested; set options in the suite under which it "
            f"is not: options = {{{part.id!r}: {{...}}}}"
        )


@check(
    "metric of padding",
    "a metric of a sample must not depend on how much padding follows it",
    kinds=["metric"],
    depends_on=("metric",),
)
def metric_of_padding(part: PartUnderTest) -> None:
    """Add masked padding behind the samples, and expect the same value.

    A mean over the elements of a sample divides by the number of the unmasked ones, ``batch.mask.sum(-1)``.
    """
    setup, model = _metric_model(part)
    padded_setup = setup.padded()
    try:
        longer = padded_setup.model().eval()
    except Exception as error:
        raise NotApplicableError("the model takes samples of one size only") from error
    size, dim = setup.spec.shape[setup.length_axis], setup.length_axis + 2
    by_position = model.loss.by_position
    if not by_position and not model.loss.any_length:
        raise NotApplicableError("the reconstruction of unordered elements has as many as x, also for padding")
    batch = padded_setup.batch(2 * BATCH_SIZE)
    shorter = padded_setup.shortened(batch, size)
    out = _made_up_outputs(model, shorter)
    output = torch.cat([out.output, out.output.flip(0)], dim) if by_position else out.output
    padded = replace(out, batch=batch, encoder_input=batch, output=output)
    rows = [torch.arange(2 * BATCH_SIZE)]
    try:
        expected = _compute_metric(part, model, setup.modality, out, rows, seed=1)
        actual = _compute_metric(part, longer, setup.modality, padded, rows, seed=1)
    except Exception as error:
        raise NotApplicableError("it takes samples of one size only") from error
    for name, value in expected.items():
        expect(
            torch.allclose(value, actual[name], rtol=1e-4, equal_nan=True),
            f"{part.id}: '{name}' is {float(value):.6g}, and {float(actual[name]):.6g} when masked padding is added "
            "behind the samples; leave masked elements out, and divide by the number of the unmasked ones",
        )


def _metric_model(part: PartUnderTest) -> tuple[ReferenceSetup, Autoencoder]:
    """Return the first setup, and its model, for which the metric is defined and can be computed.

    Raises:
        NotApplicableError: The metric is defined for none of the small models.
        CheckFailedError: It fails for all of them.
    """
    first_error: Exception | None = None
    applies = False
    for setup in _metric_setups(part):
        try:
            model = setup.model().eval()
        except AeframeError:
            continue
        if not part.target.applies(model) or (setup.spec.unordered and part.target.by_position):
            continue
        applies = True
        try:
            rows = torch.arange(2 * BATCH_SIZE)
            _compute_metric(
                part, model, setup.modality, _made_up_outputs(model, setup.batch(len(rows)), steps=1), [rows], seed=1
            )
        except Exception as error:  # noqa: BLE001 -- the plugin boundary: the metric may require other data
            first_error = first_error or error
            continue
        return setup, model
    if not applies:
        raise NotApplicableError("it applies to none of the small models")
    raise CheckFailedError(f"{part.id} fails on all small models; the first error is {first_error}") from first_error


def _made_up_outputs(model: Autoencoder, batch: Batch, *, steps: int = 100) -> ForwardOutput:
    """Return a forward output whose reconstructions are bad for the first sample, and the better the later ones.

    The decoder's output is found by minimising the loss directly, for `steps` steps.
    """
    with torch.no_grad(), evaluation_mode(model):
        out: ForwardOutput = model(batch, sample=False)
    with noise_of(CPU, 6):
        start = 0.5 * torch.randn_like(out.output)
    output = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([output], lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        model.loss(output, batch).sum().backward()
        optimizer.step()
    weight = torch.linspace(0, 1, len(batch)).reshape(-1, *[1] * (output.ndim - 1))
    mixed = torch.lerp(start, output.detach(), weight)
    model.zero_grad()
    with torch.no_grad():
        return replace(out, output=mixed, reconstruction=model.loss(mixed, batch))


def _compute_metric(
    part: PartUnderTest,
    model: Autoencoder,
    modality: Modality,
    out: ForwardOutput,
    batches: Sequence[Tensor],
    *,
    seed: int,
) -> dict[str, Tensor]:
    """Return the values of a metric by name, for the samples in these batches of rows.

    `seed` is that of the global generators of torch, numpy and Python.
    """
    built = build("metric", part.config, model=model, modality=modality)
    with torch.no_grad(), evaluation_mode(model), global_seeds(seed):
        for rows in batches:
            built.update(model, _rows_of(out, rows))
        values = built.compute()
    return values if isinstance(values, dict) else {part.entry.name: values}


def _rows_of(out: ForwardOutput, rows: Tensor) -> ForwardOutput:
    """Return the forward output of some samples. The posterior is sliced where it is a `Normal`."""
    latent, posterior = out.latent, out.latent.posterior
    if isinstance(posterior, Normal):
        posterior = Normal(posterior.loc[rows], posterior.scale[rows], validate_args=False)
    selected = replace(
        latent,
        z=latent.z[rows],
        mean=latent.mean[rows],
        posterior=posterior,
        codes=None if latent.codes is None else latent.codes[rows],
        terms={name: term[rows] for name, term in latent.terms.items()},
        decoder_input=None if latent.decoder_input is None else latent.decoder_input[rows],
    )
    return ForwardOutput(
        out.batch.rows(rows),
        out.encoder_input.rows(rows),
        selected,
        out.output[rows],
        out.reconstruction[rows],
        None if out.features is None else out.features[rows],
    )


def _metric_setups(part: PartUnderTest) -> Iterator[ReferenceSetup]:
    """Yield each setup with a Gaussian, a quantised and a sparse latent: a metric may apply to only one of these."""
    latents = (
        ({"name": "gaussian", "dim": 3}, "elbo"),
        ({"name": "vq", "dim": 2, "codebook_size": 8, "tokens": 4}, "deterministic"),
        ({"name": "topk", "dim": 12, "k": 3}, "deterministic"),
    )
    for setup in part.setups:
        for latent, objective in latents:
            yield replace(setup, config={**setup.config, "latent": latent, "objective": objective})


CHECKS = (schedule, optimizer, sampler, metric, metric_of_padding)
