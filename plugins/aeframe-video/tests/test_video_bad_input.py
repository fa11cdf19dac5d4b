"""Bad videos in a run: an error with file and frame and no output, or a list of skipped videos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from video_samples import numbered_frames, save, save_damaged, truncate

from aeframe.testing.error_messages import run_expecting_error, run_expecting_skipped

OVERRIDES = ["modality=video", "data=video_files", "data.path=videos", "modality.frames=5", "modality.channels=1"]
SMALL = ["encoder.channels=[4,8]", "latent.dim=2", "batch_size=4"]
SKIP_HINT = "or skip such videos with on_error=skip"


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    for name in ("train/a", "train/b", "val/a", "test/a"):
        path = tmp_path / "videos" / f"{name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        save(path, np.zeros((15, 32, 48, 3), np.uint8))
    return tmp_path / "videos"


@pytest.mark.parametrize("limit", [2048, 0])
def test_damaged_last_frame(videos: Path, limit: int) -> None:
    save_damaged(videos / "train/g.mp4")
    reason = "cannot be decoded at frame 29 of 30 (the frame is damaged)"
    message = f"video 'videos/train/g.mp4' {reason}; replace it, {SKIP_HINT}"
    overrides = [*OVERRIDES, *SMALL, f"data.max_memory_mb={limit}"]
    if limit:
        assert run_expecting_error(videos.parent, overrides) == message
    assert run_expecting_skipped(videos.parent, [*overrides, "modality.on_error=skip"]) == [message]


def test_truncated_empty_and_short_videos(videos: Path) -> None:
    truncate(save(videos / "train/g.mp4", numbered_frames(15, 32, 48)))
    (videos / "train/h.mp4").touch()
    save(videos / "train/i.mp4", numbered_frames(3, 32, 48))
    overrides = [*OVERRIDES, *SMALL, "modality.on_error=skip"]
    assert run_expecting_skipped(videos.parent, overrides) == [
        "video 'videos/train/g.mp4' cannot be decoded (Invalid data found when processing input); replace it, "
        f"{SKIP_HINT}",
        f"video 'videos/train/h.mp4' is empty (0 bytes); replace it, {SKIP_HINT}",
        f"video 'videos/train/i.mp4' has 3 frames, expected at least 5 for a clip of 5; lower modality.frames, "
        f"{SKIP_HINT}",
    ]


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_on_error_does_not_apply_to_another_size(videos: Path, on_error: str) -> None:
    save(videos / "train/g.mp4", numbered_frames(15, 16, 24))
    message = run_expecting_error(videos.parent, [*OVERRIDES, *SMALL, f"modality.on_error={on_error}"])
    assert message == (
        "video 'videos/train/g.mp4' has frames of 1 x 16 x 24 (channels x height x width), expected 1 x 32 x 48; "
        "convert all videos with modality.size=[32,48]"
    )
