"""Clips in arrays: layouts, splits and errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aeframe import AeframeError
from aeframe.data import Splits
from aeframe.testing.fixtures import real_file
from aeframe_video.arrays import ArrayFile, MovingMNIST, VideoNPZ
from aeframe_video.modality import Video

RNG = np.random.default_rng(0)
CLIPS = RNG.integers(0, 256, (10, 6, 8, 9, 3), dtype=np.uint8)


def saved(folder: Path, **arrays: Any) -> Path:
    path = folder / "a.npz"
    np.savez(path, **arrays)
    return path


def sizes(splits: Splits) -> list[int]:
    return [len(source) for source in (splits.train, splits.validation, splits.test)]


@pytest.mark.parametrize(
    ("array", "shape"),
    [
        (CLIPS, (3, 8, 9)),
        (CLIPS.transpose(0, 1, 4, 2, 3), (3, 8, 9)),
        (CLIPS[..., 0], (1, 8, 9)),
        (CLIPS[..., :1], (1, 8, 9)),
    ],
)
def test_all_layouts_contain_the_same_clips(tmp_path: Path, array: Any, shape: tuple[int, ...]) -> None:
    path = saved(tmp_path, x=array)
    assert VideoNPZ(path=str(path)).describe() == {"shape": shape, "frames": 6}
    batch = Video(frames=6).read(path)
    expected = torch.from_numpy(CLIPS[..., : shape[0]]).permute(0, 4, 1, 2, 3) / 255
    assert torch.equal(batch.x, expected)


def test_missing_splits_are_drawn(tmp_path: Path) -> None:
    path = saved(tmp_path, x_train=CLIPS, y_train=np.arange(10), x_test=CLIPS[:4], y_test=np.arange(4))
    splits = Video().prepare(VideoNPZ(path=str(path), validation=0.2))
    assert sizes(splits) == [8, 2, 4]
    labels = [s.batch(torch.arange(len(s))).extras["label"].tolist() for s in (splits.train, splits.validation)]
    assert sorted(labels[0] + labels[1]) == list(range(10))


def test_labels_of_clips_from_longer_videos(tmp_path: Path) -> None:
    path = saved(tmp_path, x=CLIPS, y=np.arange(10))
    modality = Video(frames=2, every=3)
    spec = modality.spec(VideoNPZ(path=str(path)))
    assert spec.shape == (3, 2, 8, 9)
    train = modality.prepare(VideoNPZ(path=str(path))).train
    batch = train.batch(torch.arange(len(train)))
    assert len(train) == 16
    for row, label in enumerate(batch.extras["label"].tolist()):
        first = 3 * (row % 2)
        clip = torch.from_numpy(CLIPS[label, first : first + 2]).permute(3, 0, 1, 2) / 255
        assert torch.equal(batch.x[row], clip)


def test_stride_uses_all_frames(tmp_path: Path) -> None:
    path = saved(tmp_path, x=CLIPS[:, :5])
    assert Video(stride=2).spec(VideoNPZ(path=str(path))).shape == (3, 3, 8, 9)
    assert Video(stride=2).prepare(VideoNPZ(path=str(path))).train.batch(torch.arange(2)).x.shape == (2, 3, 3, 8, 9)


def test_bool_arrays_are_black_and_white(tmp_path: Path) -> None:
    assert sorted(set(Video(frames=6).read(saved(tmp_path, x=CLIPS > 128)).x.flatten().tolist())) == [0.0, 1.0]


def test_published_moving_mnist(tmp_path: Path) -> None:
    path = tmp_path / "mnist_test_seq.npy"
    array = RNG.integers(0, 256, (20, 30, 8, 8), dtype=np.uint8)
    np.save(path, array)
    splits = Video().prepare(MovingMNIST(path=str(path)))
    assert sizes(splits) == [24, 3, 3]
    last = splits.test.batch(torch.tensor([2])).x[0, 0]
    assert torch.equal(last, torch.from_numpy(array[:, 29]) / 255)


def test_moving_mnist_with_splits() -> None:
    dataset = MovingMNIST(path=str(real_file("video/moving_mnist_small.npz")))
    assert Video().spec(dataset).shape == (1, 20, 64, 64)
    splits = Video().prepare(dataset)
    assert sizes(splits) == [720, 80, 100]
    assert splits.train.batch(torch.tensor([5])).extras == {}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"x": CLIPS[0, 0]},
            "array 'x' has shape (8, 9, 3), expected clips (N, T, H, W), (N, T, H, W, C) or (N, T, C, H, W) with C = 1 "
            "or 3 and no dimension of 0; reshape it",
        ),
        (
            {"x": CLIPS[:, :0]},
            "array 'x' has shape (10, 0, 8, 9, 3), expected clips (N, T, H, W), (N, T, H, W, C) or (N, T, C, H, W) with"
            " C = 1 or 3 and no dimension of 0; reshape it",
        ),
        ({"x": CLIPS / 255}, "array 'x' has dtype float64, expected uint8 or bool; convert it and save it again"),
        (
            {"x": CLIPS, "y": np.arange(9)},
            "array 'y' is int64 (9,), expected whole numbers (10,), one label for each clip of 'x'; correct or remove "
            "it",
        ),
    ],
)
def test_invalid_arrays(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    path = saved(tmp_path, **arrays)
    with pytest.raises(AeframeError) as raised:
        Video().prepare(VideoNPZ(path=str(path)))
    assert str(raised.value) == f"dataset 'video_npz' at '{path}': {message}"


def test_invalid_files(tmp_path: Path) -> None:
    def refusal(path: Path, **options: Any) -> str:
        with pytest.raises(AeframeError) as raised:
            ArrayFile(path, who="w", **options)
        return str(raised.value)

    assert (
        refusal(tmp_path / "no.npz")
        == f"w: there is no file '{tmp_path / 'no.npz'}'; set the path of an NPZ or NPY file"
    )
    text = tmp_path / "a.txt"
    text.write_text("a")
    assert refusal(text) == f"w reads NPZ and NPY files, found '{text}'; save the clips with numpy.savez"
    broken = tmp_path / "b.npz"
    broken.write_text("a")
    assert refusal(broken) == (
        f"w: '{broken}' cannot be read (File is not a zip file); save it again with numpy.savez, without objects"
    )
    path = saved(tmp_path, one=CLIPS, two=CLIPS)
    assert refusal(path) == (
        f"w: '{path}' has arrays one, two, expected 'x_train' (with 'x_val', 'x_test') or 'x'; name the clips with "
        "data.key=..."
    )
    assert refusal(path, key="tow") == f"w: '{path}' has no array 'tow', did you mean 'two'?; it has one, two"
    assert ArrayFile(path, who="w", key="two").keys == {"train": "two"}


def test_fps_for_arrays(tmp_path: Path) -> None:
    with pytest.raises(AeframeError) as raised:
        Video(fps=5).spec(VideoNPZ(path=str(saved(tmp_path, x=CLIPS))))
    assert str(raised.value) == (
        "modality 'video' with modality.fps requires video files, found arrays, which have no frame rate; set "
        "modality.stride instead"
    )


def test_too_short_videos(tmp_path: Path) -> None:
    path = saved(tmp_path, x=CLIPS)
    with pytest.raises(AeframeError) as raised:
        Video(frames=4, stride=2).prepare(VideoNPZ(path=str(path)))
    assert str(raised.value) == (
        "modality 'video': the array has videos of 6 frames, expected at least 7 for a clip of 4; lower modality.frames"
    )


def test_the_labels_of_new_arrays_are_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "labelled.npz", x=CLIPS[:4], y=[2, 0, 1, 0])
    np.savez(tmp_path / "splits.npz", x_test=CLIPS[:2], y_test=[1, 0], x_train=CLIPS[:2], y_train=[2, 2])
    np.savez(tmp_path / "unlabelled.npz", x=CLIPS[:4])
    modality = Video(frames=6)
    assert modality.read(tmp_path / "labelled.npz").extras["label"].tolist() == [2, 0, 1, 0]
    assert modality.read(tmp_path / "splits.npz").extras["label"].tolist() == [2, 2, 1, 0]
    assert "label" not in modality.read(tmp_path / "unlabelled.npz").extras
