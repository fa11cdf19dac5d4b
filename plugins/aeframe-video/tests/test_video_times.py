"""Films as cameras and editors leave them: turned, mirrored, of different and of variable frame rates, a single one."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from video_samples import number_of, numbered_frames, save

from aeframe import AeframeError
from aeframe.data.file_samples import names_of
from aeframe_video.decode import read_frames, read_info
from aeframe_video.folder import VideoFiles
from aeframe_video.modality import Video


def numbers(source: Any) -> list[list[int]]:
    x = source.batch(torch.arange(len(source))).x
    return [[number_of(frame * 255) for frame in clip.movedim(1, 0)] for clip in x]


def refusal(modality: Video, path: Path, **options: Any) -> str:
    with pytest.raises(AeframeError) as raised:
        modality.prepare(VideoFiles(path=path, **options))
    return str(raised.value)


def save_variable(path: Path, times: list[int]) -> Path:
    """Write numbered frames at times in milliseconds."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=30)
        stream.height, stream.width, stream.pix_fmt, stream.time_base = 16, 24, "bgr0", Fraction(1, 1000)
        stream.codec_context.time_base = Fraction(1, 1000)
        for image, time in zip(numbered_frames(len(times)), times, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


# -- display matrix ----------------------------------------------------------------------------------------------------

ONE = 1 << 16
# The entries (a, b, c, d): a pixel in column p and row q is shown in column a p + c q and row b p + d q.
MATRICES = {
    "as stored": (ONE, 0, 0, ONE),
    "mirrored": (-ONE, 0, 0, ONE),
    "upside down": (ONE, 0, 0, -ONE),
    "turned by 180": (-ONE, 0, 0, -ONE),
    "turned by 90": (0, ONE, -ONE, 0),
    "turned by 270": (0, -ONE, ONE, 0),
    "transposed": (0, ONE, ONE, 0),
    "transposed at the other diagonal": (0, -ONE, -ONE, 0),
    "of zeros": (0, 0, 0, 0),
}
EXPECTED = {
    "as stored": lambda x: x,
    "mirrored": np.fliplr,
    "upside down": np.flipud,
    "turned by 180": lambda x: np.rot90(x, 2),
    # The angle counts clockwise, and NumPy turns anticlockwise.
    "turned by 90": lambda x: np.rot90(x, -1),
    "turned by 270": lambda x: np.rot90(x, 1),
    "transposed": lambda x: x.swapaxes(0, 1),
    "transposed at the other diagonal": lambda x: np.rot90(x.swapaxes(0, 1), 2),
    "of zeros": lambda x: x,
}


def with_matrix(path: Path, entries: tuple[int, int, int, int]) -> Path:
    """Write the display matrix into the track header (ISO 14496-12)."""
    data = bytearray(path.read_bytes())
    position = data.index(b"tkhd") + 4 + 40
    a, b, c, d = entries
    data[position : position + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(bytes(data))
    return path


@pytest.mark.parametrize("case", MATRICES)
def test_frames_are_turned_and_mirrored_as_the_display_matrix_states(tmp_path: Path, case: str) -> None:
    image = np.zeros((32, 48, 3), np.uint8)
    image[:8, :24] = 120
    image[:8, 24:] = 250
    path = with_matrix(save(tmp_path / "a.mp4", np.stack([image] * 3)), MATRICES[case])
    info = read_info(path)
    expected = EXPECTED[case](image)
    assert info.shape == (3, *expected.shape[:2])
    for frame in read_frames(info, np.arange(3))[0]:
        assert np.abs(frame.permute(1, 2, 0).numpy().astype(int) - expected).mean() < 3


def test_other_angles_are_refused(tmp_path: Path) -> None:
    half = round(ONE / 2**0.5)
    path = with_matrix(save(tmp_path / "a.mp4", numbered_frames(3)), (half, half, -half, half))
    with pytest.raises(AeframeError) as raised:
        read_info(path)
    assert str(raised.value) == (
        f"video '{path}' has a display matrix that turns frames by -45 degrees, expected a multiple of 90; write it "
        "again with turned frames"
    )


# -- frame rates -------------------------------------------------------------------------------------------------------


@pytest.fixture
def films(tmp_path: Path) -> Path:
    folder = tmp_path / "films"
    folder.mkdir()
    for number in range(4):
        save(folder / f"a{number}.mkv", numbered_frames(12), codec="ffv1", rate=10)
        save(folder / f"b{number}.mkv", numbered_frames(36), codec="ffv1", rate=30)
    return folder


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_films_of_different_rates_are_refused(films: Path, on_error: Any) -> None:
    assert refusal(Video(frames=3, on_error=on_error), films) == (
        f"video '{films}/b1.mkv' has 30 frames per second, expected 10 as the first video; sample all videos at one "
        "rate with modality.fps=10"
    )


@pytest.mark.parametrize("limit", [0, 2048])
def test_films_of_different_rates_are_sampled_at_fps(films: Path, limit: int) -> None:
    modality = Video(frames=3, fps=10)
    splits = modality.prepare(VideoFiles(path=films, max_memory_mb=limit))
    steps = {tuple(np.diff(clip).tolist()) for clip in numbers(splits.train)}
    assert steps == {(1, 1), (3, 3)}
    assert list(splits.notes) == []


def test_rates_that_are_nearly_the_same_are_not_refused(tmp_path: Path) -> None:
    for number, rate in enumerate((30, 30, 30, Fraction(30000, 1001), 30)):
        save(tmp_path / f"{number}.mp4", numbered_frames(6), rate=rate)  # type: ignore[arg-type]
    Video(frames=3).prepare(VideoFiles(path=tmp_path))


def test_a_trained_model_samples_films_at_the_rate_of_training(films: Path) -> None:
    modality = Video(frames=3)
    modality.prepare(VideoFiles(path=films / "a0.mkv", validation=0.3, test=0.3))
    restored = Video(frames=3)
    restored.load_state(modality.state())
    assert numbers(restored.open(films / "b0.mkv", "raise").source)[:2] == [[0, 3, 6], [9, 12, 15]]
    assert list(restored.notes) == [
        f"video '{films}/b0.mkv' has 30 frames per second, and is sampled at 10, the rate of training"
    ]


@pytest.mark.parametrize("limit", [0, 2048])
def test_films_of_a_variable_rate_are_sampled_by_their_times(tmp_path: Path, limit: int) -> None:
    path = save_variable(tmp_path / "a.mkv", [*range(0, 1000, 50), *range(1000, 10_000, 500)])
    dataset = VideoFiles(path=path, validation=0.3, test=0.3, max_memory_mb=limit)
    splits = Video(frames=4, fps=4).prepare(dataset)
    train = numbers(splits.train)
    # A quarter of a second is five frames in the first second, and half a frame after it.
    assert train[0] == [0, 5, 10, 15]
    assert train[1] == [20, 21, 21, 22]
    # 40 % of the ten seconds are for training, and not 40 % of the frames.
    assert 23 <= max(max(clip) for clip in train) <= 26
    assert splits.train.columns(torch.arange(2))["start"].tolist() == [0.0, 1.0]


def test_a_variable_rate_is_said(tmp_path: Path) -> None:
    path = save_variable(tmp_path / "a.mkv", [*range(0, 1000, 50), *range(1000, 10_000, 500)])
    notes = list(Video(frames=4).prepare(VideoFiles(path=path, validation=0.3, test=0.3)).notes)
    assert notes[1].startswith(
        f"video '{path}' is of a variable frame rate: frames are 0.05 to 0.5 s apart, and clips take them as they "
        "come; modality.fps samples it evenly in time"
    )


# -- few videos --------------------------------------------------------------------------------------------------------


def test_a_single_short_film_names_shares_that_would_do(tmp_path: Path) -> None:
    path = save(tmp_path / "short.mkv", numbered_frames(30), codec="ffv1")
    assert refusal(Video(frames=4), path) == (
        f"video '{path}' from frame 27 to 30 has 3 frames, expected at least 4 for a clip of 4; set "
        "data.validation=0.15 and data.test=0.15, or lower modality.frames"
    )
    splits = Video(frames=4).prepare(VideoFiles(path=path, validation=0.15, test=0.15))
    assert [len(split) for split in (splits.train, splits.validation, splits.test)] == [5, 1, 1]
    assert refusal(Video(frames=12), path).endswith("expected at least 12 for a clip of 12; lower modality.frames")


def test_three_films_are_each_split_by_time(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / f"{number}.mkv", numbered_frames(20, first=20 * number), codec="ffv1")
    splits = Video(frames=4).prepare(VideoFiles(path=tmp_path, validation=0.2, test=0.2))
    assert numbers(splits.validation) == [[12, 13, 14, 15], [32, 33, 34, 35], [52, 53, 54, 55]]
    assert list(splits.notes) == [
        f"dataset 'video_files' at '{tmp_path}': 3 videos are each split by time: the end is held out, 20% for "
        "validation and 20% for test"
    ]


# -- open and write ----------------------------------------------------------------------------------------------------


def test_open_skips_counts_and_names(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    save(tmp_path / "a" / "x.mkv", numbered_frames(9), codec="ffv1")
    (tmp_path / "a" / "y.ts").write_text("no film")
    (tmp_path / "a" / "y.srt").write_text("subtitles")
    save(tmp_path / "z.mkv", numbered_frames(13, first=20), codec="ffv1")
    modality = Video(frames=4)
    modality.load_state({"shape": [3, 4, 16, 24], "rate": 10.0, "data_rate": 10.0})
    opened = modality.open(tmp_path, "skip")
    assert opened.skipped == [
        f"video '{tmp_path}/a/y.ts' cannot be decoded (Invalid data found when processing input); replace it, or skip "
        "such videos with on_error=skip"
    ]
    assert not opened.source.in_memory
    # The film that cannot be read counts as one clip.
    assert [batch.index.tolist() for batch in opened.batches(3)] == [[0, 1, 3], [4, 5]]  # type: ignore[union-attr]
    assert numbers(opened.source)[1:3] == [[4, 5, 6, 7], [20, 21, 22, 23]]
    columns = opened.source.columns(torch.arange(5))  # type: ignore[attr-defined]
    assert columns["name"].tolist() == ["a/x.mkv"] * 2 + ["z.mkv"] * 3
    assert columns["start"].tolist() == pytest.approx([0.0, 0.4, 0.0, 0.4, 0.8])
    assert columns["frame"].tolist() == [0, 4, 0, 4, 8]
    assert list(modality.notes) == [
        f"'{tmp_path}': 1 file is passed over, since the suffix is that of no video (1 x .srt)"
    ]
    files = modality.write(opened.batch().x, tmp_path / "out", names=names_of(opened.source))
    assert [file.relative_to(tmp_path / "out").as_posix() for file in files] == ["a/x.mp4", "z.mp4"]
    assert [read_info(file).num_frames for file in files] == [8, 12]
    assert number_of(read_frames(read_info(files[1]), np.array([11]))[0][0]) == 31
    with pytest.raises(AeframeError, match=r"a/y.ts' cannot be decoded"):
        modality.open(tmp_path, "raise")
    with pytest.raises(AeframeError, match=r"out' exists and is not overwritten"):
        modality.write(opened.batch().x, tmp_path / "out", names=names_of(opened.source))


def test_a_header_that_claims_too_many_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.mkv", numbered_frames(3), codec="ffv1")
    monkeypatch.setenv("AEFRAME_MAX_MEGAPIXELS", "0.0001")
    with pytest.raises(AeframeError, match=r"a.mkv' has 24 x 16 pixels, and the limit is 0.0001 megapixels"):
        read_info(path)


def test_further_streams_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        streams: list[Any] = [container.add_stream("ffv1", rate=10) for _ in range(2)]
        for stream in streams:
            stream.height, stream.width, stream.pix_fmt = 16, 24, "bgr0"
        for number, stream in enumerate(streams):
            for image in numbered_frames(4, first=20 * number):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        for stream in streams:
            container.mux(stream.encode(None))
    modality = Video(frames=4)
    assert numbers(modality.open(path, "raise").source) == [[0, 1, 2, 3]]
    assert list(modality.notes) == [f"video '{path}' has 2 streams of pictures; the first is read"]


@pytest.mark.parametrize("requested", [[0, 1], [13], [5, 39]])
def test_transport_streams_are_decoded_from_any_frame(tmp_path: Path, requested: list[int]) -> None:
    # A seek in MPEG-TS may end behind the frame, and its times do not begin at 0.
    info = read_info(save(tmp_path / "a.ts", numbered_frames(40), g="20", bf="2"))
    decoded, error = read_frames(info, np.array(requested))
    assert error is None
    assert [number_of(frame) for frame in decoded] == requested
