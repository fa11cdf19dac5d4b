"""A step of training without numbers: shapes that do not fit are found before any data are loaded."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.parts.corruptions import Corruption
from aeframe.parts.critics.base import Critic
from aeframe.parts.latents.base import LatentSpace
from aeframe.parts.losses.base import Loss
from aeframe.parts.networks.base import Decoder, Encoder
from aeframe.parts.objectives.base import Objective
from aeframe.parts.penalties.base import Penalty
from aeframe.parts.priors.base import Prior
from aeframe.training.optimizer_groups import make_optimizer_groups
from aeframe.types import Batch, DataSpec, LossTerms, TrainingProgress

_KINDS: dict[type, str] = {
    Corruption: "corruption",
    Encoder: "encoder",
    LatentSpace: "latent",
    Prior: "prior",
    Decoder: "decoder",
    Loss: "loss",
    Objective: "objective",
    Penalty: "penalty",
    Critic: "critic",
}
_SAMPLES = 2
_CLOCK = TrainingProgress(planned=10, rows=100)


def dry_run(config: Mapping[str, Any], spec: DataSpec) -> Autoencoder:
    """Assemble the model and take two samples all the way to the terms of every optimizer group.

    On the meta device no memory is taken and nothing is computed. A part that cannot do without numbers (a quantiser
    that looks at its codebook) fails there, and is tried again on the CPU. Torch's generator is left as it was.

    Returns:
        The model, on the device it was tried on; its weights are of no use.

    Raises:
        AeframeError: A part that cannot be built or does not fit its neighbours, by kind and name.
    """
    with torch.random.fork_rng(devices=[]):
        try:
            return _attempt(config, spec, torch.device("meta"))
        except AeframeError:
            raise
        except Exception:  # noqa: BLE001 -- whatever a part raises on meta, the CPU tells whether it means anything
            pass
        try:
            return _attempt(config, spec, torch.device("cpu"))
        except AeframeError:
            raise
        except Exception as error:
            kind = _culprit(error.__traceback__)
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise AeframeError(
                f"{_called(kind, config)} does not fit samples of shape {spec.shape}: {first}; change its options or "
                f"choose another {kind or 'part'}"
            ) from error


def _attempt(config: Mapping[str, Any], spec: DataSpec, device: torch.device) -> Autoencoder:
    with device:
        model = assemble(config, spec)
        _hold_to_their_word(model, config, spec)
        p = model(_batch(spec))
        groups = {"the model": model.terms(p, _CLOCK)}
        for name, penalty in model.penalties.items():
            # One whose weight is 0 at first is not computed yet, and has to fit all the same.
            if name not in groups["the model"].raw:
                groups["the model"].add(name, penalty(model, p), 0.0)
        groups |= model.critic_terms(p, _CLOCK)
        make_optimizer_groups(
            model, config["optimizer"], config["optimizers"], clip=config["clip"], accumulate=config["accumulate"]
        )
        build("sampler", config["sampler"], model=model)
    for group, terms in groups.items():
        _check_terms(group, terms)
    return model


def _hold_to_their_word(model: Autoencoder, config: Mapping[str, Any], spec: DataSpec) -> None:
    """Compare shapes where a part hands over, so that the one that is wrong is named, and not its neighbour."""

    def expect(kind: str, shape: tuple[int, ...], found: Tensor) -> None:
        if tuple(found.shape[1:]) != shape:
            raise AeframeError(
                f"{_called(kind, config)} gives {tuple(found.shape[1:])} for each sample, expected {shape}; "
                f"mend it, or choose another {kind}"
            )

    outputs = (model.loss.num_outputs, *spec.shape)
    model.encoder.register_forward_hook(lambda part, _, found: expect("encoder", part.out_shape, found))
    model.latent.register_forward_hook(lambda part, _, found: expect("latent", part.shape, found.mean))
    model.decoder.register_forward_hook(lambda _, __, found: expect("decoder", outputs, found))


def _batch(spec: DataSpec) -> Batch:
    """Return two samples that lie in the domain."""
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


def _culprit(trace: TracebackType | None) -> str | None:
    """Return the kind of the innermost part that was at work when the error was raised."""
    kind = None
    while trace is not None:
        owner = trace.tb_frame.f_locals.get("self")
        kind = next((known for contract, known in _KINDS.items() if isinstance(owner, contract)), kind)
        trace = trace.tb_next
    return kind


def _called(kind: str | None, config: Mapping[str, Any]) -> str:
    if kind is None:
        return "the model"
    part = config.get(kind)
    return f"{kind} '{part['name']}'" if isinstance(part, Mapping) else f"a {kind}"
