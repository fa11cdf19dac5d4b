"""Decoding of audio files, and errors for bad files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from audio_files import NEXT_STEP, RATE, recording, saved, sine

from aeframe import AeframeError
from aeframe_audio.decode import Header, decode, read_header
from aeframe_audio.recordings import Recording


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg"])
def test_decoded_samples_equal_the_written_ones(tmp_path: Path, name: str) -> None:
    samples = sine(2000, channels=2)
    path = saved(tmp_path / name, samples)
    assert read_header(recording(path)) == Header(RATE, 2, 2000)
    wave, rate = decode(recording(path))
    assert (wave.shape, wave.dtype, rate) == ((2, 2000), torch.float32, RATE)
    assert np.abs(wave.numpy().T - samples).max() < (0.05 if name == "a.ogg" else 1e-4)


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_decoding_a_part(tmp_path: Path, name: str) -> None:
    content, _ = decode(recording(saved(tmp_path / name, sine(2000))))
    part, _ = decode(recording(tmp_path / name), 700, 300)
    assert torch.equal(part, content[:, 700:1000])
    assert torch.equal(decode(recording(tmp_path / name), 1900, 300)[0], content[:, 1900:])


def test_decoding_bytes(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.wav")
    assert torch.equal(decode(Recording("b", path.read_bytes()))[0], decode(recording(path))[0])


def test_floats_beyond_full_scale_are_decoded(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.wav", np.array([[0.5], [1.5], [-3.0]]), subtype="FLOAT")
    assert decode(recording(path))[0].tolist() == [[0.5, 1.5, -3.0]]
    assert read_header(recording(path)).is_float
    assert not read_header(recording(saved(tmp_path / "b.wav"))).is_float


def message(path: Path) -> str:
    with pytest.raises(AeframeError) as caught:
        decode(recording(path))
    return str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    assert message(tmp_path / "no.wav") == f"there is no audio file '{tmp_path}/no.wav'"


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    assert message(tmp_path / "a.wav") == f"audio '{tmp_path}/a.wav' is empty (0 bytes); {NEXT_STEP}"


def test_file_of_another_format(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_text("not a sound")
    assert message(tmp_path / "a.wav") == (
        f"audio '{tmp_path}/a.wav' cannot be opened (Format not recognised); {NEXT_STEP}"
    )


def test_no_samples(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.wav", np.zeros((0, 1)))
    assert message(path) == f"audio '{path}' has no samples (length 0); {NEXT_STEP}"


FORMATS = {"a.wav": "PCM_16", "a.rf64": "PCM_16", "a.aiff": "PCM_16", "a.au": "PCM_16", "a.caf": "PCM_24"}


@pytest.mark.parametrize("name", FORMATS)
def test_truncated_files(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path / name, sine(400), subtype=FORMATS[name])
    content, size = path.read_bytes(), 3 if FORMATS[name] == "PCM_24" else 2
    assert decode(recording(path))[0].shape == (1, 400)
    end = content.rindex(np.round(sine(400)[-1] * 2**15).astype(">i2" if name != "a.wav" else "<i2").tobytes()) if (
        name in ("a.aiff", "a.au")
    ) else None  # fmt: skip
    sound_end = len(content) if end is None else end + 2
    missing = 100 * size
    # libsndfile pads CAF files with free space before the data, so that these are the last bytes of all formats.
    path.write_bytes(content[: sound_end - missing])
    assert message(path) == (
        f"audio '{path}' is truncated: {missing} of the bytes of sound that its header states are missing at the end; "
        f"{NEXT_STEP}"
    )


@pytest.mark.parametrize("slip", [8, 1000, -36])
def test_the_size_of_the_file_in_the_header_does_not_matter(tmp_path: Path, slip: int) -> None:
    # A common slip of recorders: the size of the whole is wrong, the data chunk is complete.
    path = saved(tmp_path / "a.wav")
    content = bytearray(path.read_bytes())
    content[4:8] = (int.from_bytes(content[4:8], "little") + slip).to_bytes(4, "little")
    path.write_bytes(bytes(content))
    assert decode(recording(path))[0].shape == (1, 400)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFF000, 0])
def test_wav_of_unknown_length(tmp_path: Path, size: int) -> None:
    path = saved(tmp_path / "a.wav")
    content = bytearray(path.read_bytes())
    content[4:8] = size.to_bytes(4, "little")
    if size:
        content[40:44] = size.to_bytes(4, "little")
    path.write_bytes(bytes(content))
    assert decode(recording(path))[0].shape == (1, 400)


def test_truncated_flac(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = saved(tmp_path / "a.flac", rng.uniform(-0.5, 0.5, (20000, 1)))
    path.write_bytes(path.read_bytes()[:20000])
    error = message(path)
    assert error.startswith(f"audio '{path}' ")
    assert error.endswith(NEXT_STEP)


def test_nan(tmp_path: Path) -> None:
    samples = sine(400)
    samples[123] = np.nan
    path = saved(tmp_path / "a.wav", samples, subtype="FLOAT")
    assert message(path) == f"audio '{path}' is NaN or infinite at sample 123; {NEXT_STEP}"
