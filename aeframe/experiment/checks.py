"""Check that the parts of a run fit the data and each other, before any data are loaded.

A part is one named component of a run, such as a loss. The spec of the data has their shape, their condition and their
domain: which values they take (real, unit, count, ...).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType, TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from aeframe.data.fingerprint import DataRecord
from aeframe.data.in_memory import build_dataset
from aeframe.data.modality import Dataset, Modality
from aeframe.errors import AeframeError
from aeframe.experiment.objects import RunObjects
from aeframe.experiment.suggestions import alternatives, suggestion
from aeframe.factory import build, signature
from aeframe.kinds import KINDS, SLOTS
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.parts.activations import ActivationTraits, traits
from aeframe.parts.corruptions import Corruption
from aeframe.parts.losses.base import Loss
from aeframe.parts.own import OwnDecoder
from aeframe.registry import registry
from aeframe.training.freezing import freeze
from aeframe.training.optimizer_groups import make_optimizer_groups
from aeframe.types import Batch, DataSpec, LossTerms, TrainingProgress

# An MLP without hidden layers contains an empty Sequential.
_LINEAR = (nn.Linear, nn.Identity, nn.Sequential)
_NUM_SAMPLES = 2
"""Samples in the batch of a dry run."""
_PROGRESS = TrainingProgress(planned=10, rows=100)
"""The training progress of a dry run; its numbers are arbitrary, since only shapes are checked."""


class SuspiciousConfigWarning(UserWarning):
    """A valid config that is probably not what the user intends."""


def check(
    config: Mapping[str, Any], record: DataRecord | None = None, objects: RunObjects | None = None
) -> tuple[Modality, Dataset, DataSpec]:
    """Check a composed config against the spec of its data, which are not loaded.

    Args:
        config: As `aeframe.experiment.compose.compose` returns it.
        record: For a resumed run, the fingerprint and split of its data; the dataset then uses the same split.
        objects: What `aeframe.fit` received besides the config: samples in memory and modules.

    Returns:
        The modality, the dataset and the spec of the data.

    Raises:
        AeframeError: The data are of another modality, or parts do not fit the data or each other.
    """
    objects = RunObjects() if objects is None else objects
    modality: Modality = build("modality", config["modality"])
    dataset = build_dataset(config["data"], objects.samples)
    chosen = config["modality"]["name"]
    if chosen != dataset.modality:
        raise AeframeError(
            f"data '{config['data']['name']}' are of modality '{dataset.modality}', not '{chosen}'; leave out "
            f"modality={chosen}, or choose other data"
        )
    if record is not None:
        # Set before the spec is computed, since some datasets read and split their data for it.
        record.use_split(dataset)
    if record is None or record.spec is None:
        spec = dataset.extend_spec(modality.spec(dataset))
    else:
        # Data that have changed, such as texts with new words, are prepared to fit the model.
        spec = replace(record.spec, condition=record.spec.condition - config["label_classes"])
    return modality, dataset, check_parts(config, spec, objects.modules)


def check_parts(
    config: Mapping[str, Any], spec: DataSpec, modules: Mapping[str, Any] = MappingProxyType({})
) -> DataSpec:
    """Check the parts of a composed config against the spec of the data, and against each other.

    Returns:
        The spec of the model's input: with the labels as a condition and with partners of pairs, if the config
        requires them.

    Warns:
        SuspiciousConfigWarning: A linear autoencoder whose code is as large as its input, or a critic that neither the
            objective nor a penalty uses.

    Raises:
        AeframeError: A part does not fit; the message names parts that fit.
    """
    spec = replace(spec, condition=spec.condition + config["label_classes"])
    if config["pairs"]:
        spec = replace(spec, extras={**spec.extras, "partner": spec.shape})
    _check_corruption(config, spec)
    _check_domains(config, spec)
    if spec.unordered:
        _check_unordered(config, spec)
    _check_requirements(config)
    if spec.domain.has_classes:
        _check_no_gradient(config, spec)
    model = dry_run(config, spec, modules)
    _check_output_range(config, model.loss, spec)
    _check_last_activation(config, model)
    _warn_if_identity_fits(model, spec)
    _warn_of_unused_critics(model)
    return spec


def _check_corruption(config: Mapping[str, Any], spec: DataSpec) -> None:
    """Build the corruption, to raise its own error for the shape of the data before those of other parts.

    A recipe whose corruption needs positions, such as ``mae``, has further parts that need them.
    """
    part = registry().load("corruption", config["corruption"]["name"])
    available = {"shape": spec.shape, "domain": spec.domain, "spec": spec}
    if isinstance(part, type) and available.keys() >= {*signature(part).injected}:
        build("corruption", config["corruption"], **available)


def _check_domains(config: Mapping[str, Any], spec: DataSpec) -> None:
    def fits(part: Any) -> bool:
        return spec.domain.kind in getattr(part, "domains", ()) and _takes_shape(part, spec)

    for kind in ("loss", "corruption"):
        name = config[kind]["name"]
        domains = domains_of(kind, name)
        if spec.domain.kind not in domains:
            raise AeframeError(
                f"{kind} '{name}' is for data that are {alternatives(sorted(domains))}, but these are "
                f"{spec.domain.summary}; "
                f"{suggestion(kind, fits, replaced=config[kind])}"
            )


def _takes_shape(part: Any, spec: DataSpec) -> bool:
    """Return whether a corruption with its default options takes samples of this shape; True for all other parts."""
    is_corruption = isinstance(part, type) and issubclass(part, Corruption)
    if not is_corruption:
        return True
    available = {"shape": spec.shape, "domain": spec.domain, "spec": spec}
    injected = signature(part).injected
    if not available.keys() >= {*injected}:
        return True
    try:
        part(**{name: available[name] for name in injected})
    except (AeframeError, TypeError):
        # TypeError: it has a required option.
        return False
    return True


def _check_no_gradient(config: Mapping[str, Any], spec: DataSpec) -> None:
    """Raise an error for penalties and critics that need a gradient through a reconstruction that has classes."""
    chosen = [
        (kind, label)
        for kind in ("penalty", "critic")
        for label, options in (config[KINDS[kind].key] or {}).items()
        if registry().load(kind, (options or {}).get("name", label)).feeds_reconstruction
    ]
    if not chosen:
        return
    keys = [f"{KINDS[kind].key}.{label}" for kind, label in chosen]
    keys += [f"optimizers.{label}" for kind, label in chosen if kind == "critic" and label in config["optimizers"]]
    kind, label = chosen[0]
    overrides = " ".join(f"'~{key}'" for key in keys)
    raise AeframeError(
        f"{kind} '{label}' needs a gradient through the reconstruction, which has classes in data that are "
        f"{spec.domain.summary}; leave it out with {overrides}"
    )


def _check_unordered(config: Mapping[str, Any], spec: DataSpec) -> None:
    """Raise an error for a part that compares or chooses elements by their position, which unordered data do not have.

    Metrics that the modality names are left out instead; those of the config are refused.
    """

    def fits(part: Any) -> bool:
        return not part.by_position and spec.domain.kind in getattr(part, "domains", ())

    modality = config["modality"]["name"]
    unordered = f"the elements of modality '{modality}' have no order"
    for kind in ("loss", "corruption"):
        name = config[kind]["name"]
        if _is_by_position(kind, name):
            own = registry().load("modality", modality).defaults.get(kind)
            does = "compares each element of x with the one of the reconstruction at the same position"
            raise AeframeError(
                f"{kind} '{name}' {does if kind == 'loss' else 'chooses elements by their position'}, and {unordered}; "
                f"{suggestion(kind, fits, first=own)}"
            )
    for label, options in (config["metrics"] or {}).items():
        if options is not None and _is_by_position("metric", options.get("name", label)):
            raise AeframeError(
                f"metric '{label}' compares elements by their position, and {unordered}; leave out metrics.{label}"
            )


def _is_by_position(kind: str, name: str) -> bool:
    """Return the class attribute `by_position` of a registered part."""
    return bool(getattr(registry().load(kind, name), "by_position", False))


def domains_of(kind: str, name: str) -> frozenset[str]:
    """Return the domains in the class attribute `domains` of a loss or a corruption.

    Raises:
        AeframeError: The class has no such attribute.
    """
    part = registry().load(kind, name)
    domains: frozenset[str] | None = getattr(part, "domains", None)
    if domains is None:
        raise AeframeError(
            f"{kind} '{name}' does not state the domains of its data; give "
            f"{part.__module__}.{part.__qualname__} the class attribute domains, such as "
            'frozenset({"real", "unit"})'
        )
    return domains


def _check_output_range(config: Mapping[str, Any], loss: Loss, spec: DataSpec) -> None:
    output_range, (low, high) = loss.output_range, spec.domain.bounds
    if not output_range.covers(low, high):
        raise AeframeError(
            f"loss '{config['loss']['name']}' with these options reconstructs values in {_range(output_range)}, but "
            f"the data are {spec.domain.summary}, in {_range(ActivationTraits(low, high, (True, True)))}; "
            f"an activation that fits is {alternatives(_activations_onto(low, high))}"
        )


def _check_requirements(config: Mapping[str, Any]) -> None:
    for kind in ("objective", "prior", "sampler"):
        _check_provides(kind, config[kind]["name"], config["latent"]["name"])
    for kind in ("prior", "sampler"):
        _check_space(kind, config[kind]["name"], config["latent"]["name"])


def _check_space(kind: str, name: str, latent: str) -> None:
    """Raise an error if a prior or a sampler is a density on another space than that of the codes.

    The spaces are Euclidean space, the hypersphere, the Poincaré ball, ...
    """
    part, latent_class = registry().load(kind, name), registry().load("latent", latent)
    if not _supports_space(part, latent_class):
        choice = suggestion(
            kind, lambda part: part.requires <= latent_class.provides and _supports_space(part, latent_class)
        )
        raise AeframeError(
            f"{kind} '{name}' is a density of {alternatives(sorted(part.spaces))} space, but the codes of latent "
            f"'{latent}' live in {latent_class.space} space; {choice}"
        )


def _supports_space(part: Any, latent: Any) -> bool:
    """Return whether a part supports the space of a latent's codes; a part without `spaces` supports any."""
    spaces: frozenset[str] | None = getattr(part, "spaces", None)
    return spaces is None or latent.space in spaces


