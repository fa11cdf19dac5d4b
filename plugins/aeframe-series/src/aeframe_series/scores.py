"""How far a series lies from what a model makes of it: by value, by moment and by window."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.types import Batch
from aeframe_series.windows import WindowSource

Reconstruct = Callable[[Batch], Tensor]
_AT_ONCE = 256
_LEVELS = 10_001
"""Of a distribution that is kept: a threshold is known to a ten-thousandth of the moments."""
_KEPT = ("point_quantiles", "window_quantiles")


@dataclass(frozen=True, slots=True)
class Scores:
    """Squared errors in the scaled unit; NaN where nothing was there to be compared."""

    reconstruction: NDArray[np.float64]
    """``(N, D)``: the mean over the windows that hold a moment, scaled; NaN where none does."""
    errors: NDArray[np.float64]
    """``(N, D)``: of each value, the mean over the windows that hold it."""
    points: NDArray[np.float64]
    """``(N,)``: the mean over the values of a moment."""
    windows: NDArray[np.float64]
    """``(W,)``: the mean over the values of a window."""


@torch.no_grad()
def score(reconstruct: Reconstruct, source: WindowSource) -> Scores:
    """Compare every window with its reconstruction.

    Args:
        reconstruct: What the model makes of a batch, ``(B, D, T)``, with nothing drawn.
        source: The windows; they may overlap.
    """
    total: Tensor | None = None
    held = torch.zeros(source.length, dtype=torch.float64)
    windows = []
    for index in torch.arange(len(source)).split(_AT_ONCE):
        batch = source.batch(index)
        made = reconstruct(batch).cpu().double()
        counted = torch.ones_like(batch.x, dtype=torch.bool) if batch.mask is None else batch.mask
        errors = torch.where(counted, (made - batch.x).square(), 0.0)
        windows.append(errors.flatten(1).sum(1) / counted.flatten(1).sum(1))
        places = (source.starts[index].unsqueeze(1) + torch.arange(source.window)).flatten()
        held.index_add_(0, places, torch.ones(len(places), dtype=torch.float64))
        like = torch.stack([made, errors, counted.double()]).permute(0, 2, 1, 3).flatten(2)
        total = like.new_zeros(*like.shape[:2], source.length) if total is None else total
        total.index_add_(2, places, like)
    assert total is not None
    made, errors, counted = total
    # 0 / 0 is NaN, which is what is known of moments that no window holds, and of values that are missing.
    by_value = errors / counted
    present = counted > 0
    points = torch.where(present, by_value, 0.0).sum(0) / present.sum(0)
    return Scores((made / held).T.numpy(), by_value.T.numpy(), points.numpy(), torch.cat(windows).numpy())


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What scores are on held-out data, as a whole distribution, so that any quantile can be asked for later."""

    points: NDArray[np.float64]
    """Quantiles of the scores of moments, at even levels from 0 to 1."""
    windows: NDArray[np.float64]

    @classmethod
    def learn(cls, scores: Scores) -> Thresholds | None:
        """Keep the distributions of some scores; None where no value was there."""
        kept = [found[~np.isnan(found)] for found in (scores.points, scores.windows)]
        if not len(kept[0]):
            return None
        return cls(*(np.quantile(found, np.linspace(0, 1, min(len(found), _LEVELS))) for found in kept))

    def at(self, quantile: float, *, windows: bool = False) -> float:
        """Return the score that a share `quantile` of the held-out moments (or windows) does not exceed."""
        known = self.windows if windows else self.points
        return float(np.interp(quantile, np.linspace(0, 1, len(known)), known))

    def state(self) -> dict[str, Tensor]:
        """Return them as tensors."""
        return {name: torch.from_numpy(each) for name, each in zip(_KEPT, (self.points, self.windows), strict=True)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Thresholds | None:
        """Take back what `state` gave; None where there is nothing."""
        if _KEPT[0] not in state:
            return None
        return cls(*(torch.as_tensor(state[name]).numpy() for name in _KEPT))
