"""Check, before any data are loaded, that the parts of a run fit the data and each other."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from aeframe.data.fingerprint import DataRecord
from aeframe.data.modality import Dataset, Modality
from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.kinds import SLOTS
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.parts.activations import ActivationTraits, traits
from aeframe.parts.losses.base import Loss
from aeframe.registry import registry
from aeframe.training.optimizer_groups import make_optimizer_groups
from aeframe.types import Batch, DataSpec, LossTerms, TrainingProgress

# An MLP without hidden layers holds a Sequential of nothing.
_LINEAR = (nn.Linear, nn.Identity, nn.Sequential)


class SuspiciousConfigWarning(UserWarning):
    """A config that runs, but probably not as intended."""


def check(config: Mapping[str, Any], record: DataRecord | None = None) -> tuple[Modality, Dataset, DataSpec]:
    """Check a composed config against the description of its data, which are not loaded.

    Args:
        config: As `aeframe.experiment.compose.compose` returns it.
        record: Fingerprint and split of the data of a resumed run: the dataset returns the same split.

    Returns:
        The modality, the dataset and the spec of the data.

    Raises:
        AeframeError: Data of another modality, or parts that do not fit the data or each other.
    """
    modality: Modality = build("modality", config["modality"])
    dataset: Dataset = build("dataset", config["data"])
    chosen, own = config["modality"]["name"], dataset.modality
    if chosen != own:
        raise AeframeError(
            f"data '{config['data']['name']}' are of modality '{own}', not '{chosen}'; leave out modality={chosen}, or "
            "choose other data"
        )
    if record is not None:
        # Before the spec, for which some datasets read their data.
        record.use_split(dataset)
    spec = modality.spec(dataset)
    return modality, dataset, check_parts(config, spec)


def check_parts(config: Mapping[str, Any], spec: DataSpec) -> DataSpec:
    """Check the parts of a composed config against the data they are for, and against each other.

    Returns:
        The spec of the data as the model receives them: with the labels as a condition, and in pairs, as the config
        requires.

    Warns:
        SuspiciousConfigWarning: A linear autoencoder whose code is as large as its input, or a critic that neither the
            objective nor a penalty uses.

    Raises:
        AeframeError: A part that does not fit, with those that do.
    """
    spec = replace(spec, condition=spec.condition + config["label_classes"])
    if config["pairs"]:
        spec = replace(spec, extras={**spec.extras, "partner": spec.shape})
    _check_domains(config, spec)
    _check_requirements(config)
    model = dry_run(config, spec)
    _check_output_range(config, model.loss, spec)
    _warn_of_copying(model, spec)
    _warn_of_unused_critics(model)
    return spec


def _check_domains(config: Mapping[str, Any], spec: DataSpec) -> None:
    for kind in ("loss", "corruption"):
        name = config[kind]["name"]
        domains = domains_of(kind, name)
        if spec.domain.kind not in domains:
            raise AeframeError(
                f"{kind} '{name}' is for data that are {_or(sorted(domains))}, but these are {spec.domain}; "
                f"{_fitting(kind, lambda part: spec.domain.kind in getattr(part, 'domains', ()))}"
            )


def domains_of(kind: str, name: str) -> frozenset[str]:
    """Return the domains in the class attribute `domains` of a loss or a corruption.

    Raises:
        AeframeError: It has no such attribute.
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
    found, (low, high) = loss.output_range, spec.domain.bounds
    if not found.covers(low, high):
        raise AeframeError(
            f"loss '{config['loss']['name']}' with these options reconstructs values in {_range(found)}, but the data "
            f"are {spec.domain}, in {_range(ActivationTraits(low, high, (True, True)))}; "
            f"an activation that fits is {_or(_covering(low, high))}"
        )


def _check_requirements(config: Mapping[str, Any]) -> None:
    for kind in ("objective", "prior", "sampler"):
        _check_provides(kind, config[kind]["name"], config["latent"]["name"])
    for kind in ("prior", "sampler"):
        _check_space(kind, config[kind]["name"], config["latent"]["name"])


