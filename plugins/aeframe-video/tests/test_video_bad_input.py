"""Bad videos in a run: one sentence with file and frame, and nothing written; or a list of what was left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from video_samples import broken_end, counted, cut_off, save

from aeframe.testing.error_messages import run_expecting_error, run_expecting_skipped

WORDS = ["modality=video", "data=video_files", "data.path=videos", "modality.frames=5", "modality.channels=1"]
SMALL = ["encoder.channels=[4,8]", "latent.dim=2", "batch_size=4"]
WAY_OUT = "or leave such videos out of training with modality.on_error=skip"


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    for name in ("train/a", "train/b", "val/a", "test/a"):
        path = tmp_path / "videos" / f"{name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        save(path, np.zeros((15, 32, 48, 3), np.uint8))
    return tmp_path / "videos"


@pytest.mark.parametrize("limit", [2048, 0])
def test_a_last_frame_that_is_broken(videos: Path, limit: int) -> None:
    broken_end(videos / "train/g.mp4")
    told = f"video 'videos/train/g.mp4' breaks off at frame 29 of 30 (its picture is damaged); replace it, {WAY_OUT}"
    words = [*WORDS, *SMALL, f"data.max_memory_mb={limit}"]
    if limit:
        assert run_expecting_error(videos.parent, words) == told
    assert run_expecting_skipped(videos.parent, [*words, "modality.on_error=skip"]) == [told]


def test_videos_that_are_cut_off_empty_or_too_short(videos: Path) -> None:
    cut_off(save(videos / "train/g.mp4", counted(15, 32, 48)))
    (videos / "train/h.mp4").touch()
    save(videos / "train/i.mp4", counted(3, 32, 48))
    words = [*WORDS, *SMALL, "modality.on_error=skip"]
    assert run_expecting_skipped(videos.parent, words) == [
        "video 'videos/train/g.mp4' cannot be decoded (Invalid data found when processing input); replace it, "
        f"{WAY_OUT}",
        f"video 'videos/train/h.mp4' is empty (0 bytes); replace it, {WAY_OUT}",
        f"video 'videos/train/i.mp4' has 3 frames, and a clip of 5 needs 5; lower modality.frames, {WAY_OUT}",
    ]


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_another_size_is_no_fault_of_a_file(videos: Path, on_error: str) -> None:
    save(videos / "train/g.mp4", counted(15, 16, 24))
    told = run_expecting_error(videos.parent, [*WORDS, *SMALL, f"modality.on_error={on_error}"])
    assert told == (
        "video 'videos/train/g.mp4' is 1 x 16 x 24 (channels x height x width) where 1 x 32 x 48 is expected; bring "
        "all videos to one shape with modality.size=[32,48]"
    )
