"""The frames of clips, against values counted by hand."""

from __future__ import annotations

import pytest

from aeframe import AeframeError
from aeframe_video.sampling import ClipSampling


def test_clips_do_not_overlap_and_remaining_frames_are_unused() -> None:
    assert ClipSampling(3).fixed_clips(0, 10, None).tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert ClipSampling(3).fixed_clips(4, 9, None).tolist() == [[4, 5, 6]]
    assert ClipSampling(3).fixed_clips(0, 3, None).tolist() == [[0, 1, 2]]
    assert ClipSampling(3).fixed_clips(0, 2, None).shape == (0, 3)


def test_stride() -> None:
    assert ClipSampling(3, stride=2).fixed_clips(0, 11, None).tolist() == [[0, 2, 4], [6, 8, 10]]
    assert len(ClipSampling(3, stride=2).fixed_clips(0, 10, None)) == 1


def test_overlapping_clips() -> None:
    assert ClipSampling(3, every=2).fixed_clips(0, 8, None).tolist() == [[0, 1, 2], [2, 3, 4], [4, 5, 6]]


def test_fps_selects_the_nearest_frame_in_time() -> None:
    # From 25 to 10 frames per second: a step of 2.5 frames, with halves rounded up.
    assert ClipSampling(5, fps=10).fixed_clips(0, 25, 25.0).tolist() == [[0, 3, 5, 8, 10], [13, 16, 18, 21, 23]]
    assert ClipSampling(2, stride=2, fps=10).fixed_clips(0, 6, 25.0).tolist() == [[0, 5]]
    # A higher rate than that of the file repeats frames.
    assert ClipSampling(4, fps=50).fixed_clips(0, 3, 25.0).tolist() == [[0, 1, 1, 2]]
    assert ClipSampling(3, fps=29.97).fixed_clips(0, 3, 29.97).tolist() == [[0, 1, 2]]


def test_rate_of_clips() -> None:
    assert ClipSampling(4, stride=2).clip_rate(25.0) == 12.5
    assert ClipSampling(4, stride=2, fps=10).clip_rate(25.0) == 5.0


def test_fps_requires_a_rate() -> None:
    with pytest.raises(AeframeError) as raised:
        ClipSampling(4, fps=10).fixed_clips(0, 9, None)
    assert str(raised.value) == ("modality.fps=10 requires videos with a frame rate; set modality.stride instead")