def _check_provides(kind: str, name: str, latent: str) -> None:
    """Raise an error if a part requires something of the latent, such as a posterior, that it does not provide."""
    requires: frozenset[str] = registry().load(kind, name).requires
    latent_class = registry().load("latent", latent)
    provides: frozenset[str] = latent_class.provides
    if not requires <= provides:
        raise AeframeError(
            f"{kind} '{name}' requires a latent that provides {_listing(requires)}, but '{latent}' provides "
            f"{_listing(provides)}; "
            f"{suggestion('latent', lambda part: requires <= part.provides)}, or with '{latent}' "
            f"{suggestion(kind, lambda part: part.requires <= provides and _supports_space(part, latent_class))}"
        )


def _check_last_activation(config: Mapping[str, Any], model: Autoencoder) -> None:
    """Raise an error if a decoder of the user ends in an activation, and the loss applies one of its own.

    Losses such as ``bernoulli`` take logits; a sigmoid of a sigmoid has no value below 0.5.
    """
    if not isinstance(model.decoder, OwnDecoder):
        return
    last = list(model.decoder.module.modules())[-1]
    if not isinstance(last, (nn.Sigmoid, nn.Tanh, nn.Softmax, nn.LogSoftmax)):
        return
    mean = model.loss.mean(torch.full((1, *model.decoder.out_shape), 0.25, device="cpu"))
    if not mean.is_meta and not bool((mean == 0.25).all()):
        raise AeframeError(
            f"the decoder ends in {type(last).__name__}, and loss '{config['loss']['name']}' applies an activation of "
            f"its own to the decoder's output (logits); leave out {type(last).__name__}, or choose another loss, such "
            "as loss=mse"
        )