def _check_space(kind: str, name: str, latent: str) -> None:
    """Refuse a prior or a sampler that is a density on another space than the latent's."""
    part, codes = registry().load(kind, name), registry().load("latent", latent)
    if not _has_space(part, codes):
        fitting = _fitting(kind, lambda part: part.requires <= codes.provides and _has_space(part, codes))
        raise AeframeError(
            f"{kind} '{name}' is a density of {_or(sorted(part.spaces))} space, but the codes of latent '{latent}' "
            f"live in {codes.space} space; {fitting}"
        )


def _has_space(part: Any, latent: Any) -> bool:
    """Return whether a part supports the space of a latent's codes; a part without `spaces` supports any."""
    spaces: frozenset[str] | None = getattr(part, "spaces", None)
    return spaces is None or latent.space in spaces


def _check_provides(kind: str, name: str, latent: str) -> None:
    requires: frozenset[str] = registry().load(kind, name).requires
    codes = registry().load("latent", latent)
    provides: frozenset[str] = codes.provides
    if not requires <= provides:
        raise AeframeError(
            f"{kind} '{name}' requires a latent that provides {_listing(requires)}, but '{latent}' provides "
            f"{_listing(provides)}; "
            f"{_fitting('latent', lambda part: requires <= part.provides)}, or with '{latent}' "
            f"{_fitting(kind, lambda part: part.requires <= provides and _has_space(part, codes))}"
        )


