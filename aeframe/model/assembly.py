"""`assemble`: build the parts that a config names, and connect them in an `Autoencoder`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from aeframe.errors import AeframeError, did_you_mean
from aeframe.factory import build, signature
from aeframe.kinds import KINDS
from aeframe.model.autoencoder import Autoencoder, shape_with_condition
from aeframe.parts.activations import MakeActivation
from aeframe.parts.critics.base import Critic
from aeframe.parts.latents.base import LatentSpace
from aeframe.parts.losses.base import BoundedMean, Loss
from aeframe.parts.networks.base import Encoder
from aeframe.parts.objectives.base import Objective
from aeframe.parts.penalties.base import Penalty
from aeframe.registry import registry
from aeframe.types import DataSpec


def assemble(
    config: Mapping[str, Any], spec: DataSpec, *, modules: Mapping[str, Any] = MappingProxyType({})
) -> Autoencoder:
    """Build the model of a composed config for data with a given spec.

    Args:
        config: One entry for the activation and each part that a model has one of, such as ``encoder``: a name, or
            ``{name: ..., options}``. ``penalties`` and ``critics`` are ``{label: {name: ..., options}}``; without a
            ``name`` the label is the name. ``condition_encoder`` is whether the encoder receives the condition.
        spec: The spec of the data: shape, domain and condition.
        modules: The caller's own objects by kind, for parts of the name ``own`` (see `aeframe.parts.own`).

    Raises:
        AeframeError: A part cannot be built.
    """

    def chosen(kind: str) -> Any:
        """Return the config of the part of this kind, or the name of the default."""
        default = KINDS[kind].default
        return config.get(kind, default) if default else config[kind]

    activation = MakeActivation.from_config(chosen("activation"), build)

    def build_part(kind: str, part: str | Mapping[str, Any], **injected: Any) -> Any:
        """Build a part; its constructor receives those of the injected arguments that it has parameters for."""
        return build(kind, part, activation=activation, spec=spec, module=modules.get(kind), **injected)

    encoder_takes_condition = bool(config.get("condition_encoder", True)) and spec.condition > 0
    shape, domain = spec.shape, spec.domain
    if encoder_takes_condition and domain.kind == "category":
        raise AeframeError(
            f"an encoder of {domain} data takes class indices, to which no condition can be appended; "
            "set condition_encoder=false, the decoder still receives the condition"
        )
    corruption = build_part("corruption", chosen("corruption"), shape=shape, domain=domain)
    loss: Loss = build_part("loss", _loss_config(chosen("loss"), chosen("decoder")), shape=shape, domain=domain)
    encoder_shape = (
        shape_with_condition(shape, spec.condition, spec.encoder_condition_axis) if encoder_takes_condition else shape
    )
    encoder: Encoder = build_part(
        "encoder",
        chosen("encoder"),
        shape=encoder_shape,
        domain=domain.with_condition(spec.condition * encoder_takes_condition),
        corruption=corruption,
    )
    latent: LatentSpace = build_part("latent", chosen("latent"), feature_shape=encoder.out_shape)
    prior = build_part(
        "prior", chosen("prior"), z_shape=latent.shape, shape=encoder_shape, encoder=encoder, latent=latent
    )
    decoder = build_part(
        "decoder",
        chosen("decoder"),
        z_shape=shape_with_condition(latent.decoder_shape, spec.condition),
        out_shape=loss.output_shape(shape),
        encoder=encoder,
        latent=latent,
        build=build,
    )
    objective = build_part("objective", chosen("objective"), z_shape=latent.shape, shape=shape)

    def build_labelled(kind: str) -> dict[str, Any]:
        return {
            label: build_part(kind, {"name": label, **options}, z_shape=latent.shape, shape=shape)
            for label, options in (config.get(KINDS[kind].key) or {}).items()
        }

    penalties = build_labelled("penalty")
    # Critics are built last, so that their random draws do not change the initial weights of the autoencoder.
    critics = build_labelled("critic")
    _check_critics("objective", _name_of(chosen("objective")), "objective", objective, critics)
    for label, penalty in penalties.items():
        _check_critics("penalty", label, f"penalties.{label}", penalty, critics)
    return Autoencoder(
        spec,
        corruption=corruption,
        encoder=encoder,
        latent=latent,
        prior=prior,
        decoder=decoder,
        loss=loss,
        objective=objective,
        penalties=penalties,
        critics=critics,
        condition_encoder=encoder_takes_condition,
    )


def _loss_config(config: str | Mapping[str, Any], decoder: str | Mapping[str, Any]) -> str | Mapping[str, Any]:
    """Return the config of the loss, with the identity as the default activation if the decoder returns x itself."""
    name = decoder if isinstance(decoder, str) else decoder.get("name")
    # `build` raises the error of a decoder without a name.
    returns_x = isinstance(name, str) and getattr(registry().load("decoder", name), "returns_x", False)
    return with_identity(config) if returns_x else config


def with_identity(config: str | Mapping[str, Any]) -> str | Mapping[str, Any]:
    """Return the config of a loss with ``activation: identity`` in the place of null, if it is a `BoundedMean`."""
    options = {"name": config} if isinstance(config, str) else dict(config)
    name = options.get("name")
    loss: Any = registry().load("loss", name) if isinstance(name, str) else None
    is_bounded = inspect.isclass(loss) and issubclass(loss, BoundedMean)
    if not is_bounded or "activation" not in signature(loss).options:
        return config
    return options if options.get("activation") is not None else {**options, "activation": "identity"}


def _check_critics(kind: str, name: str, key: str, part: Objective | Penalty, critics: Mapping[str, Critic]) -> None:
    """Check that the critics which an objective or a penalty uses exist, and have the methods that it calls.

    Args:
        kind: ``objective`` or ``penalty``.
        name: Its name or label.
        key: Its key in the config.
        part: The objective or penalty.
        critics: All critics by label.

    Raises:
        AeframeError: A critic is missing, or lacks a method; the message names the first such critic.
    """
    for label, methods in part.used_critics.items():
        requirement = f"{kind} '{name}' requires a critic '{label}' with {' and '.join(methods)}"
        if label not in critics:
            options = "{}" if registry().has("critic", label) else "{name: ...}"
            raise AeframeError(
                f"{requirement}{did_you_mean(label, critics)}; add critics.{label}={options}, or set {key}.critic"
            )
        if missing := [method for method in methods if not callable(getattr(critics[label], method, None))]:
            raise AeframeError(
                f"{requirement}, but {type(critics[label]).__name__} has no {' and no '.join(missing)}; "
                f"set {key}.critic, or choose another critics.{label}.name"
            )


def _name_of(config: str | Mapping[str, Any]) -> str:
    return config if isinstance(config, str) else str(config["name"])
