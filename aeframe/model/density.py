"""Fit a density to the codes of a trained model, to sample new codes from it instead of the prior."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from aeframe.data.modality import Source
from aeframe.data.subset import random_batches
from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.model.autoencoder import Autoencoder
from aeframe.noise import FITTING, noise_of
from aeframe.parts.samplers.base import Sampler
from aeframe.parts.samplers.codes import CodeSampler
from aeframe.registry import registry
from aeframe.types import Batch

_MAX_CODES = 10_000
"""The largest number of codes that a density is fitted to."""


def batches_to_fit(source: Source, batch_size: int, seed: int) -> Iterable[Batch]:
    """Return a random subset of the samples in batches, in the order of the source; all of them up to 10,000.

    Args:
        source: Usually the training split.
        batch_size: Samples per batch.
        seed: The seed of the run.
    """
    return random_batches(source, _MAX_CODES, seed, batch_size)


def build_sampler(who: str, config: Mapping[str, Any], model: Autoencoder) -> Sampler:
    """Return a sampler for a trained model, not fitted.

    Args:
        who: The model's name for error messages.
        config: ``{name: ..., options}``.
        model: The trained model.

    Raises:
        AeframeError: The sampler does not fit the latent.
    """
    part, latent = registry().load("sampler", config["name"]), model.latent
    requires: frozenset[str] = part.requires
    if part.spaces is not None and latent.space not in part.spaces:
        raise AeframeError(
            f"sampler '{config['name']}' draws codes of {' or '.join(sorted(part.spaces))} space, and those of {who} "
            f"live in {latent.space} space"
        )
    if not requires <= latent.provides:
        raise AeframeError(
            f"sampler '{config['name']}' requires a latent that provides {' and '.join(sorted(requires))}, which the "
            f"one of {who} does not"
        )
    sampler: Sampler = build("sampler", config, model=model)
    return sampler


@torch.no_grad()
def code_metrics(
    sampler: Sampler, model: Autoencoder, batches: Iterable[Batch], reconstruction: float | None
) -> dict[str, float]:
    """Return the mean length of the integer codes of samples under the sampler; ``{}`` for other samplers.

    ``code_nll`` is -log p(codes) in nats. With the `reconstruction` of the same samples, the mean -log p(x | codes),
    ``nll_with_codes`` is the sum of both: a bound on -log p(x), and the length of a lossless code where x is discrete.

    Args:
        sampler: A fitted sampler.
        model: Its model, in evaluation mode.
        batches: Uncorrupted samples, at least one, usually of the test split.
        reconstruction: The loss term of that name; None for a loss that is not a likelihood.
    """
    if not isinstance(sampler, CodeSampler):
        return {}
    device = next(model.parameters()).device
    embedded = (model.embed(batch.to(device)).codes for batch in batches)
    nll = -torch.cat([sampler.log_prob(codes) for codes in embedded if codes is not None])
    mean = float(nll.double().mean())
    return {"code_nll": mean, **({} if reconstruction is None else {"nll_with_codes": reconstruction + mean})}


@torch.no_grad()
def fit_sampler(sampler: Sampler, model: Autoencoder, batches: Iterable[Batch], seed: int) -> None:
    """Fit a sampler to the codes of samples; random draws of the fit are a function of the seed.

    Args:
        sampler: The density, built for `model`; it is moved to the device of the model.
        model: The trained model, in evaluation mode.
        batches: Uncorrupted samples, usually of the training split.
        seed: The seed of the run.
    """
    device = next(model.parameters()).device
    latents = [model.embed(batch.to(device)) for batch in batches]
    codes = [latent.codes for latent in latents if latent.codes is not None]
    with noise_of(device, seed, FITTING):
        sampler.to(device).fit(torch.cat([latent.mean for latent in latents]), torch.cat(codes) if codes else None)
