"""Clips of video files: in memory, decoded for each batch, and errors for bad files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from video_samples import number_of, numbered_frames, save, save_damaged, save_frames

from aeframe import AeframeError
from aeframe.data import Source
from aeframe.testing.fixtures import real_file
from aeframe_video.decode import EXTENSIONS
from aeframe_video.file_clips import FileClips
from aeframe_video.folder import VideoFiles, find_videos
from aeframe_video.memory_clips import MemoryClips
from aeframe_video.modality import Video
from aeframe_video.videos import Files, VideoPart


def numbers(source: Source) -> list[list[int]]:
    x = source.batch(torch.arange(len(source))).x
    return [[number_of(frame * 255) for frame in clip.movedim(1, 0)] for clip in x]


def read_all(modality: Video, dataset: VideoFiles) -> None:
    splits = modality.prepare(dataset)
    for source in (splits.train, splits.validation, splits.test):
        source.batch(torch.arange(len(source)))


def folder_of(root: Path, num: int, length: int = 9) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for video in range(num):
        save(root / f"{video}.mkv", numbered_frames(length, first=length * video), codec="ffv1")
    return root


def test_single_video_is_split_by_time(tmp_path: Path) -> None:
    path = save(tmp_path / "a.mkv", numbered_frames(40), codec="ffv1")
    dataset = VideoFiles(path=str(path), validation=0.2, test=0.3)
    splits = Video(frames=4).prepare(dataset)
    assert numbers(splits.train) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12, 13, 14, 15], [16, 17, 18, 19]]
    assert numbers(splits.validation) == [[20, 21, 22, 23], [24, 25, 26, 27]]
    assert numbers(splits.test) == [[28, 29, 30, 31], [32, 33, 34, 35], [36, 37, 38, 39]]


def test_random_split_of_whole_videos_is_deterministic(tmp_path: Path) -> None:
    root = folder_of(tmp_path, 6)
    prepared = [Video(frames=4).prepare(VideoFiles(path=str(root), validation=0.2, test=0.2)) for _ in range(2)]
    clips = [[numbers(split) for split in (s.train, s.validation, s.test)] for s in prepared]
    assert clips[0] == clips[1]
    assert [len(split) for split in clips[0]] == [8, 2, 2]
    videos = [{clip[0] // 9 for clip in split} for split in clips[0]]
    assert set.union(*videos) == set(range(6))
    assert sum(len(split) for split in videos) == 6


def test_split_folders_and_class_folders(tmp_path: Path) -> None:
    for split, num in (("train", 2), ("val", 1), ("test", 1)):
        for name in ("run", "walk"):
            folder_of(tmp_path / split / name, num)
    splits = Video(frames=4).prepare(VideoFiles(path=str(tmp_path)))
    assert [len(s) for s in (splits.train, splits.validation, splits.test)] == [8, 4, 4]
    assert splits.train.batch(torch.arange(8)).extras["label"].tolist() == [0] * 4 + [1] * 4
    save(tmp_path / "stray.mkv", numbered_frames(4), codec="ffv1")
    with pytest.raises(AeframeError) as raised:
        VideoFiles(path=str(tmp_path)).load()
    assert str(raised.value) == (
        f"dataset 'video_files' at '{tmp_path}' has split folders, but also videos outside them, such as "
        f"'{tmp_path / 'stray.mkv'}'; move them into a split, or out of the folder"
    )


def test_folders_of_frames_are_videos(tmp_path: Path) -> None:
    for name in ("b", "a"):
        save_frames(tmp_path / "deep" / name, numbered_frames(4, first=10 if name == "b" else 0))
    save(tmp_path / "c.mp4", numbered_frames(4, first=20))
    (tmp_path / ".hidden").mkdir()
    assert find_videos(tmp_path) == [tmp_path / "c.mp4", tmp_path / "deep/a", tmp_path / "deep/b"]
    assert find_videos(tmp_path / "deep" / "a") == [tmp_path / "deep/a"]
    batch = Video(frames=4).read(tmp_path)
    assert [number_of(clip[:, 0] * 255) for clip in batch.x] == [20, 0, 10]


@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"every": 1}, {"fps": 4.0}, {"size": 8, "channels": 1}])
def test_file_clips_equal_memory_clips(tmp_path: Path, options: dict[str, int]) -> None:
    root = folder_of(tmp_path, 5)
    modality = Video(frames=3, **options)
    memory, file = (modality.prepare(VideoFiles(path=str(root), max_memory_mb=limit)).train for limit in (2048, 0))
    assert isinstance(memory, MemoryClips)
    assert isinstance(file, FileClips)
    assert (memory.in_memory, file.in_memory) == (True, False)
    assert len(memory) == len(file)
    index = torch.randperm(len(memory))
    batch, expected = memory.batch(index), file.batch(index)
    assert torch.equal(batch.x, expected.x)
    assert torch.equal(batch.index, index)
    assert torch.equal(expected.index, index)
    assert batch.x.is_contiguous()
    # A batch is a copy, so that changes in place do not affect the source.
    batch.x.zero_()
    assert torch.equal(memory.batch(index).x, expected.x)


def test_frames_of_overlapping_clips_are_stored_once(tmp_path: Path) -> None:
    path = save(tmp_path / "a.mkv", numbered_frames(40), codec="ffv1")
    train = Video(frames=8, every=1).prepare(VideoFiles(path=str(path), validation=0.2, test=0.2)).train
    assert isinstance(train, MemoryClips)
    assert len(train) == 24 - 8 + 1
    assert len(train._frames) == 24


def test_downloaded_video_is_sampled_at_fps() -> None:
    modality = Video(frames=5, fps=5, size=(34, 80))
    batch = modality.read(real_file("video/bikes.mp4"))
    # 250 frames at 25 Hz, of which every fifth is used.
    assert batch.x.shape == (10, 3, 5, 34, 80)
    assert 0.2 < float(batch.x.mean()) < 0.8


# -- bad input ---------------------------------------------------------------------------------------------------------


def refusal(modality: Video, root: Path) -> str:
    with pytest.raises(AeframeError) as raised:
        modality.prepare(VideoFiles(path=str(root)))
    return str(raised.value)


def test_videos_of_other_shapes_are_errors_with_any_on_error(tmp_path: Path) -> None:
    root = folder_of(tmp_path, 5)
    odd = save(root / "9.mkv", numbered_frames(9, height=12, width=20), codec="ffv1")
    expected = (
        f"video '{odd}' has frames of 3 x 12 x 20 (channels x height x width), expected 3 x 16 x 24; convert all "
        "videos with modality.size=[16,24]"
    )
    assert refusal(Video(frames=4), root) == expected
    assert refusal(Video(frames=4, on_error="skip"), root) == expected
    assert len(Video(frames=4, size=8).prepare(VideoFiles(path=str(root))).train) == 8
    odd.unlink()
    grey = save(root / "9.mkv", numbered_frames(9, channels=1), codec="ffv1")
    assert refusal(Video(frames=4), root) == (
        f"video '{grey}' has frames of 1 x 16 x 24 (channels x height x width), expected 3 x 16 x 24; convert all "
        "videos with modality.channels=3"
    )


def test_frames_of_different_sizes(tmp_path: Path) -> None:
    folder = save_frames(tmp_path / "a", numbered_frames(4))
    save_frames(tmp_path / "b", numbered_frames(1, height=8, width=8), "x{}.png").joinpath("x0.png").rename(
        folder / "frame_2.png"
    )
    with pytest.raises(AeframeError) as raised:
        Video(frames=4).read(folder)
    assert str(raised.value) == (
        f"video '{folder}' has frames of 3 x 16 x 24 and, 2 frames later, of 3 x 8 x 8 (channels x height x width); "
        "convert them to one size"
    )


def test_short_video_is_an_error_or_skipped(tmp_path: Path) -> None:
    root = folder_of(tmp_path, 20)
    short = save(root / "5b.mkv", numbered_frames(5), codec="ffv1")
    message = (
        f"video '{short}' has 5 frames, expected at least 7 for a clip of 4; lower modality.frames, or skip such "
        "videos with on_error=skip"
    )
    assert refusal(Video(frames=4, stride=2), root) == message
    splits = Video(frames=4, stride=2, on_error="skip").prepare(VideoFiles(path=str(root)))
    assert splits.skipped == [message]


def test_fps_for_a_folder_of_frames(tmp_path: Path) -> None:
    root = save_frames(tmp_path / "a", numbered_frames(40))
    assert refusal(Video(frames=4, fps=5), root) == (
        f"video '{root}': modality.fps=5 requires videos with a frame rate; set modality.stride instead"
    )


@pytest.mark.parametrize("limit", [2048, 0])
def test_clips_before_damaged_frames_are_kept(tmp_path: Path, limit: int) -> None:
    root, dataset = tmp_path, VideoFiles(path=str(tmp_path), max_memory_mb=limit)
    for name in ("a", "b", "c", "d"):
        save(root / f"{name}.mp4", np.zeros((30, 32, 48, 3), np.uint8))
    damaged = save_damaged(root / "e.mp4")
    message = (
        f"video '{damaged}' cannot be decoded at frame 29 of 30 (the frame is damaged); replace it, or skip such "
        "videos with on_error=skip"
    )
    splits = Video(frames=10, on_error="skip").prepare(dataset)
    assert splits.skipped == [message]
    sources = (splits.train, splits.validation, splits.test)
    assert sum(len(source) for source in sources) == 4 * 3 + 2
    for source in sources:
        assert len(source.batch(torch.arange(len(source))).x) == len(source)
    with pytest.raises(AeframeError) as raised:
        read_all(Video(frames=10), dataset)
    assert str(raised.value) == message


def test_unreadable_videos_are_skipped_unless_all_are(tmp_path: Path) -> None:
    root = folder_of(tmp_path, 20)
    bad = root / "0.mkv"
    bad.write_text("hello " * 100)
    message = (
        f"video '{bad}' cannot be decoded (Invalid data found when processing input); replace it, or skip such "
        "videos with on_error=skip"
    )
    assert refusal(Video(frames=4), root) == message
    assert Video(frames=4, on_error="skip").prepare(VideoFiles(path=str(root))).skipped == [message]
    for path in root.iterdir():
        path.write_text("hello " * 100)
    assert refusal(Video(frames=4, on_error="skip"), root) == (
        f"dataset 'video_files' at '{root}' has no video that can be decoded; the first: {message}"
    )


def test_invalid_folders(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    assert refusal(Video(), missing) == (
        f"dataset 'video_files' at '{missing}' expects a video or a folder, which does not exist; set data.path"
    )
    assert refusal(Video(), tmp_path) == (
        f"dataset 'video_files' at '{tmp_path}' has no videos in '{tmp_path}'; expected files that end in "
        f"{', '.join(sorted(EXTENSIONS))}, or folders of images"
    )
    (tmp_path / "val").mkdir()
    assert refusal(Video(), tmp_path) == (
        f"dataset 'video_files' at '{tmp_path}' has a split folder 'val' but no 'train'; add it, or rename 'val'"
    )


def test_fractions_out_of_range(tmp_path: Path) -> None:
    with pytest.raises(AeframeError) as raised:
        VideoFiles(path="a", validation=0.5, test=0.5)
    assert str(raised.value) == (
        "dataset 'video_files' at 'a' needs fractions validation and test above 0 with a sum below 1, found "
        "validation=0.5 and test=0.5"
    )


def test_selected_files_keep_their_labels(tmp_path: Path) -> None:
    files = Files([VideoPart(tmp_path / name) for name in "abc"], torch.tensor([4, 5, 6]))
    selected = files.rows(torch.tensor([2, 0]))
    assert [part.path.name for part in selected.parts] == ["c", "a"]
    assert selected.labels is not None
    assert selected.labels.tolist() == [6, 4]


def test_the_class_folders_of_new_videos_are_read(tmp_path: Path) -> None:
    for name in ("train/run", "train/walk", "new/walk", "new/run", "new/sit", "dates/2024"):
        folder_of(tmp_path / name, 2)
    modality = Video(frames=4)
    assert modality.prepare(VideoFiles(path=str(tmp_path / "train"))).label_names == ("run", "walk")
    opened = Video(frames=4)
    opened.load_state(modality.state())
    # Each video has two clips.
    assert opened.read(tmp_path / "new").extras["label"].tolist() == 4 * [0] + 4 * [-1] + 4 * [1]
    for unlabelled in ("dates", "new/run", "new/run/0.mkv"):
        assert "label" not in opened.read(tmp_path / unlabelled).extras
