"""A codec by how many of its codebooks are used, beside principal components."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from aeframe.data import Source
from aeframe.errors import AeframeError
from aeframe.evaluation.evaluator import evaluation_mode
from aeframe.evaluation.metrics.latent_usage import CodebookUse
from aeframe.model.autoencoder import Autoencoder
from aeframe.types import Batch, ForwardOutput
from aeframe_audio.measures import si_sdr
from aeframe_audio.metrics import SISDR, LogSpectral, MelDB


def first_levels(model: Autoencoder, codes: Tensor, count: int) -> Tensor:
    """Return z of only the first `count` codebooks of codes ``(B, frames, levels)``.

    Raises:
        AeframeError: More codebooks than there are, or none.
    """
    levels = num_codebooks(model)
    if not 1 <= count <= levels:
        raise AeframeError(f"the codec has {levels} codebooks for each frame, found {count}; choose 1 to {levels}")
    kept = codes.clone()
    kept[..., count * (codes.shape[-1] // levels) :] = -1
    return model.latent.from_codes(kept)


def num_codebooks(model: Autoencoder) -> int:
    """Return how many codebooks a frame's codes can be cut to; the groups of one level go together."""
    if "codes" not in model.latent.provides or model.latent.num_codes == 0:
        raise AeframeError("only a latent with integer codes has codebooks; train one with model=codec, or latent=rvq")
    return model.latent.num_levels // getattr(model.latent, "num_groups", 1)


@torch.no_grad()
def by_codebooks(model: Autoencoder, source: Source, batch_size: int) -> list[dict[str, float]]:
    """Return one row for each number of codebooks: ``codebooks``, ``bitrate`` (bits per second), ``mel_distance`` and
    ``log_spectral_distance`` (dB), ``si_sdr`` (dB), ``codebook_used`` (the share of the last one's codes).
    """
    levels = num_codebooks(model)
    measured = [(MelDB(model), LogSpectral(model), SISDR()) for _ in range(levels)]
    use = CodebookUse(model)
    device = next(model.parameters()).device
    with evaluation_mode(model):
        for batch in batches(source, batch_size):
            here = batch.to(device)
            whole: ForwardOutput = model(here, sample=False)
            use.to(device).update(model, whole)
            assert whole.latent.codes is not None
            for count, metrics in enumerate(measured, start=1):
                z = first_levels(model, whole.latent.codes, count)
                output = model.decode(z, condition=here.condition, like=here)
                for metric in metrics:
                    metric.to(device).update(model, replace(whole, output=output))
    frames = math.prod(model.latent.shape[1:]) * (model.spec.rate or 1.0) / model.spec.shape[-1]
    bits = model.latent.num_levels / levels * math.log2(model.latent.num_codes) * frames
    used = use.compute()
    rows = []
    for count, (mel, log_spectral, ratio) in enumerate(measured, start=1):
        rows.append(
            {
                "codebooks": count,
                "bitrate": count * bits,
                "mel_distance": float(mel.compute()),
                "log_spectral_distance": float(log_spectral.compute()),
                "si_sdr": float(ratio.compute()),
                "codebook_used": float(used.get(f"codebook_used/{count}", used["codebook_used"])),
            }
        )
    return rows


def principal_components(train: Source, test: Source, *, frame: int, count: int, batch_size: int) -> float:
    """Return the SI-SDR in dB of `test` from `count` principal components of frames of `frame` samples of `train`."""
    total, products, number = torch.zeros(frame).double(), torch.zeros(frame, frame).double(), 0
    for batch in batches(train, batch_size):
        rows = _frames(batch.visible(), frame).flatten(0, -2).double()
        loud = rows[rows.square().sum(1) > 0]
        total, products, number = total + loud.sum(0), products + loud.T @ loud, number + len(loud)
    mean = total / max(number, 1)
    _, axes = torch.linalg.eigh(products / max(number, 1) - mean.outer(mean))
    basis = axes[:, -count:]
    ratios = []
    for batch in batches(test, batch_size):
        x = batch.visible().double()
        rows = _frames(x, frame) - mean
        made = (rows @ basis @ basis.T + mean).flatten(-2)[..., : x.shape[-1]]
        ratio = si_sdr(made, x, batch.mask)
        ratios.append(ratio[x.flatten(1).square().sum(1) > 0])
    return float(torch.cat(ratios).mean())


def batches(source: Source, batch_size: int) -> Iterator[Batch]:
    """Yield all samples of a source, in order."""
    for index in torch.arange(len(source)).split(batch_size):
        yield source.batch(index)


def _frames(x: Tensor, size: int) -> Tensor:
    """Return ``(B, C, frames, size)`` of waves ``(B, C, T)``, silence after the end."""
    return torch.nn.functional.pad(x, (0, -x.shape[-1] % size)).unflatten(-1, (-1, size))
