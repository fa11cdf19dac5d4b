"""Figures of a trained model: reconstructions, samples, interpolations, latent map and curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from matplotlib.figure import Figure
from torch import Tensor

from aeframe.data.sample_comparison import SampleComparison
from aeframe.evaluation.measurement import Measurement
from aeframe.evaluation.reconstruction import reconstruct_batch
from aeframe.evaluation.report.curves import draw_curves
from aeframe.evaluation.report.interpolation import interpolate_codes, interpolate_condition
from aeframe.evaluation.report.latent_map import draw_latent_map
from aeframe.evaluation.report.players import write_players
from aeframe.evaluation.step import evaluation_mode
from aeframe.model.autoencoder import Autoencoder
from aeframe.noise import PICTURES, noise_of, random_rows
from aeframe.parts.corruptions import NoCorruption
from aeframe.parts.samplers.base import Sampler
from aeframe.types import Batch

if TYPE_CHECKING:
    from aeframe.data.modality import Modality

_NUM_SHOWN = 10
"""Number of reconstructions."""
_NUM_SAMPLES = 64
"""Number of new samples."""
_NUM_PAIRS, _NUM_STEPS = 5, 10
"""Number of interpolations, and of samples in each, both ends included."""
_NUM_MAPPED = 2000
"""Maximum number of codes in the latent map."""
_DPI = 120


@torch.no_grad()
def draw_pictures(
    folder: Path,
    model: Autoencoder,
    modality: Modality,
    batch: Batch,
    sampler: Sampler,
    *,
    seed: int,
    measurements: Sequence[Measurement],
    comparison: SampleComparison | None = None,
) -> list[Path]:
    """Write the figures as PNG files, and return their paths; write sounds and videos as files to play beside them.

    ``reconstructions.png``, ``samples.png``, ``interpolation.png`` (for at least two samples), ``latent.png`` (for at
    least three), ``curves.png`` (if there are measurements), and the figures of the comparison.

    Args:
        folder: Where the files are written; created if necessary.
        model: The model, on the device of `batch`. It is evaluated in evaluation mode; the mode is restored.
        modality: Renders samples as figures.
        batch: Test samples; ``extras["label"]`` colours the latent map. A figure of fewer samples shows a random subset
            of them, since they may be sorted.
        sampler: Draws the codes of new samples.
        seed: Seed of all random draws.
        measurements: Loss terms and metrics of the run, for the curves.
        comparison: How new samples compare with test samples, by the measures of the modality.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Figure] = {}
    with evaluation_mode(model), noise_of(batch.x.device, seed, PICTURES):
        reconstructed = _reconstructions(model, _subset(batch, _NUM_SHOWN, seed), seed)
        figures["reconstructions"] = _render(modality, reconstructed)
        samples = _samples(model, sampler, batch, seed)
        figures["samples"] = _render(modality, {"samples": samples})
        if len(batch) > 1:
            figures["interpolation"] = _render(modality, _interpolation(model, batch, seed))
        if len(batch) > 2:
            mapped = _subset(batch, _NUM_MAPPED, seed)
            codes = model.embed(mapped).mean
            figures["latent"] = draw_latent_map(codes.flatten(1).cpu(), mapped.extras.get("label"))
    if measurements:
        figures["curves"] = draw_curves(measurements)
    if comparison is not None and comparison.draw is not None:
        figures = {**comparison.draw(), **figures}
    paths = []
    for name, figure in figures.items():
        paths.append(folder / f"{name}.png")
        figure.savefig(paths[-1], dpi=_DPI)
    played = {title: reconstructed[title] for title in ("original", "reconstruction")}
    write_players(folder, modality, {**played, "sample": samples})
    return paths


def _subset(batch: Batch, num: int, seed: int) -> Batch:
    return batch.rows(random_rows(len(batch), num, seed).to(batch.x.device))


def _render(modality: Modality, panels: dict[str, Tensor]) -> Figure:
    return modality.render({title: x.cpu() for title, x in panels.items()})


def _reconstructions(model: Autoencoder, batch: Batch, seed: int) -> dict[str, Tensor]:
    """Return panels of originals, corrupted inputs (if the model has a corruption) and reconstructions."""
    # Masked values are NaN in pictures, so that padding is not drawn.
    panels = {"original": batch.nan_masked_x()}
    corrupted = model.corruption(batch)
    if not isinstance(model.corruption, NoCorruption):
        panels["input of the encoder"] = corrupted.nan_masked_x()
    panels["reconstruction"] = reconstruct_batch(model, batch, encoder_input=corrupted, seed=seed)
    return panels


def _samples(model: Autoencoder, sampler: Sampler, batch: Batch, seed: int) -> Tensor:
    """Return new samples; if the model is conditional, they take the conditions of random test samples."""
    z = sampler.sample(model, _NUM_SAMPLES)
    condition = _subset(batch, _NUM_SAMPLES, seed).condition
    if condition is not None:
        condition = condition[torch.arange(_NUM_SAMPLES, device=condition.device) % len(condition)]
    return model.generate(z, condition=condition, draw=model.loss.draws_samples)


def _interpolation(model: Autoencoder, batch: Batch, seed: int) -> dict[str, Tensor]:
    """Return a panel for each of a few pairs of samples: the decoded interpolation between them."""
    num_pairs = min(_NUM_PAIRS, len(batch) // 2)
    pairs = _subset(batch, 2 * num_pairs, seed)
    codes = model.embed(pairs).mean
    # In sorted data, neighbours are alike: each of the first half is paired with one of the second.
    path = interpolate_codes(model.latent, codes[:num_pairs], codes[num_pairs:], _NUM_STEPS)
    condition = None
    if pairs.condition is not None:
        condition = interpolate_condition(pairs.condition[:num_pairs], pairs.condition[num_pairs:], _NUM_STEPS)
    x = model.generate(path.flatten(0, 1), condition=None if condition is None else condition.flatten(0, 1))
    x = x.unflatten(0, (num_pairs, _NUM_STEPS))
    return {f"from sample {pair + 1} to {num_pairs + pair + 1}": x[pair] for pair in range(num_pairs)}
