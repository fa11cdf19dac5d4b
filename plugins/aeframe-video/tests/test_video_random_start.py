"""Training clips with random starts, which depend on the seed and the epoch only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from video_samples import number_of, numbered_frames, save, save_damaged

from aeframe.data import Source, Splits
from aeframe.data.loader import Loader
from aeframe.data.plan import BatchPlan
from aeframe_video.arrays import VideoNPZ
from aeframe_video.file_clips import FileClips
from aeframe_video.folder import VideoFiles
from aeframe_video.modality import Video


def numbers(source: Source, rows: torch.Tensor | None = None) -> list[list[int]]:
    x = source.batch(torch.arange(len(source)) if rows is None else rows).x
    return [[number_of(frame * 255) for frame in clip.movedim(1, 0)] for clip in x]


def prepared(path: Path, *, max_memory_mb: int = 2048, **options: Any) -> Splits:
    dataset = VideoFiles(path=str(path), validation=0.2, test=0.2, max_memory_mb=max_memory_mb)
    return Video(random_start=True, **options).prepare(dataset)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Return a video of 40 frames, of which 0 to 23 are for training."""
    return save(tmp_path / "a.mkv", numbered_frames(40), codec="ffv1")


@pytest.mark.parametrize(("options", "last"), [({}, 20), ({"stride": 2}, 17), ({"fps": 5.0}, 16), ({"every": 2}, 20)])
def test_all_starts_within_the_video_are_drawn(film: Path, options: Any, last: int) -> None:
    splits = prepared(film, frames=4, **options)
    fixed = Video(frames=4, **options).prepare(VideoFiles(path=str(film), validation=0.2, test=0.2))
    assert len(splits.train) == len(fixed.train)
    steps = np.subtract(numbers(fixed.train)[0], numbers(fixed.train)[0][0]).tolist()
    clips = numbers(splits.train, torch.zeros(1000, dtype=torch.long))
    # Every frame that is sampled can be the first: every second one at half the rate.
    assert {clip[0] for clip in clips} == set(range(0, last + 1, 2 if "fps" in options else 1))
    assert all(np.subtract(clip, clip[0]).tolist() == steps for clip in clips)
    assert numbers(splits.validation) == numbers(fixed.validation)
    assert numbers(splits.test) == numbers(splits.test) == numbers(fixed.test)


def test_file_clips_equal_memory_clips(tmp_path: Path) -> None:
    for video in range(5):
        save(tmp_path / f"{video}.mkv", numbered_frames(9 + video, first=10 * video), codec="ffv1")
    memory, file = (prepared(tmp_path, frames=4, max_memory_mb=limit).train for limit in (2048, 0))
    assert isinstance(file, FileClips)
    clips = []
    for source in (memory, file):
        torch.manual_seed(3)
        clips.append(numbers(source))
    assert clips[0] == clips[1]
    # Two or three clips of each of three videos, all within their video.
    assert len({clip[0] // 10 for clip in clips[0]}) == 3
    assert all(clip[-1] - clip[0] == 3 and clip[-1] % 10 < 13 for clip in clips[0])


def test_random_starts_in_arrays_keep_the_labels(tmp_path: Path) -> None:
    clips = np.stack([numbered_frames(12, 4, 4, channels=1, first=20 * video)[..., 0] for video in range(3)])
    np.savez(tmp_path / "a.npz", x_train=clips, y_train=np.arange(3), x_val=clips, x_test=clips)
    splits = Video(frames=4, random_start=True).prepare(VideoNPZ(path=str(tmp_path / "a.npz")))
    rows = torch.arange(9).repeat(50)
    starts = [clip[0] for clip in numbers(splits.train, rows)]
    assert {start - 20 * (row // 3) for start, row in zip(starts, rows.tolist(), strict=True)} == set(range(9))
    assert splits.train.batch(rows).extras["label"].tolist() == (rows // 3).tolist()
    assert numbers(splits.test)[:2] == [[0, 1, 2, 3], [4, 5, 6, 7]]


@pytest.mark.parametrize("limit", [2048, 0])
def test_random_clips_end_before_damaged_frames(tmp_path: Path, limit: int) -> None:
    for name in ("train/a.mp4", "val/b.mp4", "test/c.mp4"):
        (tmp_path / name).parent.mkdir()
        save(tmp_path / name, np.zeros((30, 32, 48, 3), np.uint8))
    save_damaged(tmp_path / "train" / "z.mp4")
    splits = prepared(tmp_path, frames=10, on_error="skip", max_memory_mb=limit)
    # Three clips of the intact video, and two of the 29 frames before the damage.
    assert (len(splits.train), len(splits.skipped)) == (5, 1)
    x = splits.train.batch(torch.tensor([3, 4] * 50)).x
    assert len(x.flatten(1).sum(1).unique()) > 10


def test_starts_depend_on_seed_and_epoch_also_after_a_resume(film: Path) -> None:
    source = prepared(film, frames=4).train

    def epoch(number: int, start: int = 0, seed: int = 0) -> list[list[list[int]]]:
        plan = BatchPlan(len(source), 2, seed=seed, shuffle=True)
        loader = Loader(source, plan)
        loader.sampler.set_epoch(number)
        loader.load_state_dict({"epoch": number, "batch": start})
        batches = [batch for call in loader for batch in (call if isinstance(call, list) else [call])]
        return [[[number_of(frame * 255) for frame in clip.movedim(1, 0)] for clip in batch.x] for batch in batches]

    assert epoch(0) == epoch(0)
    assert epoch(1, 2) == epoch(1)[2:]
    epochs = (epoch(0), epoch(1), epoch(0, seed=1))
    clips = [sorted(clip for batch in batches for clip in batch) for batches in epochs]
    assert clips[0] != clips[1] != clips[2] != clips[0]
