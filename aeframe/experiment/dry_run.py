"""A step of training without numbers: shapes that do not fit are found before any data are loaded."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from aeframe.assembly import assemble
from aeframe.autoencoder import Autoencoder
from aeframe.batch import Batch, Clock, DataSpec, Terms
from aeframe.build import build
from aeframe.errors import AeframeError
from aeframe.parts.corruptions import Corruption
from aeframe.parts.latents.base import LatentSpace
from aeframe.parts.losses.base import Loss
from aeframe.parts.networks.base import Decoder, Encoder
from aeframe.parts.objectives.base import Objective
from aeframe.parts.penalties import Penalty
from aeframe.parts.priors import Prior

_KINDS: dict[type, str] = {
    Corruption: "corruption",
    Encoder: "encoder",
    LatentSpace: "latent",
    Prior: "prior",
    Decoder: "decoder",
    Loss: "loss",
    Objective: "objective",
    Penalty: "penalty",
}
_SAMPLES = 2


def dry_run(config: Mapping[str, Any], spec: DataSpec) -> Autoencoder:
    """Assemble the model and take two samples all the way to the terms of every player.

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
        batch = _batch(spec)
        p = model(batch)
        terms = model.terms(p, Clock(planned=10))
        everyone = {"the model": terms}
        for name, opponent in model.opponents().items():
            everyone[name] = opponent.terms(model, p.detach(), Clock(planned=10))
        features = model.encoder(batch) if not model.condition_encoder else None
        build("optimizer", config["optimizer"], params=[nn.Parameter(torch.zeros(1))])
        build("sampler", config["sampler"], model=model)
    if features is not None:
        _expect(f"{_called('encoder', config)} says its features are", model.encoder.out_shape, features)
    _expect(f"{_called('latent', config)} says its code is", model.latent.shape, p.latent.mean)
    _expect(f"{_called('decoder', config)} is asked for", (model.loss.num_outputs, *spec.shape), p.output)
    _expect(f"{_called('loss', config)} is asked for", (), p.reconstruction)
    for player, of_player in everyone.items():
        _check_terms(player, of_player)
    return model


def _batch(spec: DataSpec) -> Batch:
    """Return two samples that lie in the domain."""
    dtype = torch.long if spec.domain.kind == "category" else torch.get_default_dtype()
    share = 1 / spec.shape[-1] if spec.domain.kind == "simplex" else 0
    x = torch.full((_SAMPLES, *spec.shape), share, dtype=dtype)
    return Batch(
        x,
        condition=torch.zeros(_SAMPLES, spec.condition) if spec.condition else None,
        index=torch.arange(_SAMPLES),
    )


def _check_terms(player: str, terms: Terms) -> None:
    for name, value in terms.raw.items():
        if value.shape != (_SAMPLES,):
            raise AeframeError(
                f"the term '{name}' of {player} has shape {tuple(value.shape)} for a batch of {_SAMPLES}, expected "
                f"({_SAMPLES},): one number for each sample, summed over its own elements"
            )


def _expect(who: str, shape: tuple[int, ...], found: Tensor) -> None:
    # Importance samples stand before the batch.
    if tuple(found.shape[-len(shape) - 1 :]) != (_SAMPLES, *shape):
        raise AeframeError(
            f"{who} of shape {shape} for each sample, but a batch of {_SAMPLES} gave {tuple(found.shape)}"
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