def _warn_if_identity_fits(model: Autoencoder, spec: DataSpec) -> None:
    """Warn of a linear model with a code that is large enough to represent the identity."""
    parts = (model.encoder, model.latent, model.decoder)
    leaves = [leaf for part in parts for leaf in part.modules() if not list(leaf.children())]
    code_size, data_size = math.prod(model.latent.shape), math.prod(spec.shape)
    if (
        code_size >= data_size
        and "sparse" not in model.latent.provides
        and all(isinstance(leaf, _LINEAR) for leaf in leaves if leaf not in parts)
    ):
        warnings.warn(
            f"the code of this linear autoencoder has {code_size} numbers and a sample {data_size}, so it can learn "
            f"the identity; choose latent.dim below {data_size}",
            SuspiciousConfigWarning,
            stacklevel=3,
        )


def _warn_of_unused_critics(model: Autoencoder) -> None:
    """Warn of critics without an effect on the autoencoder; as a probe of x or z, such a critic can be intended."""
    penalties: list[Any] = list(model.penalties.values())
    used = {label for part in (model.objective, *penalties) for label in part.used_critics}
    for label in model.critics:
        if label not in used:
            warnings.warn(
                f"critic '{label}' is trained, but neither the objective nor a penalty uses it; remove it with "
                f"critics.{label}=null and '~optimizers.{label}', or name it in the option critic of one of them",
                SuspiciousConfigWarning,
                stacklevel=3,
            )


