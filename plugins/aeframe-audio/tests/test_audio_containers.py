"""Sounds in containers, which PyAV decodes."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from audio_files import NEXT_STEP, RATE, recording, saved, sine

from aeframe import AeframeError
from aeframe_audio.containers import num_streams
from aeframe_audio.decode import decode, decode_blocks, read_format, read_header
from aeframe_audio.folder import AudioFolder
from aeframe_audio.modality import Audio

av = pytest.importorskip("av")
SECONDS = 2
CODECS = {
    "a.m4a": "aac",
    "a.mka": "flac",
    "a.mkv": "libopus",
    "a.mov": "pcm_s16le",
    "a.webm": "libopus",
}
RATES = {"libopus": 48000}


def chirp(rate: int, seconds: float = SECONDS) -> Any:
    time = np.arange(round(rate * seconds)) / rate
    return 0.5 * np.sin(2 * np.pi * (200 + 150 * time) * time)


def save(path: Path, codec: str, *, streams: int = 1, video: bool = False, seconds: float = SECONDS) -> int:
    """Write a chirp, and return its rate."""
    rate, kind = RATES.get(codec, 16000), "s16" if codec in ("flac", "pcm_s16le") else "fltp"
    if codec == "libopus":
        kind = "flt"
    wave = chirp(rate, seconds)
    with av.open(str(path), "w") as container:
        outputs = []
        for _ in range(streams):
            stream = container.add_stream(codec, rate=rate)
            stream.layout, stream.format, stream.bit_rate = "mono", kind, 64000
            outputs.append(stream)
        if video:
            film = container.add_stream("libx264", rate=10)
            film.width, film.height, film.pix_fmt = 32, 32, "yuv420p"
        for stream in outputs:
            for start in range(0, len(wave), 1024):
                part = wave[start : start + 1024]
                array = (part * 32767).astype(np.int16) if kind == "s16" else part.astype(np.float32)
                frame = av.AudioFrame.from_ndarray(array[None], format=kind, layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        if video:
            for _ in range(20):
                container.mux(film.encode(av.VideoFrame(32, 32, "yuv420p")))
            container.mux(film.encode(None))
    return rate


@pytest.mark.parametrize("name", CODECS)
def test_containers_are_decoded_as_a_whole_and_in_parts(tmp_path: Path, name: str) -> None:
    rate = save(tmp_path / name, CODECS[name])
    file = recording(tmp_path / name)
    header = read_header(file)
    assert (header.rate, header.channels) == (rate, 1) == read_format(file)
    assert header.frames == pytest.approx(SECONDS * rate, abs=0.1 * rate)
    whole = decode(file)[0].numpy()
    assert whole.shape == (1, header.frames)
    # Compression delays the sound by some samples at most.
    delay = range(-64, 65)
    middle = slice(rate // 2, rate)
    match = max(np.corrcoef(np.roll(whole[0], shift)[middle], chirp(rate)[middle])[0, 1] for shift in delay)
    assert match > 0.98
    for start in (0, 777, rate, header.frames - 500):
        part = np.concatenate(list(decode_blocks(file, header, start, 500)), 1)
        assert np.abs(part - whole[:, start : start + 500]).max() < 5e-4


def test_a_folder_of_sounds_and_films(tmp_path: Path) -> None:
    for number in range(3):
        saved(tmp_path / f"{number}.wav", sine(32000, rate=16000), rate=16000)
    save(tmp_path / "3.m4a", "aac")
    save(tmp_path / "4.mp4", "aac", streams=2, video=True)
    modality = Audio(seconds=0.5)
    splits = modality.prepare(AudioFolder(path=tmp_path))
    assert sum(len(source) for source in (splits.train, splits.validation, splits.test)) > 18
    assert list(splits.notes) == [f"audio '{tmp_path}/4.mp4' has 2 streams of sound; the first is read"]
    batch = modality.read(tmp_path / "4.mp4")
    assert batch.x.shape[1:] == (1, 8000)
    assert num_streams(recording(tmp_path / "3.m4a")) == 1


def test_a_container_with_another_suffix(tmp_path: Path) -> None:
    save(tmp_path / "a.m4a", "aac")
    (tmp_path / "a.m4a").rename(tmp_path / "a.mp3")
    assert read_format(recording(tmp_path / "a.mp3")) == (16000, 1)


def test_bad_containers(tmp_path: Path) -> None:
    def message(path: Path) -> str:
        with pytest.raises(AeframeError) as caught:
            decode(recording(path))
        return str(caught.value)

    path = tmp_path / "a.m4a"
    path.write_text("not a sound")
    assert message(path) == (
        f"audio '{path}' cannot be decoded (Invalid data found when processing input); {NEXT_STEP}"
    )
    path.write_bytes(b"")
    assert message(path) == f"audio '{path}' is empty (0 bytes); {NEXT_STEP}"
    silent = tmp_path / "b.mp4"
    save(silent, "aac", streams=0, video=True)
    assert message(silent) == f"audio '{silent}' has no stream of sound; {NEXT_STEP}"
    cut = tmp_path / "c.mka"
    save(cut, "pcm_s16le", seconds=3.0)
    cut.write_bytes(cut.read_bytes()[:48000])
    error = message(cut)
    assert error.startswith(f"audio '{cut}' ends after ")
    assert error.endswith(f" of 3.00 seconds; {NEXT_STEP}")


def test_without_pyav(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "a.m4a", "aac")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(AeframeError) as caught:
        read_header(recording(tmp_path / "a.m4a"))
    assert str(caught.value) == (
        f"audio '{tmp_path}/a.m4a' requires PyAV, which is not installed; install it with "
        "pip install 'aeframe-audio[av]'"
    )


def test_a_floating_point_sound_in_a_container_is_scaled(tmp_path: Path) -> None:
    path = tmp_path / "a.mka"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_f32le", rate=RATE)
        stream.layout = "mono"
        array = np.round(32768 * chirp(RATE)).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(array, format="flt", layout="mono")
        frame.sample_rate = RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    modality = Audio(seconds=0.1)
    modality.load_state({"rate": RATE, "channels": 1, "data_rate": RATE})
    assert float(modality.read(path).x.abs().max()) == pytest.approx(0.5, abs=1e-3)
    assert len(list(modality.notes)) == 1
    assert torch.get_num_threads() == 1
