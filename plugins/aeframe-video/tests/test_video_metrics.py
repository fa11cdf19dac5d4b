"""Metrics of clips, against values computed by hand."""

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
from aeframe_video.metrics import ClipPSNR, Flicker, FrameMSE, FramePSNR, StillMSE, psnr

SHAPE = (1, 3, 2, 2)


def model(shape: tuple[int, ...] = SHAPE, domain: str = "unit") -> Autoencoder:
    config = {
        "encoder": {"name": "mlp", "hidden": (5,)},
        "latent": {"name": "point", "dim": 3},
        "loss": {"name": "mse", "activation": "identity"},
        "objective": "deterministic",
    }
    return assemble(config, DataSpec(shape, Domain.parse(domain))).eval()


def clip(*levels: float) -> Tensor:
    """Return a clip whose frames have constant brightness."""
    return torch.tensor(levels).view(1, len(levels), 1, 1).expand(1, -1, 2, 2)


def measured(metric: ModelMetric, x: Tensor, x_hat: Tensor, **like: Any) -> dict[str, float]:
    batch = Batch(x, like.get("mask"))
    encoder_input = Batch(x, extras={"hidden": like["hidden"]} if "hidden" in like else {})
    latent = Latent(x, x)
    for row in range(len(x)):
        rows = slice(row, row + 1)
        metric.update(
            model(),
            ForwardOutput(batch.rows(rows), encoder_input.rows(rows), latent, x_hat[rows].unsqueeze(1), x[rows]),
        )
    values = metric.compute()
    assert isinstance(values, dict)
    return {name: float(value) for name, value in values.items()}


X = torch.stack([clip(0.0, 0.5, 0.9), clip(0.2, 0.2, 0.2)])
X_HAT = torch.stack([clip(0.1, 0.5, 0.7), clip(0.2, 0.2, 0.2)])


def test_psnr_of_errors() -> None:
    error = torch.tensor([0.01, 1.0, 0.0])
    assert psnr(error, 1.0).tolist() == pytest.approx([20.0, 0.0, 100.0])
    assert float(psnr(error, 2.0)[0]) == pytest.approx(26.0206, abs=1e-4)


def test_psnr_of_clips() -> None:
    values = measured(ClipPSNR(), X, X_HAT)
    # Errors 0.1, 0 and 0.2 have the mean square 0.05 / 3. The second clip has no error.
    assert values["clip_psnr"] == pytest.approx((-10 * math.log10(0.05 / 3) + 100) / 2, abs=1e-4)
    # The repeated first frame has errors 0, 0.5 and 0.9.
    assert values["clip_psnr_of_first_frame"] == pytest.approx((-10 * math.log10(1.06 / 3) + 100) / 2, abs=1e-4)


def test_psnr_of_frames() -> None:
    values = measured(FramePSNR(), X, X_HAT)
    worst = -10 * math.log10(0.04)
    assert values["frame_psnr"] == pytest.approx(((20 + 100 + worst) / 3 + 100) / 2, abs=1e-4)
    assert values["frame_psnr_worst"] == pytest.approx((worst + 100) / 2, abs=1e-4)


def test_flicker() -> None:
    values = measured(Flicker(), X, X_HAT)
    # Changes of x are 0.5 and 0.4, and of the reconstruction 0.4 and 0.2.
    assert values == pytest.approx({"flicker": (0.1 + 0.2) / 2 / 2, "flicker_of_still": 0.225})
    # A constant error does not flicker.
    assert measured(Flicker(), X, X + 0.1)["flicker"] == pytest.approx(0.0, abs=1e-6)


def test_errors_by_frame() -> None:
    values = measured(FrameMSE(model(), each=True), X, X_HAT)
    assert values == pytest.approx(
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


def test_only_hidden_elements_count() -> None:
    hidden = torch.zeros_like(X, dtype=torch.bool)
    hidden[:, :, 2] = True
    worst = -10 * math.log10(0.04)
    assert measured(ClipPSNR(), X, X_HAT, hidden=hidden)["clip_psnr"] == pytest.approx((worst + 100) / 2, abs=1e-4)
    assert measured(FramePSNR(), X, X_HAT, hidden=hidden)["frame_psnr"] == pytest.approx((worst + 100) / 2, abs=1e-4)
    values = measured(FrameMSE(model()), X, X_HAT, hidden=hidden)
    assert values == pytest.approx({"frame_mse_first": 0.02, "frame_mse_last": 0.02, "frame_mse_worst": 0.02})
    # No element is hidden in two consecutive frames.
    assert measured(Flicker(), X, X_HAT, hidden=hidden)["flicker"] == 0.0


@pytest.mark.parametrize("metric", [ClipPSNR, FramePSNR, Flicker, lambda: FrameMSE(model(), each=True)])
def test_masked_elements_do_not_count_even_if_nan(metric: Any) -> None:
    mask = torch.ones_like(X, dtype=torch.bool)
    mask[:, :, :, 0] = False
    values = measured(metric(), X, X_HAT, mask=mask)
    with_nan = measured(metric(), X.masked_fill(~mask, torch.nan), X_HAT, mask=mask)
    assert values == pytest.approx(with_nan)
    assert values == pytest.approx(measured(metric(), X, X_HAT), abs=1e-4)


def test_fully_masked_clip_does_not_count() -> None:
    mask = torch.ones_like(X, dtype=torch.bool)
    mask[1] = False
    assert measured(ClipPSNR(), X, X_HAT, mask=mask)["clip_psnr"] == pytest.approx(-10 * math.log10(0.05 / 3), abs=1e-4)


def test_metrics_apply_to_clips_with_bounded_values() -> None:
    kinds = (ClipPSNR, FramePSNR, FrameMSE, Flicker)
    assert all(kind.applies(model()) for kind in kinds)
    assert not any(kind.applies(model((1, 4, 4))) for kind in kinds)
    assert not any(kind.applies(model(domain="real")) for kind in kinds)
    one_frame: Any = SimpleNamespace(spec=DataSpec((1, 1, 4, 4), Domain.parse("unit")))
    assert not Flicker.applies(one_frame)
    assert ClipPSNR.applies(one_frame)


def test_errors_of_repeated_frames() -> None:
    values = measured(StillMSE(), X, X_HAT)
    # Frames 0, .5 and .9 of the first clip; the second clip is still.
    expected = {"first": 0.25 + 0.81, "middle": 0.25 + 0.16, "last": 0.81 + 0.16}
    assert values == pytest.approx({f"mse_of_{name}_frame": value / 6 for name, value in expected.items()})
    mask = torch.ones_like(X, dtype=torch.bool)
    mask[0, :, 2] = False  # The last frame of the first clip is missing: only the second clip has one.
    values = measured(StillMSE(), torch.where(mask, X, torch.nan), X_HAT, mask=mask)
    expected = {"first": 0.25 / 5, "middle": 0.25 / 5, "last": 0.0}
    assert values == pytest.approx({f"mse_of_{name}_frame": value for name, value in expected.items()})
    assert measured(StillMSE(), X, X_HAT, hidden=~mask) == {}
