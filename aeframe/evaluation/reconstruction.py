"""The reconstruction of a model with a random code, for metrics and figures."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Normal

from aeframe.evaluation.scoring import content_keys
from aeframe.model.autoencoder import Autoencoder
from aeframe.noise import PICTURES, mix
from aeframe.parts.losses.base import Loss
from aeframe.parts.networks.base import Decoder
from aeframe.row_noise import RowNoise, row_normals
from aeframe.types import Batch, Latent

_MAX_VARIANCE = 0.75
"""Posterior variance above which a unit is drawn: three quarters of that of the standard normal prior."""
PROTOCOL = (
    f"reconstructed from the posterior mean; units with a posterior variance above {_MAX_VARIANCE:g} from two mirrored "
    "draws, whose outputs are averaged"
)
"""How `decode_posterior` reconstructs, for the protocol of metrics."""


def draws_units(model: Autoencoder) -> bool:
    """Return whether `decode_posterior` draws units of the code of a model.

    The posterior is normal. Outputs can be averaged: the loss compares by position and does not combine them with
    quantities of the sample, such as the library size of a cell, and the decoder does not generate tokens one by one.
    """
    return (
        "normal" in model.latent.provides
        and model.latent.space == "euclidean"
        and model.loss.by_position
        and type(model.loss).postprocess is Loss.postprocess
        and type(model.decoder).generate is Decoder.generate
    )


def decode_posterior(
    model: Autoencoder, latent: Latent, batch: Batch, decode: Callable[[Tensor], Tensor], *, seed: int = 0
) -> Tensor:
    """Return the decoder's output ``(B, outputs, *shape)`` of a posterior: the reconstruction before `Loss.mean`.

    It is that of the posterior mean, except for units that are hardly used, with a posterior variance above 0.75. Their
    mean is near 0 for every sample. A code whose units are all near 0 is one that the decoder was never trained on, as
    draws from a normal distribution of D dimensions have a norm of about sqrt(D). These units are therefore drawn, as
    mean + noise and as mean - noise, and the two outputs are averaged. Mirrored draws (Hammersley & Morton 1956, Proc.
    Camb. Phil. Soc.) cancel the noise where the decoder is linear. The decoder runs twice, and once where no unit is
    drawn; where `draws_units` is False always once, at the mean.

    The noise is a function of `seed` and of the content of each sample: it is the same alone, in any batch, and on any
    number of devices.

    Args:
        model: The model, in evaluation mode.
        latent: The latent of the samples, with z at the posterior mean.
        batch: The samples ``(B, *shape)``.
        decode: Returns the decoder's output of z ``(B, *z_shape)``.
        seed: The seed of the noise.
    """
    q = latent.posterior
    if not draws_units(model) or not isinstance(q, Normal):
        return decode(latent.mean)
    is_drawn = q.variance > _MAX_VARIANCE
    # On other devices the comparison would wait for the device; two equal outputs have the same mean.
    if is_drawn.device.type == "cpu" and not is_drawn.any():
        return decode(latent.mean)
    noise = row_normals(content_keys(batch), q.loc[0].numel(), seed=seed).reshape(q.loc.shape).to(q.loc)
    step = torch.where(is_drawn, q.scale * noise, 0.0)
    return (decode(latent.mean + step) + decode(latent.mean - step)) / 2


@torch.no_grad()
def reconstruct_batch(
    model: Autoencoder, batch: Batch, *, encoder_input: Batch | None = None, seed: int = 0, draw: bool = False
) -> Tensor:
    """Return the reconstructions ``(B, *shape)`` of a batch, in the units of x; they are complete where x is masked.

    Args:
        model: The model, in evaluation mode.
        batch: The samples ``(B, *shape)``, on the model's device.
        encoder_input: What the encoder receives in place of the samples, such as corrupted ones.
        seed: The seed of all random draws, which also depend on the content of each sample.
        draw: Draw from the likelihood instead of taking its mean.
    """
    latent = model.embed(batch if encoder_input is None else encoder_input)
    output = decode_posterior(
        model, latent, batch, lambda z: model.decode(z, condition=batch.condition, like=batch), seed=seed
    )
    if not draw:
        return model.data(output)
    with RowNoise(content_keys(batch), seed=mix(seed, PICTURES)):
        return model.data(output, draw=True)
