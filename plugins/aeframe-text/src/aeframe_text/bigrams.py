"""The metric `bigrams`: the perplexity of a model of pairs of tokens, the baseline of a language model."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aeframe.data.modality import Source
from aeframe.evaluation.metrics.base import SUM_DTYPE, Baseline, ModelMetric
from aeframe.noise import random_rows
from aeframe.types import Batch, ForwardOutput
from aeframe_text.specials import START

if TYPE_CHECKING:
    from aeframe.model.autoencoder import Autoencoder

_MOST_SENTENCES = 200_000
"""Largest number of training sentences that are counted."""
_CHUNK = 1024


class BigramModel:
    """Probabilities of a token after another one, smoothed by Witten & Bell (1991, IEEE Trans. Inf. Theory 37).

    ``P(w | v) = (c(v, w) + t(v) P(w)) / (c(v) + t(v))``, where c counts, t(v) is the number of different tokens after
    v, and P(w) is the frequency of w, smoothed in the same way by the uniform distribution. Sentences begin after a
    start token.

    Args:
        pairs: ``(N,)`` the tokens of the training split as ``previous * num_tokens + token``.
        num_tokens: The size of the vocabulary.
    """

    def __init__(self, pairs: Tensor, num_tokens: int) -> None:
        self.num_tokens = num_tokens
        self._pairs, self._counts = pairs.unique(return_counts=True)
        previous, token = self._pairs // num_tokens, self._pairs % num_tokens
        self._num_after = torch.zeros(num_tokens, dtype=torch.long).index_add_(0, previous, self._counts)
        self._kinds_after = previous.bincount(minlength=num_tokens)
        counts = torch.zeros(num_tokens, dtype=torch.long).index_add_(0, token, self._counts)
        kinds = int((counts > 0).sum())
        self._frequencies = (counts + kinds / num_tokens).to(SUM_DTYPE) / (len(pairs) + kinds)

    def log_prob(self, pairs: Tensor) -> Tensor:
        """Return ``log P(w | v)`` ``(N,)`` of pairs ``(N,)``, coded as those of the training split."""
        previous, token = pairs // self.num_tokens, pairs % self.num_tokens
        found = torch.searchsorted(self._pairs, pairs).clamp(max=len(self._pairs) - 1)
        counts = torch.where(self._pairs[found] == pairs, self._counts[found], 0)
        kinds, total = self._kinds_after[previous], self._num_after[previous]
        frequency = self._frequencies[token]
        smoothed = (counts + kinds * frequency) / (total + kinds).clamp(min=1)
        return torch.where(total > 0, smoothed, frequency).log()


class Bigrams(ModelMetric):
    """The perplexity per word of a bigram model of the training split: a baseline of ``perplexity``.

    The bigram model (`BigramModel`) knows the previous token only, and no code. It has the tokens of the model and
    predicts the end of each sentence too, so that ``perplexity_of_bigrams`` compares with ``perplexity``. At most
    200,000 training sentences are counted.
    """

    higher_is_better = False
    baselines = MappingProxyType({"perplexity_of_bigrams": Baseline("perplexity", "a bigram model")})
    test_only = True
    sums: Tensor

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        assert model.spec.domain.classes is not None
        self._num_tokens = model.spec.domain.classes
        self._bigrams: BigramModel | None = None
        self._num_training = 0
        self.add_state("sums", torch.zeros(2, dtype=SUM_DTYPE), dist_reduce_fx="sum")

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        return "words" in model.spec.extras and model.loss.unit == "nats"

    def read_training_split(self, train: Source, *, seed: int) -> None:
        rows = random_rows(len(train), _MOST_SENTENCES, seed)
        self._num_training = len(rows)
        pairs = [self._pairs(train.batch(chunk)) for chunk in rows.split(_CHUNK)]
        self._bigrams = BigramModel(torch.cat(pairs), self._num_tokens)

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        if self._bigrams is None:
            return
        nats = -self._bigrams.log_prob(self._pairs(out.batch)).sum()
        words = out.batch.extras["words"].sum()
        self.sums = self.sums + torch.stack([nats.to(self.sums), words.to(self.sums)])

    def compute(self) -> dict[str, Tensor]:
        nats, words = self.sums.unbind()
        return {"perplexity_of_bigrams": (nats / words).exp()} if words > 0 else {}

    def protocol(self) -> str:
        if self._bigrams is None:
            return ""
        return f"pairs of tokens in {self._num_training:,} training sentences, smoothed by Witten and Bell's method"

    def _pairs(self, batch: Batch) -> Tensor:
        """Return each token with the one before it, ``(n,)`` on the CPU."""
        x = batch.x.cpu()
        previous = torch.cat([torch.full_like(x[:, :1], START), x[:, :-1]], dim=1)
        pairs = previous * self._num_tokens + x
        return pairs.flatten() if batch.mask is None else pairs[batch.mask.cpu()]
