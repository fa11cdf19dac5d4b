"""Results of a clip do not depend on masked values, on its batch or on the number of processes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from video_samples import save

from aeframe.data.modality import Splits
from aeframe.testing.batch_invariance import expect_batch_invariance, expect_invariant_metrics, small_model
from aeframe.testing.two_process_run import expect_two_processes_equal_one
from aeframe.types import DataSpec
from aeframe_video.modality import Video
from aeframe_video.shapes import MovingShapes

SMALL: dict[str, Any] = {"channels": [4, 8]}
MODELS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "3d": {"encoder": {"name": "video_conv", "form": "3d", **SMALL}, "loss": "mae"},
    "causal": {
        "encoder": {"name": "video_conv", "causal": True, **SMALL},
        "latent": {"name": "point", "dim": 4, "spatial": True},
    },
}


def prepared() -> tuple[Video, DataSpec, Splits]:
    modality, dataset = Video(), MovingShapes(clips=60)
    return modality, modality.spec(dataset), modality.prepare(dataset)


@pytest.mark.parametrize("parts", MODELS.values(), ids=MODELS)
def test_results_of_a_clip_depend_on_it_alone(parts: dict[str, Any]) -> None:
    modality, spec, splits = prepared()
    model, batch = small_model(modality, spec, **parts), splits.test.batch(torch.arange(6))
    expect_batch_invariance(model, batch)
    # Clips of decreasing length.
    channels, length = spec.shape[:2]
    mask = torch.arange(length) < (length - torch.arange(6)).unsqueeze(1)
    expect_batch_invariance(model, replace(batch, mask=mask.unsqueeze(1).expand(6, channels, length)))


def test_metrics_do_not_depend_on_the_batches() -> None:
    modality, spec, splits = prepared()
    metrics = expect_invariant_metrics(small_model(modality, spec), modality, splits.test)
    assert {"mse", "clip_psnr", "frame_psnr_worst", "frame_mse_worst", "flicker"} <= metrics.keys()


@pytest.mark.slow
def test_two_processes_train_the_same_model_as_one(tmp_path: Path) -> None:
    # 36 overlapping training clips of 8 frames, decoded for each batch.
    frames = np.random.default_rng(0).integers(0, 256, (6, 40, 16, 16, 3), dtype=np.uint8)
    (tmp_path / "videos").mkdir()
    for number, content in enumerate(frames):
        split = ("train", "train", "train", "train", "val", "test")[number]
        (tmp_path / "videos" / split).mkdir(exist_ok=True)
        save(tmp_path / "videos" / split / f"{number}.mkv", content, codec="ffv1")
    data = ["data=video_files", f"data.path={tmp_path / 'videos'}", "data.max_memory_mb=0", "modality.frames=8"]
    small = ["modality.every=4", "modality.channels=1", "encoder.channels=[4,8]", "latent.dim=4", "batch_size=6"]
    expect_two_processes_equal_one(tmp_path, ["modality=video", *data, *small])
