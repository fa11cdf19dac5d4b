import torch
from torch import nn

from aeframe.evaluation.metrics.base import ModelMetric
from aeframe.parts import ActivationTraits, Corruption, Sampler, Schedule
from aeframe.parts.critics.codes import DiscriminatorZ
from aeframe.types import LossTerms


class InPlace(Corruption):
    """Adds noise to its input in place."""

    def corrupt(self, x):
        return x.add_(0.1 * torch.randn_like(x))


class OutOfRange(nn.Module):
    """Declares values in [0, 1], and returns values outside."""

    traits = ActivationTraits(0.0, 1.0)

    def forward(self, x):
        return 0.5 + 0.1 * x


class Averaging(DiscriminatorZ):
    """Returns the mean over the batch for every sample."""

    def terms(self, model, out, progress):
        raw = super().terms(model, out, progress).raw
        terms = LossTerms()
        for name, value in raw.items():
            terms.add(name, value.mean().expand_as(value))
        return terms


class CountingCalls(Schedule):
    """Increases at each call."""

    def __init__(self, *, start: float = 0.0):
        self.value = start

    def __call__(self, progress):
        self.value += 1.0
        return self.value


class UnsavedMean(Sampler):
    """Draws around a fitted mean that is not a buffer."""

    requires_fit = True

    def __init__(self):
        super().__init__()
        self.mean = 0.0

    def fit(self, z, codes):
        self.mean = float(z.mean()) + 1.0

    def sample(self, model, num):
        return self.mean + torch.randn(num, *model.latent.shape)


class MeanOfMeans(ModelMetric):
    """The squared error, averaged over batches with equal weight."""

    def __init__(self):
        super().__init__()
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("batches", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, model, out):
        self.total += (model.loss.mean(out.output) - out.batch.x).square().mean()
        self.batches += 1

    def compute(self):
        return self.total / self.batches


class Ascent(torch.optim.SGD):
    """Increases the loss."""

    def __init__(self, params, *, lr: float = 1e-3):
        super().__init__(params, lr=lr, maximize=True)