def _activations_onto(low: float, high: float) -> list[str]:
    """Return the activations with the range [low, high], if one of these is finite, and the identity."""
    names = [
        name
        for name in registry().names("activation")
        if (declared := traits(registry().load("activation", name))).elementwise
        and (declared.low, declared.high) == (low, high)
    ]
    return [*(names if math.isfinite(low) or math.isfinite(high) else []), "identity"]


def _range(values: ActivationTraits) -> str:
    left = "[" if values.attained[0] and math.isfinite(values.low) else "("
    right = "]" if values.attained[1] and math.isfinite(values.high) else ")"
    return f"{left}{values.low:g}, {values.high:g}{right}"


def _listing(names: frozenset[str]) -> str:
    return " and ".join(sorted(names)) or "nothing but a point"


def dry_run(
    config: Mapping[str, Any], spec: DataSpec, modules: Mapping[str, Any] = MappingProxyType({})
) -> Autoencoder:
    """Assemble the model, and evaluate its loss terms and those of its critics for two samples, on the meta device.

    Meta tensors have shapes but no values or memory. If a part needs values, as quantisers do, the dry run is repeated
    on the CPU. The state of torch's generator is restored.

    Returns:
        The model, on the device of the dry run; its weights are not those of the run.

    Raises:
        AeframeError: A part cannot be built, or does not fit the parts before and after it.
    """
    with torch.random.fork_rng(devices=[]):
        try:
            return _dry_run_on(torch.device("meta"), config, spec, modules)
        except AeframeError:
            raise
        except Exception:  # noqa: BLE001 -- an error on meta is reported only if it is repeated on the CPU
            pass
        try:
            return _dry_run_on(torch.device("cpu"), config, spec, modules)
        except AeframeError:
            raise
        except Exception as error:
            kind = _failing_part(error.__traceback__)
            first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise AeframeError(
                f"{_part_name(kind, config)} does not fit samples of shape {spec.shape}: {first_line}; change its "
                f"options or choose another {kind or 'part'}"
            ) from error


def _dry_run_on(
    device: torch.device, config: Mapping[str, Any], spec: DataSpec, modules: Mapping[str, Any]
) -> Autoencoder:
    with device:
        model = assemble(config, spec, modules=modules)
        frozen = freeze(model, config["freeze"])
        _check_output_shapes(model, config, spec)
        out = model(_batch(spec))
        groups = {"the model": model.terms(out, _PROGRESS)}
        for name, penalty in model.penalties.items():
            # `terms` leaves out a penalty of weight 0, but a schedule may increase the weight later.
            if name not in groups["the model"].raw:
                groups["the model"].add(name, penalty(model, out), 0.0)
        groups |= model.critic_terms(out, _PROGRESS)
        optimizer_groups = make_optimizer_groups(
            model,
            config["optimizer"],
            config["optimizers"],
            clip=config["clip"],
            accumulate=config["accumulate"],
            frozen=frozen,
            lr_factors=config["lr_factors"],
        )
        build("sampler", config["sampler"], model=model)
    if frozen:
        for optimizer_group in optimizer_groups:
            terms = groups["the model" if optimizer_group.critic is None else optimizer_group.name]
            _check_trainable(optimizer_group.name, terms, frozen)
    for group, terms in groups.items():
        _check_terms(group, terms)
    return model


