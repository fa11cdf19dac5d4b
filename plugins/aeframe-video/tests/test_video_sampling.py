"""The frames of clips, against values counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from aeframe import AeframeError
from aeframe_video.sampling import ClipSampling


def test_clips_do_not_overlap_and_remaining_frames_are_unused() -> None:
    assert ClipSampling(3).fixed_clips(10).tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert ClipSampling(3).fixed_clips(3).tolist() == [[0, 1, 2]]
    assert ClipSampling(3).fixed_clips(2).shape == (0, 3)


def test_stride() -> None:
    assert ClipSampling(3, stride=2).fixed_clips(11).tolist() == [[0, 2, 4], [6, 8, 10]]
    assert len(ClipSampling(3, stride=2).fixed_clips(10)) == 1
    assert ClipSampling(3, stride=2).min_frames == 5


def test_overlapping_clips() -> None:
    assert ClipSampling(3, every=2).fixed_clips(8).tolist() == [[0, 1, 2], [2, 3, 4], [4, 5, 6]]


def test_without_fps_all_frames_are_sampled() -> None:
    assert ClipSampling(3).sampled(None, 4, 9).tolist() == [4, 5, 6, 7, 8]


@pytest.mark.parametrize(
    ("fps", "rate", "num", "expected"),
    [
        # From 25 to 10 frames per second: every 2.5 frames, with halves rounded up.
        (10, 25, 25, [0, 3, 5, 8, 10, 13, 15, 18, 20, 23]),
        # A higher rate than that of the file repeats frames.
        (50, 25, 3, [0, 1, 1, 2, 2, 3][:6]),
        (29.97, 29.97, 3, [0, 1, 2]),
        (5, 30, 1, [0]),
    ],
)
def test_fps_selects_the_nearest_frame_in_time(fps: float, rate: float, num: int, expected: list[int]) -> None:
    sampled = ClipSampling(5, fps=fps).sampled(np.arange(num) / rate, 0, num)
    assert sampled.tolist() == [number for number in expected if number < num]


def test_frames_of_a_variable_rate_are_taken_by_their_times() -> None:
    # Ten frames in the first half of a second, then one in every second.
    times = np.array([*np.arange(10) * 0.05, 1.0, 2.0, 3.0])
    assert ClipSampling(2, fps=2).sampled(times, 0, 13).tolist() == [0, 9, 10, 11, 11, 12, 12]
    assert ClipSampling(2, fps=2).sampled(times, 10, 13).tolist() == [10, 11, 11, 12, 12]


def test_rate_of_clips() -> None:
    assert ClipSampling(4, stride=2).clip_rate(25.0) == 12.5
    assert ClipSampling(4, stride=2, fps=10).clip_rate(25.0) == 5.0


def test_fps_requires_times() -> None:
    with pytest.raises(AeframeError) as raised:
        ClipSampling(4, fps=10).sampled(None, 0, 9)
    assert str(raised.value) == ("modality.fps=10 requires videos with a frame rate; set modality.stride instead")
