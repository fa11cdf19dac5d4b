"""Long recordings, names of sounds, and outputs that keep them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from audio_files import NEXT_STEP, RATE, noise, saved, sine

from aeframe import AeframeError
from aeframe.data.file_samples import names_of
from aeframe.data.sample_batches import SampleBatches
from aeframe_audio.folder import AudioFolder
from aeframe_audio.modality import Audio
from aeframe_audio.write import write_sounds


def ramp(num: int, first: int = 0) -> Any:
    """Return samples that state their number."""
    return ((first + np.arange(num)) / 2**14 - 1)[:, None]


def numbers(source: Any) -> list[int]:
    """Return the number of the first sample of each segment."""
    x = source.batch(torch.arange(len(source))).x
    return [round((float(segment[0, 0]) + 1) * 2**14) for segment in x]


@pytest.mark.parametrize("memory", [0, 1])
@pytest.mark.parametrize("name", ["one", "one/long.wav"])
def test_one_recording_is_split_by_time(tmp_path: Path, name: str, memory: int) -> None:
    saved(tmp_path / "one" / "long.wav", ramp(10_000))
    dataset = AudioFolder(path=tmp_path / name, validation=0.2, test=0.1, max_memory_mb=memory)
    splits = Audio(seconds=0.05, gate=None).prepare(dataset)
    # An epoch has as many segments of 400 samples as the first 7,000 samples hold.
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (17, 5, 3)
    starts = {start for _ in range(30) for start in numbers(splits.train)}
    assert min(starts) < 400
    assert 6000 < max(starts) <= 6600
    assert numbers(splits.validation) == [7000, 7400, 7800, 8200, 8600]
    assert numbers(splits.test) == [9000, 9400, 9800]
    assert splits.test.columns(torch.arange(3))["start"].tolist() == [9000 / RATE, 9400 / RATE, 9800 / RATE]
    assert splits.test.columns(torch.arange(3))["name"].tolist() == ["long.wav"] * 3
    assert list(splits.notes) == [
        f"dataset 'audio_folder' at '{tmp_path / name}': 1 recording is split by time: the end is held out, 20% for "
        "validation and 10% for test"
    ]


def test_three_recordings_are_each_split_by_time(tmp_path: Path) -> None:
    for number in range(3):
        saved(tmp_path / f"{number}.wav", ramp(4000, 5000 * number))
    splits = Audio(seconds=0.05).prepare(AudioFolder(path=tmp_path))
    assert len(splits.train) == 3 * 8
    assert numbers(splits.validation) == [3200, 8200, 13200]
    assert numbers(splits.test) == [3600, 8600, 13600]


def test_a_recording_that_is_too_short(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.wav", sine(900))
    with pytest.raises(AeframeError) as caught:
        Audio(seconds=0.05).prepare(AudioFolder(path=path))
    assert str(caught.value) == (
        "the training sounds hold 1 segment of 0.05 s, expected at least 2; lower modality.seconds, or add sounds"
    )


def test_other_files_are_counted(tmp_path: Path) -> None:
    for number in range(4):
        saved(tmp_path / f"{number}.wav", sine(900))
    for name in ("notes.txt", "cover.jpg", "b.txt"):
        (tmp_path / name).touch()
    modality = Audio(seconds=0.05)
    expected = f"'{tmp_path}': 3 files are passed over, since the suffix is that of no sound (2 x .txt, 1 x .jpg)"
    assert list(modality.prepare(AudioFolder(path=tmp_path)).notes) == [expected]
    opened = Audio(seconds=0.05)
    opened.load_state(modality.state())
    opened.open(tmp_path, "raise")
    assert list(opened.notes) == [expected]


@pytest.fixture
def audio() -> Audio:
    modality = Audio(seconds=0.05)
    modality.load_state({"rate": RATE, "channels": 1, "data_rate": RATE})
    return modality


def test_open_reads_by_batch_and_counts_skipped_files(audio: Audio, tmp_path: Path) -> None:
    saved(tmp_path / "a" / "0.wav", ramp(1000))
    (tmp_path / "a" / "1.wav").write_text("not a sound")
    bad = sine(900)
    bad[500] = np.nan
    saved(tmp_path / "a" / "2.wav", bad, subtype="FLOAT")
    saved(tmp_path / "b" / "3.wav", ramp(500, 2000))
    opened = audio.open(tmp_path, "skip")
    assert not opened.source.in_memory
    assert opened.skipped == [
        f"audio '{tmp_path}/a/1.wav' cannot be opened (Format not recognised); {NEXT_STEP}",
        f"audio '{tmp_path}/a/2.wav' is NaN or infinite at sample 500; {NEXT_STEP}",
    ]
    batches = list(opened.batches(2))
    # One for the file of unknown length, three for that with NaN.
    assert [batch.index.tolist() for batch in batches] == [[0, 1], [2, 7], [8]]
    columns = opened.source.columns(torch.arange(5))
    assert columns["name"].tolist() == ["a/0.wav"] * 3 + ["b/3.wav"] * 2
    assert columns["segment"].tolist() == [0, 1, 2, 0, 1]
    assert columns["start"].tolist() == [0.0, 0.05, 0.1, 0.0, 0.05]
    assert numbers(opened.source) == [0, 400, 800, 2000, 2400]
    with pytest.raises(AeframeError, match=r"1.wav' cannot be opened"):
        audio.open(tmp_path, "raise")
    with pytest.raises(AeframeError, match=r"none of the 1 sounds can be decoded; the first: audio"):
        audio.open(tmp_path / "a" / "1.wav", "skip")


def test_sounds_keep_names_and_lengths(audio: Audio, tmp_path: Path) -> None:
    lengths = {"a.wav": 1000, "deep/b.flac": 400, "deep/c.aiff": 401}
    for name, length in lengths.items():
        saved(tmp_path / "in" / name, noise(length, 1, seed=length).numpy())
    opened = audio.open(tmp_path / "in", "raise")
    x = opened.batch().x
    files = audio.write(x, tmp_path / "out", names=names_of(opened.source))
    assert [file.relative_to(tmp_path / "out").as_posix() for file in files] == ["a.wav", "deep/b.flac", "deep/c.wav"]
    for file, (name, length) in zip(files, lengths.items(), strict=True):
        written, rate = soundfile.read(file)
        assert (len(written), rate) == (length, RATE)
        assert np.abs(written - soundfile.read(tmp_path / "in" / name)[0]).max() < 1e-4
    # One file of all sounds: as long as they are together.
    (whole,) = audio.write(x, tmp_path / "whole.wav", names=names_of(opened.source))
    assert soundfile.info(whole).frames == 1801
    before = files[0].read_bytes()
    with pytest.raises(AeframeError, match=r"out' exists and is not overwritten"):
        audio.write(x, tmp_path / "out", names=names_of(opened.source))
    assert files[0].read_bytes() == before


def test_names_that_were_not_opened_are_not_cut(tmp_path: Path) -> None:
    x = noise(3, 1, 400)
    segments = SampleBatches(x.split(2), 3, ["a", "a", "../b.mp3"])
    files = write_sounds(segments, tmp_path / "out", RATE, lengths={"a": [300]})
    assert [file.relative_to(tmp_path / "out").as_posix() for file in files] == ["a.wav", "b.wav"]
    assert [soundfile.info(file).frames for file in files] == [800, 400]
    with pytest.raises(AeframeError, match="3 samples are written, found 1 names"):
        SampleBatches.of(x, ["a"])
