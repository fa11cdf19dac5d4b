"""Losses and metrics of an image do not depend on masked values, its batch or the number of devices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from aeframe.data.modality import Splits
from aeframe.testing.batch_invariance import expect_batch_invariance, expect_invariant_metrics, small_model
from aeframe.testing.two_process_run import expect_two_processes_equal_one
from aeframe.types import DataSpec
from aeframe_image.digits import Digits
from aeframe_image.modality import Image as ImageModality

torch.set_num_threads(1)
STAGES: dict[str, Any] = {"name": "vqgan", "channels": [8, 16], "blocks": 1}
MODELS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "stages, ssim": {"encoder": STAGES, "loss": {"name": "ssim", "mix": 0.8}},
    "resnet, ms_ssim": {"encoder": {"name": "resnet", "channels": [4, 8]}, "loss": "ms_ssim"},
    "grey values": {"loss": "discretised_logistic_mixture"},
}


def prepared(**options: Any) -> tuple[ImageModality, DataSpec, Splits]:
    modality, dataset = ImageModality(**options), Digits()
    return modality, modality.spec(dataset), modality.prepare(dataset)


@pytest.mark.parametrize("options", [{}, {"size": 24, "channels": 3}])
@pytest.mark.parametrize("parts", MODELS.values(), ids=MODELS)
def test_an_image_does_not_depend_on_its_batch(parts: dict[str, Any], options: dict[str, Any]) -> None:
    modality, spec, splits = prepared(**options)
    model, batch = small_model(modality, spec, **parts), splits.test.batch(torch.arange(6))
    expect_batch_invariance(model, batch)
    # Image number n has n masked rows.
    _, height, _ = spec.shape
    mask = torch.arange(height) < (height - torch.arange(6)).unsqueeze(1)
    expect_batch_invariance(model, replace(batch, mask=mask[:, None, :, None].expand_as(batch.x)))


@pytest.mark.parametrize("options", [{}, {"domain": "binary", "binarize": "sample"}])
def test_metrics_do_not_depend_on_batches(options: dict[str, Any]) -> None:
    modality, spec, splits = prepared(**options)
    found = expect_invariant_metrics(small_model(modality, spec), modality, splits.test, sizes=(7, 50))
    assert {"mse", "mae", "r2", "psnr", "ssim"} <= found.keys()


@pytest.mark.slow
def test_two_processes_train_the_same_model_as_one(tmp_path: Path) -> None:
    # 48 training images, decoded batch by batch.
    rng = np.random.default_rng(0)
    for split, count in (("train", 48), ("val", 7), ("test", 7)):
        (tmp_path / "pictures" / split).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 256, (12, 12), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / split / f"{number}.png")
    data = ["data=image_folder", f"data.path={tmp_path / 'pictures'}", "data.max_memory_mb=0", "modality.size=8"]
    small = ["encoder.channels=[4,8]", "latent.dim=4", "batch_size=8"]
    expect_two_processes_equal_one(tmp_path, ["modality=image", *data, *small])
