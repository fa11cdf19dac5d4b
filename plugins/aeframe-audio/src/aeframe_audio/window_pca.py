"""The metric `window_pca`: the error of PCA of windows of the wave, with as many numbers a second as the code.

The baseline ``mse_of_pca`` compares whole segments, and is left out where segments are padded, as most sounds are.

Shapes: B segments (the samples of the batch), C channels, T time samples, F = C times the samples of a window.
"""

from __future__ import annotations

import math
from types import MappingProxyType

import torch
from torch import Tensor

from aeframe.evaluation.metrics.base import SUM_DTYPE, Baseline, ModelMetric
from aeframe.evaluation.metrics.reconstruction import observed_elements
from aeframe.model.autoencoder import Autoencoder
from aeframe.types import Batch, ForwardOutput, Latent

_LONGEST = 512
"""Largest number of elements of a window: PCA of longer ones is better, and its cost grows with the square."""


def window_size(shape: tuple[int, ...], code_shape: tuple[int, ...]) -> tuple[int, int] | None:
    """Return the longest window, in time samples, in which the code has a whole number of numbers, and that number.

    A code ``(dim, positions)`` has `dim` numbers in every ceil(T / positions) samples, a flat code ``(dim,)`` as many
    in T. None if even the longest window of at most 512 elements has less than one number or no whole number of them,
    or as many as it has elements.

    Args:
        shape: ``(C, T)``.
        code_shape: The shape of one code.
    """
    channels, length = shape
    dim, *positions = code_shape
    num_positions = math.prod(positions)
    numbers, period = dim * num_positions, num_positions * -(-length // num_positions)
    shared = math.gcd(numbers, period)
    unit, numbers_of_unit = period // shared, numbers // shared
    repeats = min(_LONGEST // channels, length) // unit
    if not repeats or numbers_of_unit >= channels * unit:
        return None
    return repeats * unit, repeats * numbers_of_unit


class WindowPCA(ModelMetric):
    """The mean squared error per element of PCA of windows, fitted to training segments: a baseline of ``mse``.

    Segments are cut into consecutive windows of at most 512 elements. PCA has as many components as the code has
    numbers in a window, so that both have equal numbers a second. Windows with padding are left out. The error is
    computed from the second moments of the windows, hence exact for all evaluated segments. Not defined for codes of
    integers, which have bits and not numbers, and for sparse codes.
    """

    higher_is_better = False
    baselines = MappingProxyType(
        {"mse_of_window_pca": Baseline("mse", "PCA of windows, with as many numbers a second as the code,")}
    )
    uses_training_samples = True
    test_only = True
    moments: Tensor
    """``(F, F)``: sum of x x^T over windows."""
    totals: Tensor
    """``(F,)``: sum of x over windows."""
    num: Tensor
    """``()``: number of windows."""

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        size = window_size(model.spec.shape, model.latent.shape)
        assert size is not None
        self.window, self.num_components = size
        num_elements = model.spec.shape[0] * self.window
        self.add_state("moments", torch.zeros(num_elements, num_elements, dtype=SUM_DTYPE), dist_reduce_fx="sum")
        self.add_state("totals", torch.zeros(num_elements, dtype=SUM_DTYPE), dist_reduce_fx="sum")
        self.add_state("num", torch.zeros((), dtype=SUM_DTYPE), dist_reduce_fx="sum")
        self.start_training_samples()

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        return (
            len(model.spec.shape) == 2
            and model.spec.domain.kind in ("real", "signed", "unit")
            and not model.latent.provides & {"codes", "sparse", "hierarchy"}
            and window_size(model.spec.shape, model.latent.shape) is not None
        )

    def start_training_samples(self) -> None:
        self._training: tuple[Tensor, Tensor, int] | None = None

    def update_training(self, model: Autoencoder, batch: Batch, latent: Latent) -> None:
        windows = self._windows(batch)
        moments, totals, num = windows.T @ windows, windows.sum(0), len(windows)
        if self._training is not None:
            before = self._training
            moments, totals, num = moments + before[0], totals + before[1], num + before[2]
        self._training = moments, totals, num

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        windows = self._windows(out.batch)
        self.moments = self.moments + windows.T @ windows
        self.totals, self.num = self.totals + windows.sum(0), self.num + len(windows)

    def compute(self) -> dict[str, Tensor]:
        if self._training is None or not self.num or self._training[2] <= self.num_components:
            return {}
        moments, totals, num = self._training
        mean = totals / num
        vectors = torch.linalg.eigh(moments / num - torch.outer(mean, mean)).eigenvectors[:, -self.num_components :]
        crossed = torch.outer(self.totals, mean)
        centred = self.moments - crossed - crossed.T + self.num * torch.outer(mean, mean)
        error = centred.trace() - torch.einsum("fk,fg,gk->", vectors, centred, vectors)
        return {"mse_of_window_pca": error.clamp(min=0) / (self.num * len(mean))}

    def protocol(self) -> str:
        if self._training is None or not self.num:
            return ""
        return (
            f"PCA of {self.num_components} numbers in each window of {self.window} time samples, as many a second as "
            f"the code; fitted to {self._training[2]} training windows, {int(self.num)} evaluated"
        )

    def _windows(self, batch: Batch) -> Tensor:
        """Return the windows without padding ``(n, F)`` of a batch."""
        num = batch.x.shape[-1] // self.window
        x, observed = (
            value[..., : num * self.window].unflatten(-1, (num, self.window)).transpose(1, 2).flatten(2).flatten(0, 1)
            for value in (batch.masked_x().to(SUM_DTYPE), observed_elements(batch))
        )
        return x[observed.all(1)]
