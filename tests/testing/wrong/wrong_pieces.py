import numpy as np
import torch
from torch import nn

from aeframe.evaluation.metrics.base import ModelMetric
from aeframe.parts import ActivationTraits, Corruption, Penalty, Sampler, Schedule
from aeframe.parts.critics.codes import DiscriminatorZ
from aeframe.parts.schedules import fixed
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


class _ElementSquares(ModelMetric):
    """The squared error of each element, without a fault, the base class of the others."""

    def __init__(self):
        super().__init__()
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, model, out):
        error = (model.loss.mean(out.output) - out.batch.masked_x()).square()
        counted = self.counted(out.batch).expand_as(error)
        self.total += (error * counted).sum()
        self.count += self.number(counted)

    def counted(self, batch):
        return torch.ones_like(batch.x) if batch.mask is None else batch.mask.float()

    def number(self, counted):
        return counted.sum()

    def compute(self):
        return self.total / self.count


class RandomHalf(_ElementSquares):
    """The squared error of a random half of the elements, drawn by torch."""

    def counted(self, batch):
        return (torch.rand(batch.x.shape) < 0.5).float()


class RandomHalfOfNumpy(_ElementSquares):
    """The squared error of a random half of the elements, drawn by numpy."""

    def counted(self, batch):
        return torch.from_numpy(np.random.rand(*batch.x.shape) < 0.5).float()  # noqa: NPY002


class OverPadding(_ElementSquares):
    """The squared error, divided by the number of elements with padding."""

    def number(self, counted):
        return counted.numel()


class MeanOfHits(ModelMetric):
    """The fraction of the elements that are nearly right, averaged over batches: 0 for a model that is not trained."""

    def __init__(self):
        super().__init__()
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("batches", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, model, out):
        self.total += ((model.loss.mean(out.output) - out.batch.x).abs() < 0.01).float().mean()
        self.batches += 1

    def compute(self):
        return self.total / self.batches


class CloseValues(Penalty):
    """The number of codes nearer to 0 than `radius`, averaged over the batch: 0 for all samples of a small model."""

    def __init__(self, *, weight: Schedule = fixed(1.0), radius: float = 1e-9):
        super().__init__()
        self.weight, self.radius = weight, radius

    def forward(self, model, out):
        distance = (self.radius - out.latent.z.flatten(1).norm(dim=1)).clamp(min=0)
        return distance.mean().expand_as(distance)


class Ascent(torch.optim.SGD):
    """Increases the loss."""

    def __init__(self, params, *, lr: float = 1e-3):
        super().__init__(params, lr=lr, maximize=True)
