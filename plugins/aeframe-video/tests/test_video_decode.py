"""Decoding of video files and folders of frames, and errors for bad files."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from torch import Tensor
from video_samples import number_of, numbered_frames, save, save_damaged, save_frames, truncate

from aeframe import AeframeError
from aeframe.testing.fixtures import real_file
from aeframe_video.decode import read_frames, read_info


def refusal(path: Path) -> str:
    with pytest.raises(AeframeError) as raised:
        read_info(path)
    return str(raised.value)


def test_lossless_video(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (7, 16, 24, 3), dtype=np.uint8)
    info = read_info(save(tmp_path / "a.mkv", frames, rate=25, codec="ffv1"))
    assert (info.num_frames, info.shape, info.rate) == (7, (3, 16, 24), 25.0)
    decoded, error = read_frames(info, np.arange(7))
    assert error is None
    assert all(
        np.array_equal(frame.permute(1, 2, 0), expected) for frame, expected in zip(decoded, frames, strict=True)
    )


def test_grey_video_has_one_channel(tmp_path: Path) -> None:
    info = read_info(save(tmp_path / "a.mkv", numbered_frames(3, channels=1), codec="ffv1"))
    assert info.shape == (1, 16, 24)
    assert [number_of(frame) for frame in read_frames(info, np.arange(3))[0]] == [0, 1, 2]


@pytest.mark.parametrize("gop", ["1", "7", "250"])
@pytest.mark.parametrize("requested", [[0, 1], [13], [5, 20, 39], [39]])
def test_frames_after_seeking(tmp_path: Path, gop: str, requested: list[int]) -> None:
    # B-frames are stored in another order than they are displayed.
    info = read_info(save(tmp_path / "a.mp4", numbered_frames(40), g=gop, bf="2"))
    assert len(info.timestamps) == 40
    decoded, error = read_frames(info, np.array(requested))
    assert error is None
    assert [number_of(frame) for frame in decoded] == requested


def test_frames_of_a_folder_are_sorted_by_number(tmp_path: Path) -> None:
    folder = save_frames(tmp_path / "a", numbered_frames(12))
    (folder / "notes.txt").write_text("ignored")
    info = read_info(folder)
    assert (info.num_frames, info.shape, info.rate) == (12, (3, 16, 24), None)
    assert [number_of(frame) for frame in read_frames(info, np.array([1, 2, 10]))[0]] == [1, 2, 10]


def test_rotation_of_phone_videos_is_applied(tmp_path: Path) -> None:
    frames = numbered_frames(3)
    frames[:, :4, :4] = 255
    path = save(tmp_path / "a.mp4", frames)
    data = bytearray(path.read_bytes())
    # The matrix in the track header: a clockwise rotation by 90 degrees (ISO 14496-12).
    position = data.index(b"tkhd") + 4 + 40
    rotation = [0, 0x10000, 0, -0x10000, 0, 0, 16 << 16, 0, 0x40000000]
    data[position : position + 36] = struct.pack(">9i", *rotation)
    path.write_bytes(bytes(data))
    info = read_info(path)
    assert info.shape == (3, 24, 16)
    (frame,), _ = read_frames(info, np.array([0]))
    # The top left corner is rotated to the top right.
    assert float(frame[:, :3, -3:].float().mean()) > 240
    assert float(frame[:, :3, :3].float().mean()) < 30


def test_downloaded_video() -> None:
    info = read_info(real_file("video/bikes.mp4"))
    assert (info.num_frames, info.shape, info.rate) == (250, (3, 272, 640), 25.0)
    (frame,), error = read_frames(info, np.array([249]))
    assert error is None
    assert frame.float().std() > 10


# -- bad input ---------------------------------------------------------------------------------------------------------

NEXT_STEP = "replace it, or skip such videos with on_error=skip"


def test_missing_empty_and_other_files(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    assert refusal(path) == f"there is no video file '{path}'"
    path.write_bytes(b"")
    assert refusal(path) == f"video '{path}' is empty (0 bytes); {NEXT_STEP}"
    path.write_text("hello " * 100)
    assert refusal(path) == (
        f"video '{path}' cannot be decoded (Invalid data found when processing input); {NEXT_STEP}"
    )


def test_audio_only_file(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert refusal(path) == f"video '{path}' has no video stream; {NEXT_STEP}"


def test_video_without_frames(tmp_path: Path) -> None:
    # An intact header without data.
    path = save(tmp_path / "a.mp4", numbered_frames(1), movflags="faststart+frag_keyframe+empty_moov")
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"moof") - 4])
    assert refusal(path) == f"video '{path}' has no frames; {NEXT_STEP}"
    folder = tmp_path / "frames"
    folder.mkdir()
    assert refusal(folder) == f"video '{folder}' is a folder without frames, expected images; {NEXT_STEP}"


def test_file_without_header(tmp_path: Path) -> None:
    path = truncate(save(tmp_path / "a.mp4", numbered_frames(30)))
    assert refusal(path) == (
        f"video '{path}' cannot be decoded (Invalid data found when processing input); {NEXT_STEP}"
    )


def test_truncated_file(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (30, 32, 48, 3), dtype=np.uint8)
    path = truncate(save(tmp_path / "a.mp4", noise, movflags="faststart", bf="0"))
    info = read_info(path)
    assert info.num_frames == 30
    decoded, error = read_frames(info, np.arange(30))
    assert 0 < len(decoded) < 20
    assert error == (
        f"video '{path}' cannot be decoded at frame {len(decoded)} of 30 (Invalid data found when processing input); "
        f"{NEXT_STEP}"
    )


def test_damaged_last_frame(tmp_path: Path) -> None:
    path = save_damaged(tmp_path / "a.mp4")
    decoded, error = read_frames(read_info(path), np.arange(30))
    assert len(decoded) == 29
    assert error == f"video '{path}' cannot be decoded at frame 29 of 30 (the frame is damaged); {NEXT_STEP}"


def test_damaged_image_in_a_folder(tmp_path: Path) -> None:
    folder = save_frames(tmp_path / "a", numbered_frames(4))
    truncate(folder / "frame_2.png")
    decoded, error = read_frames(read_info(folder), np.arange(4))
    assert len(decoded) == 2
    assert error is not None
    assert error.startswith(f"image '{folder / 'frame_2.png'}' cannot be decoded (")


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux's list of threads")
def test_frames_do_not_start_threads_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        for number in range(60):
            pixels = np.full((16, 16, 3), 4 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    before, most = len(os.listdir("/proc/self/task")), 0

    def count(frame: Tensor) -> Tensor:
        nonlocal most
        most = max(most, len(os.listdir("/proc/self/task")))
        return frame

    read_frames(read_info(path), np.arange(60), count)
    # A decoder has at most a thread for each core, and one more.
    assert most - before <= 2 * (os.cpu_count() or 1) + 2
