"""What people measure on reconstructed clips.

Everything looks at the elements that count only: those the mask counts and, where a corruption has hidden a part of
held-out clips, the hidden ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aeframe.evaluation.metrics.base import SUM_DTYPE, ModelMetric
from aeframe.evaluation.metrics.reconstruction import evaluated_elements
from aeframe.types import ForwardOutput

if TYPE_CHECKING:
    from aeframe.model.autoencoder import Autoencoder

_CAP_DB = 100.0
_TIME = 2
"""Where frames stand in ``(B, C, T, H, W)``."""


def decibels(error: Tensor, span: float) -> Tensor:
    """Return the PSNR in dB of mean squared errors: 10 log10(span^2 / error), at most 100."""
    return -10 * (error / span**2).clamp_min(10 ** (-_CAP_DB / 10)).log10()


class _ClipMetric(ModelMetric):
    """A measurement of clips ``(C, T, H, W)`` whose values are bounded."""

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        return len(model.spec.shape) == 4 and model.spec.domain.kind in ("unit", "signed", "binary")


class _Means(_ClipMetric):
    """The mean over clips of some numbers that each clip has; a clip of which nothing counts has none."""

    names: tuple[str, ...]
    totals: Tensor
    num: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("totals", torch.zeros(len(self.names), dtype=SUM_DTYPE), dist_reduce_fx="sum")
        self.add_state("num", torch.zeros((), dtype=SUM_DTYPE), dist_reduce_fx="sum")

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        counted = evaluated_elements(out)
        values = torch.stack(self.measure(model, model.loss.mean(out.output).float(), out.batch.x.float(), counted), 1)
        there = counted.flatten(1).any(1)
        self.totals = self.totals + torch.where(there[:, None], values, 0.0).sum(0, dtype=SUM_DTYPE)
        self.num = self.num + there.sum()

    def measure(self, model: Autoencoder, x_hat: Tensor, x: Tensor, counted: Tensor) -> list[Tensor]:
        """Return numbers ``(B,)``, one for each of `names`, of clips ``(B, C, T, H, W)``."""
        raise NotImplementedError

    def compute(self) -> dict[str, Tensor]:
        return dict(zip(self.names, (self.totals / self.num).unbind(), strict=True))


class ClipPSNR(_Means):
    """The PSNR of whole clips in dB, mean over clips; ``_of_first_frame`` is that of the first frame, shown all along.

    A clip's is that of its mean squared error, over the range of the domain. What does not beat the copied frame knows
    nothing of motion.
    """

    higher_is_better = True
    names = ("clip_psnr", "clip_psnr_of_first_frame")

    def measure(self, model: Autoencoder, x_hat: Tensor, x: Tensor, counted: Tensor) -> list[Tensor]:
        copied = x[:, :, :1].expand_as(x)
        return [decibels(_mean_error(guess, x, counted, 1), _span(model)) for guess in (x_hat, copied)]


class FramePSNR(_Means):
    """The PSNR of single frames in dB, mean over frames and then clips; ``_worst`` is that of each clip's worst."""

    higher_is_better = True
    names = ("frame_psnr", "frame_psnr_worst")

    def measure(self, model: Autoencoder, x_hat: Tensor, x: Tensor, counted: Tensor) -> list[Tensor]:
        there = counted.movedim(_TIME, 1).flatten(2).any(2)
        frames = decibels(_mean_error(x_hat, x, counted, _TIME), _span(model))
        mean = frames.where(there, 0.0).sum(1) / there.sum(1).clamp(min=1)
        return [mean, frames.where(there, torch.inf).amin(1).where(there.any(1), 0.0)]


class Flicker(_Means):
    """|change of the reconstruction - change of x| from frame to frame, mean over elements and then clips.

    Less is steadier. ``_of_still`` is that of a clip in which nothing moves: the mean change of x itself. An element
    counts where it does in both frames.
    """

    higher_is_better = False
    names = ("flicker", "flicker_of_still")

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        return super().applies(model) and model.spec.shape[1] > 1

    def measure(self, model: Autoencoder, x_hat: Tensor, x: Tensor, counted: Tensor) -> list[Tensor]:
        change, both = x.diff(dim=_TIME), counted[:, :, 1:] & counted[:, :, :-1]
        error = (x_hat.diff(dim=_TIME) - change).abs()
        return [_mean(value, both, 1) for value in (error, change.abs())]


class FrameMSE(_ClipMetric):
    """The squared error per element at each place in time: of the first frame, the last and the worst one.

    Args:
        each: Give all of them, as ``frame_mse_000`` and so on.
    """

    higher_is_better = False
    totals: Tensor
    num: Tensor

    def __init__(self, model: Autoencoder, *, each: bool = False) -> None:
        super().__init__()
        self.each = each
        for name in ("totals", "num"):
            self.add_state(name, torch.zeros(model.spec.shape[1], dtype=SUM_DTYPE), dist_reduce_fx="sum")

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        counted = evaluated_elements(out)
        error = (model.loss.mean(out.output).float() - out.batch.x.float()).square().where(counted, 0.0)
        self.totals = self.totals + error.movedim(_TIME, 0).flatten(1).sum(1, dtype=SUM_DTYPE)
        self.num = self.num + counted.movedim(_TIME, 0).flatten(1).sum(1)

    def compute(self) -> dict[str, Tensor]:
        # A frame that nobody hid, where hidden ones count, has no error.
        frames = (self.totals / self.num)[self.num > 0]
        if not len(frames):
            frames = self.totals.new_full((1,), torch.nan)
        found = {"frame_mse_first": frames[0], "frame_mse_last": frames[-1], "frame_mse_worst": frames.max()}
        every = (self.totals / self.num).tolist() if self.each else []
        return found | {f"frame_mse_{place:03d}": self.totals.new_tensor(value) for place, value in enumerate(every)}


def _mean_error(x_hat: Tensor, x: Tensor, counted: Tensor, kept: int) -> Tensor:
    return _mean((x_hat - x).square(), counted, kept)


def _mean(value: Tensor, counted: Tensor, kept: int) -> Tensor:
    """Return the mean ``(B,)`` of what counts, or ``(B, T)`` with `kept` 2; 0 where nothing does."""
    value, counted = (t.movedim(_TIME, 1).flatten(kept) for t in (value.where(counted, 0.0), counted))
    return value.sum(kept) / counted.sum(kept).clamp(min=1)


def _span(model: Autoencoder) -> float:
    low, high = model.spec.domain.bounds
    return high - low
