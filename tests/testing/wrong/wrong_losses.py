import torch
from torch import distributions

from aeframe.parts import ActivationTraits, Likelihood, Loss
from aeframe.tensors import per_sample


class Squared(Loss):
    """Squared error of rows, and nothing wrong yet."""

    domains = frozenset({"real"})

    def __init__(self, shape):
        super().__init__()
        self.ndim = len(shape)

    def mean(self, output):
        return output.unbind(-1 - self.ndim)[0]

    def elements(self, output, x):
        return (self.mean(output) - x).square()


class Mute(Loss):
    """Does not say which data it is for."""

    def __init__(self, shape):
        super().__init__()
        self.ndim = len(shape)

    def mean(self, output):
        return output.unbind(-1 - self.ndim)[0]

    def elements(self, output, x):
        return (self.mean(output) - x).square()


class Averaging(Squared):
    """Every sample is told the mean of the batch."""

    def forward(self, output, batch):
        loss = super().forward(output, batch)
        return loss.mean(-1, keepdim=True).expand_as(loss)


class Scalar(Squared):
    """The mean over everything, as torch's losses give it."""

    def forward(self, output, batch):
        return super().forward(output, batch).mean()


class UpsideDown(Squared):
    """A squared error with the sign of a log-likelihood."""

    def elements(self, output, x):
        return -super().elements(output, x).clamp(max=10.0)


class Overhearing(Squared):
    """Keeps the reconstruction small wherever it is, where the mask hides x as well."""

    def forward(self, output, batch):
        lead = output.ndim - batch.x.ndim
        return super().forward(output, batch) + 0.01 * per_sample(self.mean(output).square(), lead)


class Overflowing(Squared):
    """States reconstructions in [0, 1] and bounds nothing."""

    domains = frozenset({"unit"})

    @property
    def output_range(self):
        return ActivationTraits(0.0, 1.0)


class Uncountable(Likelihood):
    """A likelihood of counts whose draws are not whole numbers."""

    domains = frozenset({"count"})

    def __init__(self, shape):
        super().__init__()
        self.ndim = len(shape)

    @property
    def output_range(self):
        return ActivationTraits(0.0)

    def distribution(self, output):
        rate = torch.nn.functional.softplus(output.unbind(-1 - self.ndim)[0]) + 1e-3
        return distributions.Poisson(rate, validate_args=False)

    def sample(self, output):
        return super().sample(output) + 0.5


class Raising(Squared):
    """Has a mistake that any data would find."""

    def elements(self, output, x):
        return self.no_such_attribute
