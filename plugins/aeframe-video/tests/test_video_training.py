"""Whole runs: from the embedded clips to a saved model, and from a video to its reconstruction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from video_samples import broken_end, counted, save

import aeframe
from aeframe.cli.main import main
from aeframe_video.decode import find_track

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
def test_a_run_trains_and_measures(tmp_path: Path, settings: tuple[str, ...]) -> None:
    run = aeframe.fit(overrides=[*settings, *QUICK, "modality=video"], folder=str(tmp_path / "run"))
    measured = run.metrics
    assert {"clip_psnr", "clip_psnr_of_first_frame", "frame_psnr", "frame_mse_worst", "flicker"} <= set(measured)
    assert all(np.isfinite(value) for value in measured.values())
    model = aeframe.load(run.folder)
    x = torch.rand(3, 1, 8, 16, 16)
    assert torch.equal(model.encode(x), model.encode(x))
    assert model.reconstruct(x).shape == x.shape
    assert model.sample(2).shape == (2, 1, 8, 16, 16)


def test_a_video_goes_through_a_saved_model(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for name in "abcd":
        save(data / f"{name}.mp4", counted(15), rate=12)
    broken_end(data / "e.mp4")
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
    assert "e.mp4' breaks off at frame 29 of 30 (its picture is damaged)" in skipped
    assert (Path(run.folder) / "pictures" / "reconstructions.png").is_file()
    out = tmp_path / "out.mp4"
    assert main(["reconstruct", str(run.folder), str(data / "a.mp4"), "-o", str(out)]) == 0
    track = find_track(out)
    assert (track.num_frames, track.shape, track.rate) == (15, (3, 16, 16), 12.0)
