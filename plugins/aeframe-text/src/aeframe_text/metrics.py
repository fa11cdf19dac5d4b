"""What people measure on sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from aeframe.evaluation.metrics.base import SUM_DTYPE, ModelMetric
from aeframe.types import ForwardOutput, TrainingProgress

if TYPE_CHECKING:
    from aeframe.model.autoencoder import Autoencoder


class Perplexity(ModelMetric):
    """exp of the nats that the bound gives to a word: ``perplexity``; what it is made of comes with it.

    ``words`` and ``tokens`` count what was evaluated, the end of a sentence being one of each, and ``nats_by_word`` and
    ``nats_by_token`` share the bound out among them. Words are what stands between blanks, so that models with
    different tokens compare; with tokeniser words both are the same. The bound of a VAE is one draw's, and above
    minus the log-likelihood.
    """

    sampled: ClassVar[bool] = True
    sums: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("sums", torch.zeros(3, dtype=SUM_DTYPE), dist_reduce_fx="sum")

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        return "words" in model.spec.extras and model.loss.unit == "nats"

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        # No weight counts in a bound, so any moment of a run will do: its end.
        bound = model.terms(out, TrainingProgress(batch=1, planned=1)).bound
        nats = out.reconstruction if bound is None else bound
        x, mask = out.batch.x, out.batch.mask
        tokens = x.new_tensor(x.numel()) if mask is None else mask.sum()
        found = (nats.sum(), out.batch.extras["words"].sum(), tokens)
        self.sums = self.sums + torch.stack([each.to(SUM_DTYPE) for each in found])

    def compute(self) -> dict[str, Tensor]:
        nats, words, tokens = self.sums.unbind()
        return {
            "perplexity": (nats / words).exp(),
            "nats_by_word": nats / words,
            "nats_by_token": nats / tokens,
            "words": words,
            "tokens": tokens,
        }


class SentenceMatch(ModelMetric):
    """Say sentences again from their codes alone, and count what comes back: ``token_match``, the share of tokens that
    come at their own place, and ``exact_match``, the share of sentences that come back whole.

    The decoder goes on from its own words, where `accuracy` tells it the true ones before each place.

    Args:
        rows: Only the first so many sentences of a split, since each is said token by token.
    """

    sums: Tensor

    def __init__(self, *, rows: int = 1000) -> None:
        super().__init__()
        self.rows = rows
        self.add_state("sums", torch.zeros(4, dtype=SUM_DTYPE), dist_reduce_fx="sum")

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        return "words" in model.spec.extras

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        batch, z = out.batch, out.latent.mean
        if batch.index is not None:
            asked = (batch.index < self.rows).nonzero().squeeze(1)
            if not len(asked):
                return
            batch, z = batch.rows(asked), z[asked]
        new = model.generate(z, condition=batch.condition, like=batch)
        # x may be padded to the longest of its own batch only.
        counted = torch.ones_like(batch.x, dtype=torch.bool) if batch.mask is None else batch.mask
        right = (new[:, : batch.x.shape[1]] == batch.x) & counted
        whole = right.sum(1) == counted.sum(1)
        found = (right.sum(), counted.sum(), whole.sum(), whole.new_tensor(len(whole), dtype=torch.long))
        self.sums = self.sums + torch.stack([each.to(SUM_DTYPE) for each in found])

    def compute(self) -> dict[str, Tensor]:
        right, tokens, whole, sentences = self.sums.unbind()
        return {"token_match": right / tokens, "exact_match": whole / sentences}