def _warn_of_copying(model: Autoencoder, spec: DataSpec) -> None:
    """Warn of a linear model whose code is large enough for the identity."""
    path = (model.encoder, model.latent, model.decoder)
    leaves = [leaf for part in path for leaf in part.modules() if not list(leaf.children())]
    code, data = math.prod(model.latent.shape), math.prod(spec.shape)
    if (
        code >= data
        and "sparse" not in model.latent.provides
        and all(isinstance(leaf, _LINEAR) for leaf in leaves if leaf not in path)
    ):
        warnings.warn(
            f"the code of this linear autoencoder has {code} numbers and a sample {data}, so it can learn the "
            f"identity; choose latent.dim below {data}",
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


def _fitting(kind: str, fits: Callable[[Any], bool]) -> str:
    """Return ``"choose loss=mae or mse"`` from all that are registered and can be imported."""
    names = []
    for name in registry().names(kind):
        try:
            part = registry().load(kind, name)
        except AeframeError:
            # A part that cannot be imported is not proposed.
            continue
        if fits(part):
            names.append(name)
    return f"choose {kind}={_or(names)}" if names else f"no {kind} that is installed fits"


def _or(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last


def _covering(low: float, high: float) -> list[str]:
    """Return the activations whose range is the data's own, and the identity."""
    same = [
        name
        for name in registry().names("activation")
        if (known := traits(registry().load("activation", name))).elementwise and (known.low, known.high) == (low, high)
    ]
    return [*(same if math.isfinite(low) or math.isfinite(high) else []), "identity"]


def _range(values: ActivationTraits) -> str:
    left = "[" if values.attained[0] and math.isfinite(values.low) else "("
    right = "]" if values.attained[1] and math.isfinite(values.high) else ")"
    return f"{left}{values.low:g}, {values.high:g}{right}"


def _listing(names: frozenset[str]) -> str:
    return " and ".join(sorted(names)) or "nothing but a point"


_SAMPLES = 2
_PROGRESS = TrainingProgress(planned=10, rows=100)


def dry_run(config: Mapping[str, Any], spec: DataSpec) -> Autoencoder:
    """Assemble the model and compute the terms of every optimizer group for two samples, on the meta device.

    Nothing is computed there and no memory is allocated. A part that needs values (such as a quantiser) fails on meta
    and is tried again on the CPU. The state of torch's generator is restored.

    Returns:
        The model, on the device of the dry run; its weights are meaningless.

    Raises:
        AeframeError: A part that cannot be built or does not fit its neighbours, by kind and name.
    """
    with torch.random.fork_rng(devices=[]):
        try:
            return _attempt(config, spec, torch.device("meta"))
        except AeframeError:
            raise
        except Exception:  # noqa: BLE001 -- an error on meta counts only if it is repeated on the CPU
            pass
        try:
            return _attempt(config, spec, torch.device("cpu"))
        except AeframeError:
            raise
        except Exception as error:
            kind = _failing_part(error.__traceback__)
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise AeframeError(
                f"{_called(kind, config)} does not fit samples of shape {spec.shape}: {first}; change its options or "
                f"choose another {kind or 'part'}"
            ) from error


def _attempt(config: Mapping[str, Any], spec: DataSpec, device: torch.device) -> Autoencoder:
    with device:
        model = assemble(config, spec)
        _check_shapes(model, config, spec)
        p = model(_batch(spec))
        groups = {"the model": model.terms(p, _PROGRESS)}
        for name, penalty in model.penalties.items():
            # A penalty of weight 0 is not computed at first, but it must fit as well.
            if name not in groups["the model"].raw:
                groups["the model"].add(name, penalty(model, p), 0.0)
        groups |= model.critic_terms(p, _PROGRESS)
        make_optimizer_groups(
            model, config["optimizer"], config["optimizers"], clip=config["clip"], accumulate=config["accumulate"]
        )
        build("sampler", config["sampler"], model=model)
    for group, terms in groups.items():
        _check_terms(group, terms)
    return model


def _check_shapes(model: Autoencoder, config: Mapping[str, Any], spec: DataSpec) -> None:
    """Compare the shape of each part's output with the one it declares, so that an error names the part at fault."""

    def expect(kind: str, shape: tuple[int, ...], found: Tensor) -> None:
        if tuple(found.shape[1:]) != shape:
            raise AeframeError(
                f"{_called(kind, config)} returns shape {tuple(found.shape[1:])} for each sample, expected {shape}; "
                f"correct it, or choose another {kind}"
            )

    outputs = (model.loss.num_outputs, *spec.shape)
    model.encoder.register_forward_hook(lambda part, _, found: expect("encoder", part.out_shape, found))
    model.latent.register_forward_hook(lambda part, _, found: expect("latent", part.shape, found.mean))
    model.decoder.register_forward_hook(lambda _, __, found: expect("decoder", outputs, found))


def _batch(spec: DataSpec) -> Batch:
    """Return two samples of values in the domain."""
    dtype = torch.long if spec.domain.kind == "category" else torch.get_default_dtype()
    share = 1 / spec.shape[-1] if spec.domain.kind == "simplex" else 0
    x = torch.full((_SAMPLES, *spec.shape), share, dtype=dtype)
    return Batch(
        x,
        condition=torch.zeros(_SAMPLES, spec.condition) if spec.condition else None,
        index=torch.arange(_SAMPLES),
        extras={name: torch.ones(_SAMPLES, *shape) for name, shape in spec.extras.items()},
    )


def _check_terms(group: str, terms: LossTerms) -> None:
    for name, value in terms.raw.items():
        if value.shape != (_SAMPLES,):
            raise AeframeError(
                f"the term '{name}' of {group} has shape {tuple(value.shape)} for a batch of {_SAMPLES}, expected "
                f"({_SAMPLES},): one number for each sample, summed over its own elements"
            )


def _failing_part(trace: TracebackType | None) -> str | None:
    """Return the kind of the innermost part on the stack of an error."""
    kind = None
    while trace is not None:
        owner = trace.tb_frame.f_locals.get("self")
        kind = next((each.name for each in SLOTS if isinstance(owner, each.base_class())), kind)
        trace = trace.tb_next
    return kind


def _called(kind: str | None, config: Mapping[str, Any]) -> str:
    if kind is None:
        return "the model"
    part = config.get(kind)
    return f"{kind} '{part['name']}'" if isinstance(part, Mapping) else f"a {kind}"
