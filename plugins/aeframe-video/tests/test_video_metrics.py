"""Metrics of clips, by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from aeframe.evaluation.metrics.base import ModelMetric
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.types import Batch, DataSpec, Domain, ForwardOutput, Latent
from aeframe_video.metrics import ClipPSNR, Flicker, FrameMSE, FramePSNR, decibels

SHAPE = (1, 3, 2, 2)


def model(shape: tuple[int, ...] = SHAPE, domain: str = "unit") -> Autoencoder:
    config = {
        "encoder": {"name": "mlp", "hidden": (5,)},
        "latent": {"name": "point", "dim": 3},
        "loss": "mse",
        "objective": "deterministic",
    }
    return assemble(config, DataSpec(shape, Domain.parse(domain))).eval()


def clip(*levels: float) -> Tensor:
    """A clip whose frames are even."""
    return torch.tensor(levels).view(1, len(levels), 1, 1).expand(1, -1, 2, 2)


def measured(metric: ModelMetric, x: Tensor, x_hat: Tensor, **like: Any) -> dict[str, float]:
    batch = Batch(x, like.get("mask"))
    seen = Batch(x, extras={"hidden": like["hidden"]} if "hidden" in like else {})
    latent = Latent(x, x)
    for row in range(len(x)):
        rows = slice(row, row + 1)
        metric.update(
            model(), ForwardOutput(batch.rows(rows), seen.rows(rows), latent, x_hat[rows].unsqueeze(1), x[rows])
        )
    found = metric.compute()
    assert isinstance(found, dict)
    return {name: float(value) for name, value in found.items()}


X = torch.stack([clip(0.0, 0.5, 0.9), clip(0.2, 0.2, 0.2)])
X_HAT = torch.stack([clip(0.1, 0.5, 0.7), clip(0.2, 0.2, 0.2)])


def test_decibels_by_hand() -> None:
    error = torch.tensor([0.01, 1.0, 0.0])
    assert decibels(error, 1.0).tolist() == pytest.approx([20.0, 0.0, 100.0])
    assert float(decibels(error, 2.0)[0]) == pytest.approx(26.0206, abs=1e-4)


def test_psnr_of_clips() -> None:
    found = measured(ClipPSNR(), X, X_HAT)
    # Errors .1, 0 and .2: a mean square of .05 / 3. The second clip is perfect.
    assert found["clip_psnr"] == pytest.approx((-10 * math.log10(0.05 / 3) + 100) / 2, abs=1e-4)
    # The first frame shown all along: errors 0, .5 and .9.
    assert found["clip_psnr_of_first_frame"] == pytest.approx((-10 * math.log10(1.06 / 3) + 100) / 2, abs=1e-4)


def test_psnr_of_frames() -> None:
    found = measured(FramePSNR(), X, X_HAT)
    worst = -10 * math.log10(0.04)
    assert found["frame_psnr"] == pytest.approx(((20 + 100 + worst) / 3 + 100) / 2, abs=1e-4)
    assert found["frame_psnr_worst"] == pytest.approx((worst + 100) / 2, abs=1e-4)


def test_flicker() -> None:
    found = measured(Flicker(), X, X_HAT)
    # Changes .5 and .4, and .4 and .2 of the reconstruction.
    assert found == pytest.approx({"flicker": (0.1 + 0.2) / 2 / 2, "flicker_of_still": 0.225})
    # What is wrong in the same way all along does not flicker.
    assert measured(Flicker(), X, X + 0.1)["flicker"] == pytest.approx(0.0, abs=1e-6)


def test_errors_by_frame() -> None:
    found = measured(FrameMSE(model(), each=True), X, X_HAT)
    assert found == pytest.approx(
        {
            "frame_mse_first": 0.005,
            "frame_mse_last": 0.02,
            "frame_mse_worst": 0.02,
            "frame_mse_000": 0.005,
            "frame_mse_001": 0.0,
            "frame_mse_002": 0.02,
        },
        abs=1e-7,
    )
    assert set(measured(FrameMSE(model()), X, X_HAT)) == {"frame_mse_first", "frame_mse_last", "frame_mse_worst"}


def test_only_what_is_hidden_counts() -> None:
    hidden = torch.zeros_like(X, dtype=torch.bool)
    hidden[:, :, 2] = True
    worst = -10 * math.log10(0.04)
    assert measured(ClipPSNR(), X, X_HAT, hidden=hidden)["clip_psnr"] == pytest.approx((worst + 100) / 2, abs=1e-4)
    assert measured(FramePSNR(), X, X_HAT, hidden=hidden)["frame_psnr"] == pytest.approx((worst + 100) / 2, abs=1e-4)
    found = measured(FrameMSE(model()), X, X_HAT, hidden=hidden)
    assert found == pytest.approx({"frame_mse_first": 0.02, "frame_mse_last": 0.02, "frame_mse_worst": 0.02})
    # No element is hidden in two frames that follow each other.
    assert measured(Flicker(), X, X_HAT, hidden=hidden)["flicker"] == 0.0


@pytest.mark.parametrize("metric", [ClipPSNR, FramePSNR, Flicker, lambda: FrameMSE(model(), each=True)])
def test_what_is_masked_does_not_count_though_it_be_no_number(metric: Any) -> None:
    mask = torch.ones_like(X, dtype=torch.bool)
    mask[:, :, :, 0] = False
    one = measured(metric(), X, X_HAT, mask=mask)
    other = measured(metric(), X.masked_fill(~mask, torch.nan), X_HAT, mask=mask)
    assert one == pytest.approx(other)
    assert one == pytest.approx(measured(metric(), X, X_HAT), abs=1e-4)


def test_a_clip_of_which_nothing_counts_is_no_clip() -> None:
    mask = torch.ones_like(X, dtype=torch.bool)
    mask[1] = False
    assert measured(ClipPSNR(), X, X_HAT, mask=mask)["clip_psnr"] == pytest.approx(-10 * math.log10(0.05 / 3), abs=1e-4)


def test_they_are_of_clips_whose_values_are_bounded() -> None:
    kinds = (ClipPSNR, FramePSNR, FrameMSE, Flicker)
    assert all(kind.applies(model()) for kind in kinds)
    assert not any(kind.applies(model((1, 4, 4))) for kind in kinds)
    assert not any(kind.applies(model(domain="real")) for kind in kinds)
    one_frame: Any = SimpleNamespace(spec=DataSpec((1, 1, 4, 4), Domain.parse("unit")))
    assert not Flicker.applies(one_frame)
    assert ClipPSNR.applies(one_frame)
