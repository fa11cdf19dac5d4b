"""Metrics of sentences: perplexity, and exact reconstruction of tokens and sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from aeframe.evaluation.metrics.base import SUM_DTYPE, ModelMetric
from aeframe.types import Batch, ForwardOutput, TrainingProgress
from aeframe_text.specials import UNKNOWN

if TYPE_CHECKING:
    from aeframe.model.autoencoder import Autoencoder


class Perplexity(ModelMetric):
    """The perplexity per word, ``exp(nats_by_word)``, of the bound on the negative log-likelihood.

    ``words`` and ``tokens`` are the numbers of words and tokens in the evaluated sentences, where the end of a sentence
    counts as one of each. ``nats_by_word`` and ``nats_by_token`` are the total bound divided by these. Words are
    separated by whitespace whatever the tokeniser, so that models with different tokenisers can be compared. The bound
    of a VAE is estimated with one sample of z; it is an upper bound, and so is the perplexity. For a model without a
    bound, the reconstruction loss takes its place.

    A small vocabulary makes texts easy to predict: every rare word is ``<unk>``. ``perplexity_of_known`` and
    ``nats_by_known_word`` therefore leave out the words that are ``<unk>`` with their reconstruction terms, and keep
    the whole KL term; ``unknown_share`` is the fraction of ``<unk>`` among the words. Compare perplexities only
    where this fraction is equal.
    """

    sampled: ClassVar[bool] = True
    sums: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("sums", torch.zeros(5, dtype=SUM_DTYPE), dist_reduce_fx="sum")

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        return "words" in model.spec.extras and model.loss.unit == "nats"

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        # Scheduled weights do not enter the bound, so any training progress serves.
        bound = model.terms(out, TrainingProgress(batch=1, planned=1)).bound
        nats = out.reconstruction if bound is None else bound
        x, mask = out.batch.x, out.batch.mask
        num_tokens = x.new_tensor(x.numel()) if mask is None else mask.sum()
        unknown = x == UNKNOWN if mask is None else (x == UNKNOWN) & mask
        # The mean over importance samples, of which the output has K * B rows.
        of_unknown = model.loss(out.output.unflatten(0, (-1, len(x))), Batch(x, unknown)).mean(0)
        sums = (nats.sum(), out.batch.extras["words"].sum(), num_tokens, of_unknown.sum(), unknown.sum())
        self.sums = self.sums + torch.stack([value.to(SUM_DTYPE) for value in sums])

    def compute(self) -> dict[str, Tensor]:
        nats, words, tokens, of_unknown, unknown = self.sums.unbind()
        by_known_word = (nats - of_unknown) / (words - unknown)
        return {
            "perplexity": (nats / words).exp(),
            "perplexity_of_known": by_known_word.exp(),
            "nats_by_known_word": by_known_word,
            "unknown_share": unknown / words,
            "nats_by_word": nats / words,
            "nats_by_token": nats / tokens,
            "words": words,
            "tokens": tokens,
        }


class SentenceMatch(ModelMetric):
    """How exactly sentences are reconstructed by free-running decoding of the mean code.

    ``token_match`` is the fraction of tokens that are generated at their own position, ``exact_match`` the fraction of
    sentences without an error. The decoder's inputs are its own outputs; the metric ``accuracy`` uses teacher forcing
    instead.

    Args:
        rows: Only sentences whose row number in the data is below this are decoded, since token-by-token generation is
            slow.
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
            selected = (batch.index < self.rows).nonzero().squeeze(1)
            if not len(selected):
                return
            batch, z = batch.rows(selected), z[selected]
        generated = model.generate(z, condition=batch.condition, like=batch)
        valid = torch.ones_like(batch.x, dtype=torch.bool) if batch.mask is None else batch.mask
        # x may be padded only to the longest sentence of its batch; generated sentences have the full width.
        correct = (generated[:, : batch.x.shape[1]] == batch.x) & valid
        is_exact = correct.sum(1) == valid.sum(1)
        sums = (correct.sum(), valid.sum(), is_exact.sum(), is_exact.new_tensor(len(is_exact), dtype=torch.long))
        self.sums = self.sums + torch.stack([value.to(SUM_DTYPE) for value in sums])

    def compute(self) -> dict[str, Tensor]:
        correct, tokens, exact, sentences = self.sums.unbind()
        return {"token_match": correct / tokens, "exact_match": exact / sentences}