def _check_output_shapes(model: Autoencoder, config: Mapping[str, Any], spec: DataSpec) -> None:
    """Register forward hooks that compare the output of encoder, latent and decoder with the shape that each declares.

    The forward pass then raises an error that names the part at fault.
    """

    def check_shape(kind: str, shape: tuple[int, ...], output: Tensor, *, any_length: bool = False) -> None:
        found = tuple(output.shape[1:])
        if found == shape:
            return
        other_length = len(found) == len(shape) and found[:1] + found[2:] == shape[:1] + shape[2:]
        if any_length and other_length and found[1]:
            return
        # Only a decoder for unordered data has a reason to return another number of elements.
        alternative = ", or a loss that accepts any number of elements" * (
            kind == "decoder" and other_length and spec.unordered
        )
        raise AeframeError(
            f"{_part_name(kind, config)} returns shape {found} for each sample, expected {shape}; correct it, or "
            f"choose another {kind}{alternative}"
        )

    decoder_shape, any_length = model.loss.output_shape(spec.shape), model.loss.any_length
    model.encoder.register_forward_hook(lambda part, _, output: check_shape("encoder", part.out_shape, output))
    model.latent.register_forward_hook(lambda part, _, output: check_shape("latent", part.shape, output.mean))
    model.decoder.register_forward_hook(
        lambda _, __, output: check_shape("decoder", decoder_shape, output, any_length=any_length)
    )


def _batch(spec: DataSpec) -> Batch:
    """Return a batch of two equal samples with values in the domain of the data."""
    dtype = torch.long if spec.domain.kind == "category" else torch.get_default_dtype()
    value = 1 / spec.shape[-1] if spec.domain.kind == "simplex" else 0
    x = torch.full((_NUM_SAMPLES, *spec.shape), value, dtype=dtype)
    return Batch(
        x,
        condition=torch.zeros(_NUM_SAMPLES, spec.condition) if spec.condition else None,
        index=torch.arange(_NUM_SAMPLES),
        extras={name: torch.ones(_NUM_SAMPLES, *shape) for name, shape in spec.extras.items()},
    )


def _check_terms(group: str, terms: LossTerms) -> None:
    for name, value in terms.raw.items():
        if value.shape != (_NUM_SAMPLES,):
            raise AeframeError(
                f"the term '{name}' of {group} has shape {tuple(value.shape)} for a batch of {_NUM_SAMPLES}, expected "
                f"({_NUM_SAMPLES},): one number for each sample, summed over its own elements"
            )


def _check_trainable(group: str, terms: LossTerms, frozen: Iterable[str]) -> None:
    """Check that a term of an optimizer group depends on a parameter that is not frozen."""
    if not any(value.requires_grad for value in terms.raw.values()):
        raise AeframeError(
            f"freeze=[{','.join(frozen)}] leaves optimizer group '{group}' no term that depends on a trainable "
            "parameter; freeze fewer parts"
        )


def _failing_part(trace: TracebackType | None) -> str | None:
    """Return the kind of the innermost part in the traceback of an error; None if there is none."""
    kind = None
    while trace is not None:
        owner = trace.tb_frame.f_locals.get("self")
        kind = next((slot.name for slot in SLOTS if isinstance(owner, slot.base_class())), kind)
        trace = trace.tb_next
    return kind


def _part_name(kind: str | None, config: Mapping[str, Any]) -> str:
    if kind is None:
        return "the model"
    part = config.get(kind)
    return f"{kind} '{part['name']}'" if isinstance(part, Mapping) else f"a {kind}"
