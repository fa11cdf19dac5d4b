import torch

from aeframe.parts import Loss


class LogCosh(Loss):
    """log cosh(x - x_hat), summed over the sample."""

    domains = frozenset({"real", "unit", "signed"})

    def __init__(self, shape, *, sharpness: float = 1.0):
        super().__init__()
        self.ndim, self.sharpness = len(shape), sharpness

    def mean(self, output):
        return output.select(-1 - self.ndim, 0)

    def elements(self, output, x):
        return torch.log(torch.cosh(self.sharpness * (self.mean(output) - x)))
