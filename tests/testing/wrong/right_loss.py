import torch

from aeframe.parts import Loss


class Cauchy(Loss):
    """log(1 + (x - x_hat)^2 / scale^2), summed over the sample."""

    domains = frozenset({"real", "unit", "signed"})

    def __init__(self, shape, *, scale: float = 1.0):
        super().__init__()
        self.ndim, self.scale = len(shape), scale

    def mean(self, output):
        return output.select(-1 - self.ndim, 0)

    def elements(self, output, x):
        return torch.log1p(((self.mean(output) - x) / self.scale) ** 2)
