"""The negative log-likelihood of held-out samples, estimated by importance sampling."""

from __future__ import annotations

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.evaluation.metrics.base import SUM_DTYPE, ModelMetric
from aeframe.evaluation.scoring import score_batch
from aeframe.model.autoencoder import Autoencoder
from aeframe.types import ForwardOutput, TrainingProgress


class NegativeLogLikelihood(ModelMetric):
    """Negative log-likelihood -log p(x) per sample in nats, estimated from K importance samples of z.

    The estimate is the importance-weighted bound (Burda, Grosse & Salakhutdinov 2016, arXiv 1509.00519): in expectation
    it is an upper bound on -log p(x), and falls with K. The literature reports K = 5,000 for small pictures. Each
    sample costs K passes through the decoder. For models with a posterior, a likelihood as loss, and an objective that
    bounds it.

    Args:
        samples: K.
        chunk: Pairs of a sample and a z that are decoded at a time; it bounds the memory.
        seed: Seed of z, whose draws are a function of the seed and of the content of each sample.
    """

    total: Tensor
    """``()``: sum over samples of their negative log-likelihood."""
    count: Tensor
    """``()``: number of samples."""

    def __init__(self, *, samples: int = 100, chunk: int = 4096, seed: int = 0) -> None:
        super().__init__()
        if samples < 1 or chunk < 1:
            raise AeframeError(f"metric nll takes samples and chunk of at least 1, found {samples} and {chunk}")
        self.samples, self.chunk, self.seed = samples, chunk, seed
        self.add_state("total", torch.zeros((), dtype=SUM_DTYPE), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=SUM_DTYPE), dist_reduce_fx="sum")

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        return (
            "posterior" in model.latent.provides
            and model.objective.bounds_likelihood
            and model.loss.unit == "nats"
            and not model.corruption.in_evaluation
        )

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        scores = score_batch(
            "metric nll",
            model,
            out.batch,
            TrainingProgress(batch=1, planned=1),
            batch_size=self.chunk,
            draws=1,
            importance=self.samples,
            seed=self.seed,
        )
        self.total = self.total + scores.sum(dtype=SUM_DTYPE)
        self.count = self.count + len(scores)

    def compute(self) -> Tensor:
        return self.total / self.count

    def protocol(self) -> str:
        return f"{self.samples} importance samples of z for each sample, seed {self.seed}"
