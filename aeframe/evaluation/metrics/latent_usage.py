"""How much of the latent is used: active units of a continuous code, usage of a codebook."""

from __future__ import annotations

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.evaluation.metrics.base import SUM_DTYPE, ModelMetric
from aeframe.model.autoencoder import Autoencoder
from aeframe.types import Batch, ForwardOutput, Latent

_MIN_SAMPLES = 20
"""Number of samples below which no variance is estimated."""


class ActiveUnits(ModelMetric):
    """Count the latent dimensions whose posterior mean has a variance above `threshold` over samples.

    Burda, Grosse & Salakhutdinov 2016, arXiv 1509.00519, with their threshold. The samples are those of the training
    split in a test, and those of the evaluated split in training. A variance over fewer than 20 samples is too
    uncertain: nothing is returned.
    """

    total: Tensor
    """``(*z_shape)``: sum over samples of the posterior mean."""
    squares: Tensor
    """``(*z_shape)``: sum over samples of its square."""
    count: Tensor
    """``()``: number of samples."""
    uses_training_samples = True

    def __init__(self, model: Autoencoder, *, threshold: float = 0.01) -> None:
        super().__init__()
        self.threshold = threshold
        self.start_training_samples()
        self._num, self._of = 0, ""
        for name, shape in (("total", model.latent.shape), ("squares", model.latent.shape), ("count", ())):
            self.add_state(name, torch.zeros(shape, dtype=SUM_DTYPE), dist_reduce_fx="sum")

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        return "posterior" in model.latent.provides

    def start_training_samples(self) -> None:
        self._training: list[Tensor] = []

    def update_training(self, model: Autoencoder, batch: Batch, latent: Latent) -> None:
        self._training.append(latent.mean.to(SUM_DTYPE))

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        mean = out.latent.mean.to(SUM_DTYPE)
        self.total, self.squares = self.total + mean.sum(0), self.squares + mean.square().sum(0)
        self.count = self.count + len(mean)

    def compute(self) -> dict[str, Tensor]:
        if self._training:
            means = torch.cat(self._training)
            self._num, self._of = len(means), "training samples"
            variance = means.var(0, correction=0)
        else:
            self._num, self._of = int(self.count), "samples"
            variance = self.squares / self.count - (self.total / self.count).square()
        return {} if self._num < _MIN_SAMPLES else {"active_units": (variance > self.threshold).sum()}

    def protocol(self) -> str:
        if self._num < _MIN_SAMPLES:
            return f"not measured: a variance over {self._num} {self._of} is too uncertain" if self._num else ""
        return f"posterior means of {self._num} {self._of}"


class CodebookUse(ModelMetric):
    """Measure ``codebook_used``, the fraction of codes that are chosen at least once, and ``codebook_perplexity``, exp
    of the entropy (in nats) of the frequencies of the codes.

    Frequencies are counted over all positions. For a quantiser with several levels (codebooks), ``codebook_used/1``,
    ``codebook_perplexity/1`` and so on are the values of each level, and the names without a number are their means.
    """

    chosen: Tensor
    """``(levels, codes)``: how often each code was chosen."""

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        latent = model.latent
        chosen = torch.zeros(latent.num_levels, latent.num_codes, dtype=torch.long)
        self.add_state("chosen", chosen, dist_reduce_fx="sum")

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        return "codes" in model.latent.provides

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        if out.latent.codes is None:
            raise AeframeError(f"latent {type(model.latent).__name__} provides codes, but returned none")
        codes = out.latent.codes.long().flatten(0, -2).T
        # Code -1 marks a level that was left out. Unlike bincount, scatter_add does not wait for the device.
        self.chosen = self.chosen.scatter_add(1, codes.clamp(min=0), (codes >= 0).long())

    def compute(self) -> dict[str, Tensor]:
        frequency = self.chosen.to(SUM_DTYPE) / self.chosen.sum(1, keepdim=True).clamp(min=1)
        perplexity = (-torch.special.xlogy(frequency, frequency).sum(1)).exp()
        used = (self.chosen > 0).to(SUM_DTYPE).mean(1)
        values = {"codebook_used": used.mean(), "codebook_perplexity": perplexity.mean()}
        if len(self.chosen) > 1:
            for level in range(len(self.chosen)):
                values[f"codebook_used/{level + 1}"] = used[level]
                values[f"codebook_perplexity/{level + 1}"] = perplexity[level]
        return values
