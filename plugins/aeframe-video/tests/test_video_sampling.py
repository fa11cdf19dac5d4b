"""Which frames make a clip, counted by hand."""

from __future__ import annotations

import pytest

from aeframe import AeframeError
from aeframe_video.sampling import Sampling


def test_clips_lie_end_to_end_and_what_does_not_fill_one_is_left_over() -> None:
    assert Sampling(3).rows(0, 10, None).tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert Sampling(3).rows(4, 9, None).tolist() == [[4, 5, 6]]
    assert Sampling(3).rows(0, 3, None).tolist() == [[0, 1, 2]]
    assert Sampling(3).rows(0, 2, None).shape == (0, 3)


def test_a_stride_skips_frames_and_its_last_clip_needs_no_more_than_it_shows() -> None:
    assert Sampling(3, stride=2).rows(0, 11, None).tolist() == [[0, 2, 4], [6, 8, 10]]
    assert len(Sampling(3, stride=2).rows(0, 10, None)) == 1


def test_clips_may_overlap() -> None:
    assert Sampling(3, every=2).rows(0, 8, None).tolist() == [[0, 1, 2], [2, 3, 4], [4, 5, 6]]


def test_a_rate_takes_the_nearest_frame_in_time() -> None:
    # 25 frames a second looked at 10 times a second: every 2.5th, a half up.
    assert Sampling(5, fps=10).rows(0, 25, 25.0).tolist() == [[0, 3, 5, 8, 10], [13, 16, 18, 21, 23]]
    assert Sampling(2, stride=2, fps=10).rows(0, 6, 25.0).tolist() == [[0, 5]]
    # A rate above the file's shows frames twice.
    assert Sampling(4, fps=50).rows(0, 3, 25.0).tolist() == [[0, 1, 1, 2]]
    assert Sampling(3, fps=29.97).rows(0, 3, 29.97).tolist() == [[0, 1, 2]]


def test_the_rate_of_clips() -> None:
    assert Sampling(4, stride=2).rate(25.0) == 12.5
    assert Sampling(4, stride=2, fps=10).rate(25.0) == 5.0


def test_frames_without_a_rate_have_no_time() -> None:
    with pytest.raises(AeframeError) as raised:
        Sampling(4, fps=10).rows(0, 9, None)
    assert str(raised.value) == (
        "frames without a rate cannot be taken at modality.fps=10; set modality.stride instead"
    )
