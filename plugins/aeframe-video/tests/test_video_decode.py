"""Videos as files: what is in them, and what is wrong with them."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest
from video_samples import broken_end, counted, cut_off, number_of, save, save_frames

from aeframe import AeframeError
from aeframe.testing.fixtures import real_file
from aeframe_video.decode import find_track, read_frames


def refusal(path: Path) -> str:
    with pytest.raises(AeframeError) as raised:
        find_track(path)
    return str(raised.value)


def test_every_frame_is_found_bit_for_bit(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (7, 16, 24, 3), dtype=np.uint8)
    track = find_track(save(tmp_path / "a.mkv", frames, rate=25, codec="ffv1"))
    assert (track.num_frames, track.shape, track.rate) == (7, (3, 16, 24), 25.0)
    found, broken = read_frames(track, np.arange(7))
    assert broken is None
    assert all(np.array_equal(one.permute(1, 2, 0), other) for one, other in zip(found, frames, strict=True))


def test_grey_video_has_one_channel(tmp_path: Path) -> None:
    track = find_track(save(tmp_path / "a.mkv", counted(3, channels=1), codec="ffv1"))
    assert track.shape == (1, 16, 24)
    assert [number_of(frame) for frame in read_frames(track, np.arange(3))[0]] == [0, 1, 2]


@pytest.mark.parametrize("gop", ["1", "7", "250"])
@pytest.mark.parametrize("wanted", [[0, 1], [13], [5, 20, 39], [39]])
def test_frames_in_the_middle_are_the_ones_that_reading_on_would_give(
    tmp_path: Path, gop: str, wanted: list[int]
) -> None:
    # With frames that are stored in another order than they are shown.
    track = find_track(save(tmp_path / "a.mp4", counted(40), g=gop, bf="2"))
    assert len(track.times) == 40
    found, broken = read_frames(track, np.array(wanted))
    assert broken is None
    assert [number_of(frame) for frame in found] == wanted


def test_frames_of_a_folder_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    folder = save_frames(tmp_path / "a", counted(12))
    (folder / "notes.txt").write_text("passed over")
    track = find_track(folder)
    assert (track.num_frames, track.shape, track.rate) == (12, (3, 16, 24), None)
    assert [number_of(frame) for frame in read_frames(track, np.array([1, 2, 10]))[0]] == [1, 2, 10]


def test_a_video_of_a_telephone_is_turned_upright(tmp_path: Path) -> None:
    frames = counted(3)
    frames[:, :4, :4] = 255
    path = save(tmp_path / "a.mp4", frames)
    data = bytearray(path.read_bytes())
    # The matrix of the track's header: a quarter turn clockwise, as ISO 14496-12 writes it.
    place = data.index(b"tkhd") + 4 + 40
    turn = [0, 0x10000, 0, -0x10000, 0, 0, 16 << 16, 0, 0x40000000]
    data[place : place + 36] = struct.pack(">9i", *turn)
    path.write_bytes(bytes(data))
    track = find_track(path)
    assert track.shape == (3, 24, 16)
    (frame,), _ = read_frames(track, np.array([0]))
    # What stood at the top left stands at the top right.
    assert float(frame[:, :3, -3:].float().mean()) > 240
    assert float(frame[:, :3, :3].float().mean()) < 30


def test_a_real_video() -> None:
    track = find_track(real_file("video/bikes.mp4"))
    assert (track.num_frames, track.shape, track.rate) == (250, (3, 272, 640), 25.0)
    (late,), broken = read_frames(track, np.array([249]))
    assert broken is None
    assert late.float().std() > 10


# -- bad input ---------------------------------------------------------------------------------------------------------

WAY_OUT = "replace it, or leave such videos out of training with modality.on_error=skip"


def test_files_that_are_no_video_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    assert refusal(path) == f"there is no video file '{path}'"
    path.write_bytes(b"")
    assert refusal(path) == f"video '{path}' is empty (0 bytes); {WAY_OUT}"
    path.write_text("hello " * 100)
    assert refusal(path) == (f"video '{path}' cannot be decoded (Invalid data found when processing input); {WAY_OUT}")


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert refusal(path) == f"video '{path}' has no video stream; {WAY_OUT}"


def test_a_video_without_frames_is_refused(tmp_path: Path) -> None:
    # A whole header, and nothing behind it.
    path = save(tmp_path / "a.mp4", counted(1), movflags="faststart+frag_keyframe+empty_moov")
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"moof") - 4])
    assert refusal(path) == f"video '{path}' has no frames; {WAY_OUT}"
    folder = tmp_path / "frames"
    folder.mkdir()
    assert refusal(folder) == f"video '{folder}' is a folder without frames, expected pictures; {WAY_OUT}"


def test_a_file_without_its_header_is_refused(tmp_path: Path) -> None:
    path = cut_off(save(tmp_path / "a.mp4", counted(30)))
    assert refusal(path) == (f"video '{path}' cannot be decoded (Invalid data found when processing input); {WAY_OUT}")


def test_a_file_that_is_cut_off_says_at_which_frame(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (30, 32, 48, 3), dtype=np.uint8)
    path = cut_off(save(tmp_path / "a.mp4", noise, movflags="faststart", bf="0"))
    track = find_track(path)
    assert track.num_frames == 30
    found, broken = read_frames(track, np.arange(30))
    assert 0 < len(found) < 20
    assert broken == (
        f"video '{path}' breaks off at frame {len(found)} of 30 (Invalid data found when processing input); {WAY_OUT}"
    )


def test_a_broken_last_frame_is_no_frame(tmp_path: Path) -> None:
    path = broken_end(tmp_path / "a.mp4")
    found, broken = read_frames(find_track(path), np.arange(30))
    assert len(found) == 29
    assert broken == f"video '{path}' breaks off at frame 29 of 30 (its picture is damaged); {WAY_OUT}"


def test_a_broken_frame_of_a_folder_is_named(tmp_path: Path) -> None:
    folder = save_frames(tmp_path / "a", counted(4))
    cut_off(folder / "frame_2.png")
    found, broken = read_frames(find_track(folder), np.arange(4))
    assert len(found) == 2
    assert broken is not None
    assert broken.startswith(f"image '{folder / 'frame_2.png'}' cannot be decoded (")
