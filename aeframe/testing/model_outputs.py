"""The forward output and the loss terms of a model, for tests that compare them.

A loss term is one named summand of the loss, such as ``reconstruction``, with one number for each sample.
"""

from __future__ import annotations

from contextlib import nullcontext

from torch import Tensor

from aeframe.model.autoencoder import Autoencoder
from aeframe.noise import noise_of
from aeframe.types import Batch, ForwardOutput, TrainingProgress


def forward_pass(model: Autoencoder, batch: Batch, *, sample: bool | None = None) -> ForwardOutput:
    """Return the forward output with as many importance samples as the model's objective requires.

    Args:
        model: The model.
        batch: The samples.
        sample: Whether to sample z; None samples in training mode only.
    """
    out: ForwardOutput = model(batch, sample=sample, num_samples=model.objective.num_samples)
    return out


def deterministic_forward_pass(model: Autoencoder, batch: Batch) -> ForwardOutput:
    """Return the forward output without sampling z.

    A corruption that is active in evaluation receives the same noise at each call, as in the evaluator.
    """
    # The seed 4 is arbitrary.
    noise = noise_of(batch.x.device, 4) if model.corruption.in_evaluation else nullcontext()
    with noise:
        out: ForwardOutput = model(batch, sample=False)
    return out


def all_terms(model: Autoencoder, out: ForwardOutput, progress: TrainingProgress) -> dict[str, Tensor]:
    """Return the unweighted loss terms of the model and its critics, ``(B,)`` each.

    If the objective is a bound on -log p(x), it is included as ``bound``.

    The names of a critic's terms start with its label and a slash.
    """
    model_terms = model.terms(out, progress)
    terms = dict(model_terms.raw)
    if model_terms.bound is not None:
        terms["bound"] = model_terms.bound
    for label, critic_terms in model.critic_terms(out, progress).items():
        terms |= {f"{label}/{name}": value for name, value in critic_terms.raw.items()}
    return terms
