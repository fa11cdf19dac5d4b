"""Runs on simulated clips and on video files, and the reconstruction of a video from the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from video_samples import numbered_frames, save, save_damaged

import aeframe
from aeframe.cli.main import main
from aeframe_video.decode import read_info

QUICK = ("max_epochs=2", "batch_size=16", "data.clips=60", "trainer.threads=1", "pictures=false")


@pytest.mark.parametrize(
    "settings",
    [
        ("model=vqvae", "latent.codebook_size=16", "latent.dim=4", "encoder.causal=true"),
        ("model=vae", "encoder.form=3d", "encoder.dense=8"),
        ("model=mae", "corruption=tubes", "encoder.dim=16", "encoder.depth=1", "latent.dim=2"),
        ("model=ae", "corruption=frames", "corruption.which=last", "objective.counts=hidden"),
    ],
    ids=["vqvae", "vae", "tubes", "frames"],
)
def test_run_has_finite_metrics(tmp_path: Path, settings: tuple[str, ...]) -> None:
    run = aeframe.fit(overrides=[*settings, *QUICK, "modality=video"], folder=str(tmp_path / "run"))
    metrics = run.metrics
    assert {"clip_psnr", "clip_psnr_of_first_frame", "frame_psnr", "frame_mse_worst", "flicker"} <= set(metrics)
    assert all(np.isfinite(value) for value in metrics.values())
    model = aeframe.load(run.folder)
    x = torch.rand(3, 1, 8, 16, 16)
    assert torch.equal(model.encode(x), model.encode(x))
    assert model.reconstruct(x).shape == x.shape
    assert model.sample(2).shape == (2, 1, 8, 16, 16)


def test_reconstruction_of_a_video(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for name in "abcd":
        save(data / f"{name}.mp4", numbered_frames(15))
    save_damaged(data / "e.mp4")
    modality = {"name": "video", "frames": 5, "size": 16, "channels": 1, "on_error": "skip"}
    run = aeframe.fit(
        model="ae",
        modality=modality,
        data={"name": "video_files", "path": str(data)},
        max_epochs=1,
        batch_size=4,
        trainer={"threads": 1},
        folder=str(tmp_path / "run"),
    )
    skipped = (Path(run.folder) / "skipped.txt").read_text()
    assert "e.mp4' cannot be decoded at frame 29 of 30 (the frame is damaged)" in skipped
    assert (Path(run.folder) / "pictures" / "reconstructions.png").is_file()
    out = tmp_path / "out.mp4"
    assert main(["reconstruct", str(run.folder), str(data / "a.mp4"), "-o", str(out)]) == 0
    info = read_info(out)
    assert (info.num_frames, info.shape, info.rate) == (15, (3, 16, 16), 10.0)
