"""Clips prepared with the saved shape and split of an earlier run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from video_samples import numbered_frames, save

from aeframe import AeframeError
from aeframe.testing.saved_state import assert_state_restores_data
from aeframe_video.arrays import VideoNPZ
from aeframe_video.folder import VideoFiles
from aeframe_video.modality import Video
from aeframe_video.shapes import MovingShapes


@pytest.mark.parametrize("random_start", [False, True])
def test_simulated_clips(random_start: bool) -> None:
    assert_state_restores_data(lambda: Video(frames=4, random_start=random_start), lambda: MovingShapes(clips=20))


def test_added_videos_are_in_no_split(tmp_path: Path) -> None:
    for number in range(5):
        save(tmp_path / f"{number}.mkv", numbered_frames(6, first=6 * number), codec="ffv1")

    def change() -> None:
        save(tmp_path / "-0.mkv", numbered_frames(6, first=40), codec="ffv1")

    splits = assert_state_restores_data(lambda: Video(frames=3), lambda: VideoFiles(path=tmp_path), change=change)
    assert len(splits.train) == 6


def test_clips_added_to_an_array_are_in_no_split(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    clips = np.random.default_rng(0).integers(0, 256, (30, 5, 8, 8), np.uint8)
    np.save(path, clips[:20])
    assert_state_restores_data(Video, lambda: VideoNPZ(path=path), change=lambda: np.save(path, clips))
    with pytest.raises(
        AeframeError, match=r"modality 'video': the array has frames of 1 x 8 x 6 .*, expected 1 x 8 x 8"
    ):
        assert_state_restores_data(Video, lambda: VideoNPZ(path=path), change=lambda: np.save(path, clips[..., :6]))
