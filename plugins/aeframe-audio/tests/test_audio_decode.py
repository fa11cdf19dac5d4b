"""One recording: what is read of it, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from audio_files import RATE, WAY_OUT, recording, saved, sine

from aeframe import AeframeError
from aeframe_audio.decode import Header, decode, read_header
from aeframe_audio.recordings import Recording


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg"])
def test_samples_come_back_channel_by_channel(tmp_path: Path, name: str) -> None:
    samples = sine(2000, channels=2)
    path = saved(tmp_path / name, samples)
    assert read_header(recording(path)) == Header(RATE, 2, 2000)
    wave, rate = decode(recording(path))
    assert (wave.shape, wave.dtype, rate) == ((2, 2000), torch.float32, RATE)
    assert np.abs(wave.numpy().T - samples).max() < (0.05 if name == "a.ogg" else 1e-4)


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_a_part_is_the_part_of_the_whole(tmp_path: Path, name: str) -> None:
    whole, _ = decode(recording(saved(tmp_path / name, sine(2000))))
    part, _ = decode(recording(tmp_path / name), 700, 300)
    assert torch.equal(part, whole[:, 700:1000])
    assert torch.equal(decode(recording(tmp_path / name), 1900, 300)[0], whole[:, 1900:])


def test_a_file_inside_an_archive_is_read_from_its_bytes(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.wav")
    assert torch.equal(decode(Recording("b", path.read_bytes()))[0], decode(recording(path))[0])


def test_floats_beyond_full_scale_are_cut_off(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.wav", np.array([[0.5], [1.5], [-3.0]]), subtype="FLOAT")
    assert decode(recording(path))[0].tolist() == [[0.5, 1.0, -1.0]]


def message(path: Path) -> str:
    with pytest.raises(AeframeError) as caught:
        decode(recording(path))
    return str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    assert message(tmp_path / "no.wav") == f"there is no audio file '{tmp_path}/no.wav'"


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    assert message(tmp_path / "a.wav") == f"audio '{tmp_path}/a.wav' is empty (0 bytes); {WAY_OUT}"


def test_something_else(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text("not a sound, whatever its name says")
    assert message(tmp_path / "a.wav") == (
        f"audio '{tmp_path}/a.wav' cannot be opened (Format not recognised); {WAY_OUT}"
    )


def test_no_samples(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.wav", np.zeros((0, 1)))
    assert message(path) == f"audio '{path}' has no samples (length 0); {WAY_OUT}"


def test_a_wav_that_is_cut_off(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.wav")
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    assert message(path) == (
        f"audio '{path}' is cut off: {len(whole) - 100} bytes where its header says {len(whole)}; {WAY_OUT}"
    )


def test_a_wav_whose_writer_did_not_know_its_length(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.wav")
    whole = bytearray(path.read_bytes())
    whole[4:8] = b"\xff\xff\xff\xff"
    path.write_bytes(bytes(whole))
    assert decode(recording(path))[0].shape == (1, 400)


def test_a_flac_that_is_cut_off(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = saved(tmp_path / "a.flac", rng.uniform(-0.5, 0.5, (20000, 1)))
    path.write_bytes(path.read_bytes()[:20000])
    told = message(path)
    assert told.startswith(f"audio '{path}' ")
    assert told.endswith(WAY_OUT)


def test_not_a_number(tmp_path: Path) -> None:
    samples = sine(400)
    samples[123] = np.nan
    path = saved(tmp_path / "a.wav", samples, subtype="FLOAT")
    assert message(path) == f"audio '{path}' has no number at sample 123 (NaN or infinite); {WAY_OUT}"
