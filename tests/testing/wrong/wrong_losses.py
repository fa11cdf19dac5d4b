import torch
from torch import distributions

from aeframe.parts import ActivationTraits, Likelihood, Loss
from aeframe.tensors import per_sample


class Squared(Loss):
    """Squared error without a fault, the base class of the others."""

    domains = frozenset({"real"})

    def __init__(self, shape):
        super().__init__()
        self.ndim = len(shape)

    def mean(self, output):
        return output.unbind(-1 - self.ndim)[0]

    def elements(self, output, x):
        return (self.mean(output) - x).square()


class WithoutDomains(Loss):
    """Does not declare its domains of data."""

    def __init__(self, shape):
        super().__init__()
        self.ndim = len(shape)

    def mean(self, output):
        return output.unbind(-1 - self.ndim)[0]

    def elements(self, output, x):
        return (self.mean(output) - x).square()


class Averaging(Squared):
    """Returns the mean of the batch for each sample."""

    def forward(self, output, batch):
        loss = super().forward(output, batch)
        return loss.mean(-1, keepdim=True).expand_as(loss)


class Scalar(Squared):
    """Returns one mean over the batch, as losses of torch do by default."""

    def forward(self, output, batch):
        return super().forward(output, batch).mean()


class WrongSign(Squared):
    """The negative squared error, bounded from below."""

    def elements(self, output, x):
        return -super().elements(output, x).clamp(max=10.0)


class IgnoringMask(Squared):
    """Adds the squared reconstruction, masked elements included."""

    def forward(self, output, batch):
        lead = output.ndim - batch.x.ndim
        return super().forward(output, batch) + 0.01 * per_sample(self.mean(output).square(), lead)


class Unbounded(Squared):
    """Declares reconstructions in [0, 1] without bounding them."""

    domains = frozenset({"unit"})

    @property
    def output_range(self):
        return ActivationTraits(0.0, 1.0)


class FractionalCounts(Likelihood):
    """A likelihood of counts whose samples are not integers."""

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
    """Raises an AttributeError for any data."""

    def elements(self, output, x):
        return self.no_such_attribute


class MeanOverPadding(Squared):
    """Divides by the number of elements with padding."""

    def forward(self, output, batch):
        return super().forward(output, batch) / batch.x[0].numel()


class OrderedSets(Loss):
    """Accepts unordered elements, and compares them by position."""

    domains = frozenset({"real"})
    by_position = False

    def mean(self, output):
        return output.select(-3, 0)

    def forward(self, output, batch):
        return (self.mean(output) - batch.masked_x()).square().sum((-1, -2))


class Sets(Loss):
    """The mean squared distance to the nearest element, without a fault."""

    domains = frozenset({"real", "unit"})
    by_position = False

    def mean(self, output):
        return output.select(-3, 0)

    def forward(self, output, batch):
        x, x_hat = batch.masked_x(), self.mean(output)
        nearest = (x.unsqueeze(-2) - x_hat.unsqueeze(-3)).square().sum(-1).amin(-1)
        if batch.mask is None:
            return nearest.mean(-1)
        return (nearest * batch.mask).sum(-1) / batch.mask.sum(-1).clamp(min=1)


class PaddedSets(Loss):
    """The mean squared distance to the nearest element, over the number of elements with padding."""

    domains = frozenset({"real"})
    by_position = False
    any_length = True

    def mean(self, output):
        return output.select(-3, 0)

    def forward(self, output, batch):
        x, x_hat = batch.masked_x(), self.mean(output)
        nearest = (x.unsqueeze(-2) - x_hat.unsqueeze(-3)).square().sum(-1).amin(-1)
        return (nearest if batch.mask is None else nearest * batch.mask).mean(-1)
