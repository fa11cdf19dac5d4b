"""Videos in memory: every form trains, is prepared as in a file and restored; wrong ones are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import aeframe
from aeframe import AeframeError, Samples
from aeframe.data.in_memory import SampleSplits, memory_dataset
from aeframe_image.pictures import SharedStack
from aeframe_video import memory_clips
from aeframe_video.in_memory import VideoInMemory
from aeframe_video.modality import Video

GENERATOR = np.random.default_rng(0)
GREY = GENERATOR.integers(0, 256, (20, 4, 8, 8), np.uint8)
COLOUR = GENERATOR.integers(0, 256, (20, 4, 8, 8, 3), np.uint8)
BOOL = GREY > 127
CHANNELS_FIRST = np.ascontiguousarray(COLOUR.transpose(0, 1, 4, 2, 3))
# Each form of videos, with the array that `restore` returns.
FORMS: dict[str, tuple[Any, NDArray[np.uint8]]] = {
    "bytes NTHW": (GREY, GREY),
    "bytes NTHWC": (COLOUR, COLOUR),
    "bytes NTCHW": (CHANNELS_FIRST, COLOUR),
    "bool NTHW": (BOOL, 255 * BOOL.astype(np.uint8)),
    "tensor of bytes": (torch.from_numpy(CHANNELS_FIRST), COLOUR),
    "list of arrays THW": (list(GREY), GREY),
    "list of tensors TCHW": (list(torch.from_numpy(CHANNELS_FIRST)), COLOUR),
}
UNEQUAL = [video[: 3 + number % 4] for number, video in enumerate(GENERATOR.integers(0, 256, (20, 6, 8, 8), np.uint8))]


def fit(x: Any, folder: Path, **settings: Any) -> Any:
    return aeframe.fit(
        x,
        folder=folder,
        **{"max_epochs": 1, "max_batches": 2, "batch_size": 4, "pictures": False, **settings},
        encoder={"channels": [4, 4]},
        trainer={"accelerator": "cpu", "threads": 1},
    )


def dataset(x: Any, **columns: Any) -> VideoInMemory:
    return VideoInMemory(SampleSplits({"train": Samples(x, **columns)}))


def modality_of(shape: list[int], **options: Any) -> Video:
    modality = Video(**options)
    modality.load_state({"shape": shape, "rate": 10.0})
    return modality


@pytest.mark.parametrize("form", FORMS)
def test_every_form_trains_and_is_restored(form: str, tmp_path: Path) -> None:
    x, expected = FORMS[form]
    run = fit(x, tmp_path)
    assert run.model.config["data"]["name"] == "video_in_memory"
    batch = run.model.prepare(x)
    assert tuple(batch.x.shape) == (20, *run.model.spec.shape)
    restored = run.model.restore(batch.x)
    assert restored.dtype == np.uint8
    np.testing.assert_array_equal(restored, expected)


def test_videos_of_different_lengths_train_as_clips_of_the_shortest(tmp_path: Path) -> None:
    run = fit(UNEQUAL, tmp_path)
    assert run.model.spec.shape == (1, 3, 8, 8)
    expected = [video[start : start + 3] for video in UNEQUAL for start in range(0, len(video) - 2, 3)]
    np.testing.assert_array_equal(run.model.restore(run.model.prepare(UNEQUAL).x), np.stack(expected))


def test_videos_of_different_lengths_keep_their_labels() -> None:
    labels = np.array([f"length {len(video)}" for video in UNEQUAL])
    data = dataset(UNEQUAL, y=labels)
    source = Video(frames=2, random_start=True).prepare(data).train
    batch = source.batch(torch.arange(len(source)))
    lengths = sorted(int(data.label_names[code].split()[1]) for code in batch.extras["label"].tolist())
    used = data.load()["train"].videos
    assert lengths == sorted(len(video) for video in used for _ in range(len(video) // 2))


def test_short_videos_are_skipped_if_asked() -> None:
    splits = Video(frames=4, on_error="skip").prepare(dataset(UNEQUAL))
    assert all("has 3 frames, expected at least 4 for a clip of 4" in message for message in splits.skipped)
    assert len(splits.skipped) == 5
    assert len(splits.train) + len(splits.validation) + len(splits.test) == 15
    with pytest.raises(AeframeError, match=r"video 'x\[\d+\]' has 3 frames, expected at least 4"):
        Video(frames=4).prepare(dataset(UNEQUAL))


def test_frames_of_different_sizes_train_at_one_size(tmp_path: Path) -> None:
    videos = [*GREY[:2, :, :6], *GREY[2:]]
    assert fit(videos, tmp_path, modality={"size": 8}).model.spec.shape == (1, 4, 8, 8)


@pytest.mark.parametrize("x", [GREY, COLOUR, CHANNELS_FIRST, BOOL])
def test_an_array_is_prepared_as_in_a_file(x: NDArray[Any], tmp_path: Path) -> None:
    np.savez(tmp_path / "videos.npz", x=x)
    modality = modality_of([1, 2, 6, 6], size=6, frames=2)
    batch, expected = modality.prepare_samples(x), modality.read(tmp_path / "videos.npz")
    assert torch.equal(batch.x, expected.x)
    assert torch.equal(batch.index, expected.index)  # type: ignore[arg-type]
    # A list with one shorter video is prepared by another path.
    listed = modality.prepare_samples([x[0, :3], *x[1:]]).x
    assert torch.equal(listed[:1], expected.x[:1])
    assert torch.equal(listed[1:], expected.x[2:])


@pytest.mark.parametrize("x", [GREY, COLOUR, CHANNELS_FIRST, torch.from_numpy(GREY)])
def test_an_array_of_bytes_is_shared(x: Any) -> None:
    raw = dataset(x).load()["train"]
    assert isinstance(raw, SharedStack)
    assert len(raw) == 16
    source = Video().prepare(dataset(x)).train
    assert source._frames.data_ptr() == torch.as_tensor(x).data_ptr()  # type: ignore[attr-defined]


def test_a_memory_map_is_not_read_into_memory(tmp_path: Path) -> None:
    np.save(tmp_path / "videos.npy", GREY)
    mapped = np.load(tmp_path / "videos.npy", mmap_mode="r")
    source, expected = Video().prepare(dataset(mapped)).test, Video().prepare(dataset(GREY)).test
    assert source._frames.data_ptr() == mapped.__array_interface__["data"][0]  # type: ignore[attr-defined]
    assert torch.equal(source.batch(torch.tensor([1, 0])).x, expected.batch(torch.tensor([1, 0])).x)


def test_videos_above_the_bound_are_resized_by_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = Video(size=5, frames=2).prepare(dataset(COLOUR, y=np.arange(20))).train
    monkeypatch.setattr(memory_clips, "MAX_COPIED_BYTES", 0)
    source = Video(size=5, frames=2).prepare(dataset(COLOUR, y=np.arange(20))).train
    assert source._frames.shape[-1] == 8  # type: ignore[attr-defined]
    assert expected._frames.shape[-1] == 5  # type: ignore[attr-defined]
    index = torch.tensor([7, 0])
    assert torch.equal(source.batch(index).x, expected.batch(index).x)
    assert torch.equal(source.batch(index).extras["label"], expected.batch(index).extras["label"])


@pytest.mark.parametrize(
    ("x", "name"),
    [
        (GREY, "video_in_memory"),
        (BOOL, "video_in_memory"),
        (COLOUR, "video_in_memory"),
        (torch.from_numpy(CHANNELS_FIRST), "video_in_memory"),
        (UNEQUAL, "video_in_memory"),
        (GREY[:, :1], "image_in_memory"),
        (GREY[:, :3], "image_in_memory"),
        (COLOUR[:, 0], "image_in_memory"),
        (GREY[:, 0], "image_in_memory"),
        ([GREY[0, :3], GREY[1]], "video_in_memory"),
        (GREY / 255, "vector_in_memory"),
        (COLOUR / 255, "vector_in_memory"),
        (GREY.astype(np.int64), "vector_in_memory"),
        (np.zeros((2, 4, 5, 8, 8), np.uint8), "vector_in_memory"),
    ],
)
def test_the_modality_is_inferred_from_type_and_shape(x: Any, name: str) -> None:
    assert memory_dataset(x, None) == name


def test_images_are_videos_if_the_modality_is_named(tmp_path: Path) -> None:
    assert fit(GREY[:, :3], tmp_path, modality="video").model.spec.shape == (1, 3, 8, 8)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (
            GREY / 255,
            "x has dtype float64, expected uint8 or bool; of values in [0, 1] pass (255 * x).round().astype('uint8')",
        ),
        (
            np.zeros((2, 4, 8, 8, 5), np.uint8),
            "x has shape (2, 4, 8, 8, 5), expected clips (N, T, H, W), (N, T, H, W, C) or (N, T, C, H, W) with C = 1 "
            "or 3 and no dimension of 0; reshape it",
        ),
        (
            [GREY[0], "b.mp4"],
            "x[1] is str, expected a video (T, H, W), (T, H, W, C) or (T, C, H, W); leave it out or convert it",
        ),
        (
            "b.mp4",
            "x is str, expected videos: an array (N, T, H, W), (N, T, H, W, C) or (N, T, C, H, W), or a list of arrays",
        ),
        (
            [GREY[0], GREY[1, :2]],
            "video 'x[1]' has 2 frames, expected at least 4 for a clip of 4; lower modality.frames, or skip such "
            "videos with on_error=skip",
        ),
        (
            [GREY[0], GREY[1, :, :5]],
            "video 'x[1]' has frames of 1 x 5 x 8 (channels x height x width), expected 1 x 8 x 8; convert all videos "
            "with modality.size=[8,8]",
        ),
        (
            GREY[:, :2],
            "x has videos of 2 frames, expected at least 4 for a clip of 4; lower modality.frames",
        ),
        (
            GREY[:, :, :5],
            "modality 'video': x has clips of 1 x 4 x 5 x 8 (channels x frames x height x width), expected 1 x 4 x 8 x "
            "8; convert them to that shape",
        ),
    ],
)
def test_wrong_videos_are_refused(x: Any, message: str) -> None:
    with pytest.raises(AeframeError) as error:
        modality_of([1, 4, 8, 8]).prepare_samples(x)
    assert str(error.value) == message
