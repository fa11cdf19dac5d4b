"""Evaluate a codec with each number of its codebooks, and a linear baseline: principal components of frames.

Shapes: B samples, C channels, T time samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from aeframe.data import Source
from aeframe.evaluation.evaluator import evaluation_mode
from aeframe.evaluation.metrics.latent_usage import CodebookUse
from aeframe.model.autoencoder import Autoencoder
from aeframe.types import Batch, ForwardOutput
from aeframe_audio.codebooks import num_codebooks, z_from_first_codebooks
from aeframe_audio.metrics import SISDR, LogSpectral, MelDB, si_sdr


@torch.no_grad()
def evaluate_by_codebooks(model: Autoencoder, source: Source, batch_size: int) -> list[dict[str, float]]:
    """Return one row of metrics for each number of codebooks, from 1 to all.

    Keys: ``codebooks``, ``bitrate`` (bits per second), ``mel_distance``, ``log_spectral_distance`` and ``si_sdr``
    (dB), ``codebook_used`` (fraction of the codes of the last codebook that occur).
    """
    num_books = num_codebooks(model)
    metrics_by_count = [(MelDB(model), LogSpectral(model), SISDR()) for _ in range(num_books)]
    codebook_use = CodebookUse(model)
    device = next(model.parameters()).device
    with evaluation_mode(model):
        for cpu_batch in _batches(source, batch_size):
            batch = cpu_batch.to(device)
            out: ForwardOutput = model(batch, sample=False)
            codebook_use.to(device).update(model, out)
            assert out.latent.codes is not None
            for count, metrics in enumerate(metrics_by_count, start=1):
                z = z_from_first_codebooks(model, out.latent.codes, count)
                output = model.decode(z, condition=batch.condition, like=batch)
                for metric in metrics:
                    metric.to(device).update(model, replace(out, output=output))
    frames_per_second = math.prod(model.latent.shape[1:]) * (model.spec.rate or 1.0) / model.spec.shape[-1]
    codes_per_book = model.latent.num_levels / num_books
    bits_per_second = codes_per_book * math.log2(model.latent.num_codes) * frames_per_second
    used = codebook_use.compute()
    return [
        {
            "codebooks": count,
            "bitrate": count * bits_per_second,
            "mel_distance": float(mel.compute()),
            "log_spectral_distance": float(log_spectral.compute()),
            "si_sdr": float(signal_to_distortion.compute()),
            # A metric of a single codebook has no numbered entries.
            "codebook_used": float(used.get(f"codebook_used/{count}", used["codebook_used"])),
        }
        for count, (mel, log_spectral, signal_to_distortion) in enumerate(metrics_by_count, start=1)
    ]


def pca_si_sdr(train: Source, test: Source, *, frame: int, count: int, batch_size: int) -> float:
    """Return the mean SI-SDR in dB of `test`, reconstructed from principal components of the frames of `train`.

    Silent frames of `train` and silent segments of `test` are excluded.

    Args:
        train: Source of the principal components.
        test: Source to reconstruct.
        frame: Time samples per frame; frames do not overlap.
        count: Number of principal components.
        batch_size: Samples per batch.
    """
    frame_sum, product_sum, num_frames = torch.zeros(frame).double(), torch.zeros(frame, frame).double(), 0
    for batch in _batches(train, batch_size):
        frames = _frames(batch.masked_x(), frame).flatten(0, -2).double()
        frames = frames[frames.square().sum(1) > 0]
        frame_sum, product_sum = frame_sum + frames.sum(0), product_sum + frames.T @ frames
        num_frames += len(frames)
    mean = frame_sum / max(num_frames, 1)
    # Eigenvectors of the covariance matrix, in ascending order of the eigenvalues.
    _, eigenvectors = torch.linalg.eigh(product_sum / max(num_frames, 1) - mean.outer(mean))
    components = eigenvectors[:, -count:]
    ratios = []
    for batch in _batches(test, batch_size):
        x = batch.masked_x().double()
        frames = _frames(x, frame) - mean
        x_hat = (frames @ components @ components.T + mean).flatten(-2)[..., : x.shape[-1]]
        ratio = si_sdr(x_hat, x, batch.mask)
        ratios.append(ratio[x.flatten(1).square().sum(1) > 0])
    return float(torch.cat(ratios).mean())


def _batches(source: Source, batch_size: int) -> Iterator[Batch]:
    """Yield all samples of a source in order."""
    for index in torch.arange(len(source)).split(batch_size):
        yield source.batch(index)


def _frames(x: Tensor, size: int) -> Tensor:
    """Return the frames ``(B, C, frames, size)`` of waves ``(B, C, T)``, zero-padded at the end."""
    return torch.nn.functional.pad(x, (0, -x.shape[-1] % size)).unflatten(-1, (-1, size))
