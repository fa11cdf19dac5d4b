"""Every number that a model gives for a batch, under one name each."""

from __future__ import annotations

from contextlib import nullcontext

from torch import Tensor

from aeframe.model.autoencoder import Autoencoder
from aeframe.noise import noise_of
from aeframe.types import Batch, ForwardOutput, TrainingProgress


def passed(model: Autoencoder, batch: Batch, *, sample: bool | None = None) -> ForwardOutput:
    """Take a batch through the model with as many importance samples as its objective asks for."""
    p: ForwardOutput = model(batch, sample=sample, num_samples=model.objective.num_samples)
    return p


def undrawn(model: Autoencoder, batch: Batch) -> ForwardOutput:
    """Take a batch through the model with nothing drawn.

    What corrupts held-out samples has to draw; it has the same noise each time, as in the evaluator.
    """
    noise = noise_of(batch.x.device, 4) if model.corruption.in_evaluation else nullcontext()
    with noise:
        p: ForwardOutput = model(batch, sample=False)
    return p


def all_terms(model: Autoencoder, out: ForwardOutput, progress: TrainingProgress) -> dict[str, Tensor]:
    """Return the raw terms of the autoencoder and its critics, and the bound."""
    terms = model.terms(out, progress)
    found = dict(terms.raw)
    if terms.bound is not None:
        found["bound"] = terms.bound
    for label, of_critic in model.critic_terms(out, progress).items():
        found |= {f"{label}/{name}": value for name, value in of_critic.raw.items()}
    return found
