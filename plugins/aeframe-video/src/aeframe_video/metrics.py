"""Metrics of reconstructed clips: PSNR, squared error per frame, flicker, and clips without motion.

All metrics include only the elements of the mask and, if a corruption masks held-out clips, only the elements that it
masks (see `aeframe.evaluation.metrics.reconstruction`).

Shapes: B clips (the samples of the batch), C channels, T frames, H x W pixels. `included` is True for the elements to
include.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aeframe.evaluation.metrics.base import SUM_DTYPE, Baseline, ModelMetric
from aeframe.evaluation.metrics.reconstruction import evaluated_elements
from aeframe.types import ForwardOutput

if TYPE_CHECKING:
    from aeframe.model.autoencoder import Autoencoder

_MAX_DB = 100.0
"""Upper limit of the PSNR, which is infinite without an error."""
_TIME_DIM = 2
"""The dimension of time in ``(B, C, T, H, W)``."""


def psnr(error: Tensor, value_range: float) -> Tensor:
    """Return the PSNR in dB of mean squared errors: 10 log10(value_range^2 / error), at most 100."""
    return -10 * (error / value_range**2).clamp_min(10 ** (-_MAX_DB / 10)).log10()


class _ClipMetric(ModelMetric):
    """A metric of clips ``(C, T, H, W)`` with bounded values."""

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        return len(model.spec.shape) == 4 and model.spec.domain.kind in ("unit", "signed", "binary")


class _ClipMeans(_ClipMetric):
    """Means over clips of one or more values per clip, without clips that have no included element."""

    names: tuple[str, ...]
    totals: Tensor
    num_clips: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("totals", torch.zeros(len(self.names), dtype=SUM_DTYPE), dist_reduce_fx="sum")
        self.add_state("num_clips", torch.zeros((), dtype=SUM_DTYPE), dist_reduce_fx="sum")

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        included = evaluated_elements(out)
        values = torch.stack(self.measure(model, model.loss.mean(out.output).float(), out.batch.x.float(), included), 1)
        clip_included = included.flatten(1).any(1)
        self.totals = self.totals + torch.where(clip_included[:, None], values, 0.0).sum(0, dtype=SUM_DTYPE)
        self.num_clips = self.num_clips + clip_included.sum()

    def measure(self, model: Autoencoder, x_hat: Tensor, x: Tensor, included: Tensor) -> list[Tensor]:
        """Return one tensor ``(B,)`` for each of `names`; the last three arguments are ``(B, C, T, H, W)``."""
        raise NotImplementedError

    def compute(self) -> dict[str, Tensor]:
        return dict(zip(self.names, (self.totals / self.num_clips).unbind(), strict=True))


class ClipPSNR(_ClipMeans):
    """The PSNR in dB of the mean squared error of each clip, averaged over clips.

    The peak is the range of the domain. ``clip_psnr_of_first_frame`` is a baseline without motion: the PSNR if the
    first frame of x, repeated over the whole clip, were the reconstruction.
    """

    higher_is_better = True
    names = ("clip_psnr", "clip_psnr_of_first_frame")

    def measure(self, model: Autoencoder, x_hat: Tensor, x: Tensor, included: Tensor) -> list[Tensor]:
        first_frame = x[:, :, :1].expand_as(x)
        errors = (_mean_per_clip((estimate - x).square(), included) for estimate in (x_hat, first_frame))
        return [psnr(error, _value_range(model)) for error in errors]


class FramePSNR(_ClipMeans):
    """The PSNR of single frames in dB, averaged over the frames of a clip and then over clips.

    ``frame_psnr_worst`` is that of the worst frame of each clip, averaged over clips.
    """

    higher_is_better = True
    names = ("frame_psnr", "frame_psnr_worst")

    def measure(self, model: Autoencoder, x_hat: Tensor, x: Tensor, included: Tensor) -> list[Tensor]:
        frame_included = included.movedim(_TIME_DIM, 1).flatten(2).any(2)
        frames = psnr(_mean_per_frame((x_hat - x).square(), included), _value_range(model))
        mean = frames.where(frame_included, 0.0).sum(1) / frame_included.sum(1).clamp(min=1)
        worst = frames.where(frame_included, torch.inf).amin(1).where(frame_included.any(1), 0.0)
        return [mean, worst]


class Flicker(_ClipMeans):
    """The absolute error of the change between consecutive frames, averaged over elements and then clips.

    ``flicker_of_still`` is the error of a reconstruction without motion: the mean absolute change of x. An element is
    included if it is included in both frames.
    """

    higher_is_better = False
    names = ("flicker", "flicker_of_still")

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        return super().applies(model) and model.spec.shape[1] > 1

    def measure(self, model: Autoencoder, x_hat: Tensor, x: Tensor, included: Tensor) -> list[Tensor]:
        change, both_included = x.diff(dim=_TIME_DIM), included[:, :, 1:] & included[:, :, :-1]
        error = (x_hat.diff(dim=_TIME_DIM) - change).abs()
        return [_mean_per_clip(value, both_included) for value in (error, change.abs())]


class FrameMSE(_ClipMetric):
    """The mean squared error of the first, the last and the worst frame.

    Args:
        each: Whether to return also the error of each frame, as ``frame_mse_000`` and so on.
    """

    higher_is_better = False
    totals: Tensor
    num_elements: Tensor

    def __init__(self, model: Autoencoder, *, each: bool = False) -> None:
        super().__init__()
        self.each = each
        for name in ("totals", "num_elements"):
            self.add_state(name, torch.zeros(model.spec.shape[1], dtype=SUM_DTYPE), dist_reduce_fx="sum")

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        included = evaluated_elements(out)
        error = (model.loss.mean(out.output).float() - out.batch.x.float()).square().where(included, 0.0)
        self.totals = self.totals + error.movedim(_TIME_DIM, 0).flatten(1).sum(1, dtype=SUM_DTYPE)
        self.num_elements = self.num_elements + included.movedim(_TIME_DIM, 0).flatten(1).sum(1)

    def compute(self) -> dict[str, Tensor]:
        all_frames = self.totals / self.num_elements
        # A frame without included elements has no error.
        frames = all_frames[self.num_elements > 0]
        if not len(frames):
            frames = self.totals.new_full((1,), torch.nan)
        summary = {"frame_mse_first": frames[0], "frame_mse_last": frames[-1], "frame_mse_worst": frames.max()}
        values = all_frames.tolist() if self.each else []
        return summary | {f"frame_mse_{frame:03d}": self.totals.new_tensor(value) for frame, value in enumerate(values)}


class StillMSE(_ClipMetric):
    """The mean squared error of clips without motion: baselines of ``mse``.

    ``mse_of_first_frame``, ``mse_of_middle_frame`` and ``mse_of_last_frame`` are the errors per element if this frame
    of x, repeated over the whole clip, were the reconstruction. The middle one is frame T // 2. Nothing is returned if
    a corruption hides a part of the clips: the repeated frame would show what is hidden.
    """

    higher_is_better = False
    test_only = True
    baselines = MappingProxyType(
        {
            f"mse_of_{name}_frame": Baseline("mse", f"the {name} frame, repeated,")
            for name in ("first", "middle", "last")
        }
    )
    totals: Tensor
    num_elements: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("totals", "num_elements"):
            self.add_state(name, torch.zeros(len(self.baselines), dtype=SUM_DTYPE), dist_reduce_fx="sum")

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        return super().applies(model) and model.spec.shape[1] > 1

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        if "hidden" in out.encoder_input.extras:
            return
        x, num_frames = out.batch.masked_x().float(), out.batch.x.shape[_TIME_DIM]
        included = evaluated_elements(out)
        totals, nums = [], []
        for frame in (0, num_frames // 2, num_frames - 1):
            # An element that the repeated frame does not have is left out.
            both = included & included[:, :, frame : frame + 1]
            error = (x[:, :, frame : frame + 1] - x).square().where(both, 0.0)
            totals.append(error.sum(dtype=SUM_DTYPE))
            nums.append(both.sum())
        self.totals = self.totals + torch.stack(totals)
        self.num_elements = self.num_elements + torch.stack(nums)

    def compute(self) -> dict[str, Tensor]:
        if not self.num_elements.any():
            return {}
        return dict(zip(self.baselines, (self.totals / self.num_elements).unbind(), strict=True))


def _mean_per_clip(value: Tensor, included: Tensor) -> Tensor:
    """Return the mean ``(B,)`` of the included elements of ``(B, C, T, H, W)``; 0 if none is included."""
    return _masked_mean(value, included, 1)


def _mean_per_frame(value: Tensor, included: Tensor) -> Tensor:
    """Return the mean ``(B, T)`` of the included elements of ``(B, C, T, H, W)``; 0 if none is included."""
    return _masked_mean(value, included, 2)


def _masked_mean(value: Tensor, included: Tensor, num_dims: int) -> Tensor:
    """Return the mean of the included elements of ``(B, C, T, H, W)``: ``(B,)``, or ``(B, T)`` if `num_dims` is 2."""
    value, included = (t.movedim(_TIME_DIM, 1).flatten(num_dims) for t in (value.where(included, 0.0), included))
    return value.sum(num_dims) / included.sum(num_dims).clamp(min=1)


def _value_range(model: Autoencoder) -> float:
    low, high = model.spec.domain.bounds
    return high - low
