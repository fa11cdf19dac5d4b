"""Datasets and the modality: splits, rates, channels, bad files, files in and out."""

from __future__ import annotations

import io
import math
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from audio_files import RATE, WAY_OUT, noise, saved, sine

from aeframe import AeframeError
from aeframe.data import Splits
from aeframe.data.downloads import Remote
from aeframe.testing.fixtures import real_file
from aeframe_audio import fsdd
from aeframe_audio.fit import Fit, Reader
from aeframe_audio.folder import AudioFolder
from aeframe_audio.fsdd import FSDD
from aeframe_audio.modality import Audio
from aeframe_audio.segments import ConsecutiveSegments, FileSegments, RandomSegments
from aeframe_audio.simulated import VowelsSimulated, sing


def folder(path: Path, num: int = 10, **options: int) -> Path:
    for number in range(num):
        saved(path / f"{number}.wav", sine(600 + 100 * number, hertz=300.0 + 50 * number), **options)
    return path


def prepared(path: Path, max_memory_mb: int = 2048, **options: object) -> Splits:
    modality = Audio(**{"seconds": 0.1, **options})  # type: ignore[arg-type]
    return modality.prepare(AudioFolder(path=str(path), max_memory_mb=max_memory_mb))


def message(path: Path, **options: object) -> str:
    with pytest.raises(AeframeError) as caught:
        prepared(path, **options)
    return str(caught.value)


# -- folders -----------------------------------------------------------------------------------------------------


def test_a_folder_is_split_and_described(tmp_path: Path) -> None:
    modality, data = Audio(seconds=0.1), AudioFolder(path=str(folder(tmp_path)))
    spec = modality.spec(data)
    assert (spec.shape, str(spec.domain), spec.rate) == ((1, 800), "signed", RATE)
    splits = modality.prepare(data)
    assert isinstance(splits.train, RandomSegments)
    assert isinstance(splits.test, ConsecutiveSegments)
    assert (len(splits.train), splits.skipped) == (8, [])
    assert splits.train.batch(torch.arange(8)).x.shape == (8, 1, 800)


def test_split_folders_and_classes(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        for name in ("b", "a"):
            saved(tmp_path / split / name / "0.flac")
    splits = prepared(tmp_path)
    for source in (splits.train, splits.validation, splits.test):
        assert source.batch(torch.arange(2)).extras["label"].tolist() == [0, 1]


def test_a_large_folder_is_read_by_segments_and_gives_the_same(tmp_path: Path) -> None:
    # With a gate the two draw in another order.
    held, read = (prepared(folder(tmp_path), max_memory_mb=mb, gate=None) for mb in (1, 0))
    assert isinstance(read.train, FileSegments)
    assert not read.train.in_memory
    every = torch.arange(len(held.test))
    assert torch.equal(held.test.batch(every).x, read.test.batch(every).x)


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (None, "expects a folder, which does not exist; set data.path to a folder of sounds"),
        ("notes.txt", "has no sounds in '{path}'; expected files that end in .aif, .aiff, .flac, .mp3, .oga, .ogg, "
                      ".opus, .wav"),
        ("test/0.wav", "has a split folder 'test' but no 'train'; add it, or rename 'test'"),
        ("0.wav", "has too few sounds, 1: 1 for validation and 1 for test leave 0 for training, which needs at least "
                  "2; add sounds, or lower validation and test"),
    ],
)  # fmt: skip
def test_folders_that_are_none(tmp_path: Path, made: str | None, told: str) -> None:
    path = tmp_path / "data"
    if made == "notes.txt":
        path.mkdir()
        (path / made).write_text("not a sound")
    elif made is not None:
        saved(path / made)
    assert message(path) == f"dataset 'audio_folder' at '{path}' {told.format(path=path)}"


def test_sounds_beside_the_splits(tmp_path: Path) -> None:
    for name in ("train/0.wav", "test/0.wav", "stray.wav"):
        saved(tmp_path / name)
    assert message(tmp_path) == (
        f"dataset 'audio_folder' at '{tmp_path}' has split folders, but also sounds outside them, such as "
        f"'{tmp_path}/stray.wav'; move them into a split, or out of the folder"
    )


# -- rates and channels ------------------------------------------------------------------------------------------


def test_another_rate_is_refused_until_one_is_chosen(tmp_path: Path) -> None:
    saved(folder(tmp_path) / "9.wav", sine(1600, rate=16000), rate=16000)
    assert message(tmp_path) == (
        f"audio '{tmp_path}/9.wav' has 16000 Hz, where 8000 Hz is expected; bring all sounds to one with "
        "modality.rate=8000"
    )
    assert prepared(tmp_path, rate=8000).skipped == []
    # It is no bad file, so that skipping does not hide it.
    assert message(tmp_path, on_error="skip").endswith("modality.rate=8000")


def test_mixed_channels_are_refused_until_a_number_is_chosen(tmp_path: Path) -> None:
    saved(folder(tmp_path) / "9.wav", sine(1600, rate=16000, channels=2), rate=16000)
    assert message(tmp_path) == (
        f"audio '{tmp_path}/9.wav' has 16000 Hz and 2 channels, where 8000 Hz and 1 is expected; bring all sounds to "
        "one with modality.rate=8000 modality.channels=1"
    )
    for channels in (1, 2):
        splits = prepared(tmp_path, rate=8000, channels=channels)
        assert splits.train.batch(torch.arange(8)).x.shape == (8, channels, 800)


def test_three_channels_are_not_mixed(tmp_path: Path) -> None:
    saved(folder(tmp_path) / "9.wav", sine(800, channels=3))
    assert message(tmp_path, channels=1) == (
        f"audio '{tmp_path}/9.wav' has 3 channels, and only one or two can be mixed; mix it first"
    )


@pytest.mark.parametrize("rate", [4000, 11025, 16000])
def test_a_sine_is_the_same_sine_at_another_rate(rate: int) -> None:
    wave = torch.from_numpy(sine(RATE, hertz=440.0).T).float()
    found = Reader(Fit(rate=rate), rate, 1).fitted(wave, RATE)[0]
    expected = 0.5 * torch.sin(2 * math.pi * 440 * torch.arange(rate) / rate)
    assert found.shape == (rate,)
    middle = slice(rate // 10, -rate // 10)
    assert (found[middle] - expected[middle]).abs().max() < 2e-3


def test_stereo_becomes_its_mean_and_mono_two_alike() -> None:
    wave = noise(2, 50)
    assert torch.equal(Reader(Fit(channels=1), RATE, 1).fitted(wave, RATE), wave.mean(0, keepdim=True))
    assert torch.equal(Reader(Fit(channels=2), RATE, 2).fitted(wave[:1], RATE), wave[:1].expand(2, -1))


# -- bad files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_memory_mb", [0, 1])
def test_bad_files_are_skipped_and_counted(tmp_path: Path, max_memory_mb: int) -> None:
    train = folder(tmp_path / "train", 12)
    folder(tmp_path / "val", 2)
    folder(tmp_path / "test", 2)
    (train / "3.wav").write_bytes((train / "3.wav").read_bytes()[:-10])
    (train / "4.wav").write_text("no sound")
    saved(train / "5.wav", np.zeros((0, 1)))
    samples = sine(800)
    samples[5] = np.nan
    saved(train / "6.wav", samples, subtype="FLOAT")
    splits = prepared(tmp_path, max_memory_mb=max_memory_mb, on_error="skip")
    assert sorted(sentence.split("'")[1] for sentence in splits.skipped) == [f"{train}/{n}.wav" for n in (3, 4, 5, 6)]
    assert len(splits.train) == 8
    assert splits.train.batch(torch.arange(8)).x.isfinite().all()
    assert message(tmp_path).endswith(WAY_OUT)


def sounds_of(source: object) -> list[int]:
    batch = source.batch(torch.arange(len(source)))  # type: ignore[attr-defined, arg-type]
    return batch.index.tolist()


def test_a_split_of_bad_files_only(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        saved(tmp_path / split / "0.wav")
    (tmp_path / "test" / "0.wav").write_text("no sound")
    assert message(tmp_path, on_error="skip") == (
        f"none of 1 sounds of the test split can be used; the first: audio '{tmp_path}/test/0.wav' cannot be opened "
        f"(Format not recognised); {WAY_OUT}"
    )
    (tmp_path / "train" / "0.wav").write_text("no sound")
    assert message(tmp_path, on_error="skip") == (
        f"dataset 'audio_folder' at '{tmp_path}' has no sound that can be opened; the first: audio "
        f"'{tmp_path}/train/0.wav' cannot be opened (Format not recognised); {WAY_OUT}"
    )


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"seconds": 0.0}, "modality 'audio' needs seconds > 0 and rate > 0, found 0 and None"),
        ({"seconds": 1e-5}, "modality 'audio' has no sample in 1e-05 s at 8000 Hz; raise seconds"),
    ],
)
def test_segments_that_are_none(tmp_path: Path, options: dict[str, object], told: str) -> None:
    assert message(folder(tmp_path), **options) == told


# -- the spoken digits -------------------------------------------------------------------------------------------


def digits(path: Path) -> Path:
    """An archive with takes 0 to 11 of two digits."""
    with tarfile.open(path, "w:gz") as archive:
        for digit in (3, 7):
            for take in range(12):
                content = saved(path.parent / "one.wav", sine(100 + take)).read_bytes()
                member = tarfile.TarInfo(f"recordings/{digit}_anna_{take}.wav")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return path


def test_takes_make_the_splits(tmp_path: Path) -> None:
    splits = Audio(seconds=0.1).prepare(FSDD(path=str(digits(tmp_path / "fsdd.tar.gz"))))
    assert [len(source) for source in (splits.train, splits.validation, splits.test)] == [4, 10, 10]
    assert splits.test.batch(torch.arange(10)).extras["label"].tolist() == [3] * 5 + [7] * 5
    with tarfile.open(tmp_path / "fsdd.tar.gz") as archive:
        archive.extractall(tmp_path / "fsdd", filter="data")
    unpacked = Audio(seconds=0.1).prepare(FSDD(path=str(tmp_path / "fsdd")))
    assert torch.equal(unpacked.test.batch(torch.arange(10)).x, splits.test.batch(torch.arange(10)).x)


def test_digits_are_found_where_data_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AEFRAME_DATA", str(tmp_path))
    wanted = "fsdd.tar.gz or a folder with its WAV files (github.com/Jakobovski/free-spoken-digit-dataset)"
    path = digits(tmp_path / "fsdd.tar.gz")
    assert FSDD().describe() == {"rate": RATE, "channels": 1}
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(AeframeError) as caught:
        FSDD().load()
    assert str(caught.value) == f"dataset 'fsdd': '{path}' cannot be read as a tar archive; give {wanted}"
    with pytest.raises(AeframeError) as caught:
        FSDD(path=str(tmp_path / "no")).describe()
    assert str(caught.value) == f"dataset 'fsdd': there is no '{tmp_path}/no'; set data.path to {wanted}"


def test_digits_are_fetched_once_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "server").mkdir()
    url = digits(tmp_path / "server" / "v1.tar.gz").as_uri()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AEFRAME_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(fsdd, "_REMOTE", Remote(url, saved_as="fsdd.tar.gz"))
    # What is known without them, so that a run can be checked before they are fetched.
    assert FSDD().describe() == {"rate": 8000, "channels": 1}
    with pytest.raises(AeframeError) as caught:
        FSDD().load()
    assert str(caught.value) == (
        f"dataset 'fsdd': '{url}' is not the expected file (24 recordings where 3000 are expected); try again "
        "later, or set data.path=... to a copy of your own"
    )
    monkeypatch.setattr(fsdd, "_RECORDINGS", 24)
    assert len(FSDD().load()["test"]) == 10
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["fsdd.tar.gz"]
    monkeypatch.setattr(fsdd, "_REMOTE", Remote("file:///nowhere", saved_as="fsdd.tar.gz"))
    assert len(FSDD().load()["test"]) == 10


def test_the_real_digits() -> None:
    data, modality = FSDD(path=str(real_file("audio/fsdd.tar.gz"))), Audio(seconds=0.5)
    assert modality.spec(data).rate == 8000
    splits = modality.prepare(data)
    assert (len(splits.train), splits.skipped) == (2400, [])
    assert len(set(sounds_of(splits.test))) == 300


# -- simulated ---------------------------------------------------------------------------------------------------


def test_a_vowel_has_its_formants() -> None:
    rng = np.random.default_rng(0)
    # Over many pitches, the average spectrum of "boot" is higher near 300 Hz than near 1500 Hz.
    spectra = [np.abs(np.fft.rfft(sing(rng, vowel=4, seconds=0.5, rate=8000))) ** 2 for _ in range(20)]
    frequencies, mean = np.fft.rfftfreq(4000, 1 / 8000), np.mean(spectra, 0)

    def near(hertz: float) -> float:
        return float(mean[np.abs(frequencies - hertz) < 150].mean())

    assert near(300) > 30 * near(1500)


def test_the_same_vowels_each_time() -> None:
    one, other = (VowelsSimulated(sounds=10).load() for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one["train"].sounds, other["train"].sounds, strict=True))  # type: ignore[union-attr]
    with pytest.raises(AeframeError) as caught:
        VowelsSimulated(sounds=3)
    assert str(caught.value) == (
        "dataset 'vowels_simulated' needs sounds of at least 5, a rate of at least 1000 and seconds that rise from "
        "0.01 or more, found 3, 8000 and [0.2, 0.6]"
    )


# -- files in and out --------------------------------------------------------------------------------------------


@pytest.fixture
def audio(tmp_path: Path) -> Audio:
    modality = Audio(seconds=0.05, rate=RATE, channels=2)
    modality.load_state({"rate": RATE, "channels": 2})
    return modality


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "folder"])
def test_what_is_written_is_read(audio: Audio, tmp_path: Path, name: str) -> None:
    x = noise(3, 2, 400)
    files = audio.write(x, tmp_path / name)
    assert len(files) == (3 if name == "folder" else 1)
    assert (audio.read(tmp_path / name).x - x).abs().max() < 1e-4


def test_a_file_is_brought_to_the_rate_of_training(audio: Audio, tmp_path: Path) -> None:
    path = saved(tmp_path / "a.wav", sine(1500, rate=16000), rate=16000)
    batch = audio.read(path)
    assert batch.x.shape == (2, 2, 400)
    assert batch.mask is not None
    assert int(batch.mask[:, 0].sum()) == 750


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("a.mp3", "modality 'audio' writes .wav, .flac, .ogg, not 'a.mp3'; end the path in one of these, or name a "
                  "folder"),
        ("there.wav", "'{tmp}/there.wav' exists, and nothing is overwritten; remove it, or write elsewhere"),
    ],
)  # fmt: skip
def test_what_is_not_written(audio: Audio, tmp_path: Path, name: str, told: str) -> None:
    before = saved(tmp_path / "there.wav").read_bytes()
    with pytest.raises(AeframeError) as caught:
        audio.write(noise(1, 2, 400), tmp_path / name)
    assert str(caught.value) == told.format(tmp=tmp_path)
    assert (tmp_path / "there.wav").read_bytes() == before


def test_a_folder_without_sounds(audio: Audio, tmp_path: Path) -> None:
    with pytest.raises(AeframeError) as caught:
        audio.read(tmp_path)
    assert str(caught.value) == f"modality 'audio' found no sounds in '{tmp_path}'; give a folder with some"


def test_pictures_have_a_spectrogram_for_each_sound(audio: Audio) -> None:
    figure = audio.render({"one": noise(3, 2, 400), "two": noise(3, 2, 400)})
    images = [axes for axes in figure.axes if axes.images]
    assert len(images) == 6
    assert [axes.get_title(loc="left") for axes in figure.axes if axes.get_title(loc="left")] == ["one", "two"]
    assert images[0].images[0].get_extent() == [0, 0.05, 0, 4.0]
    grid = audio.render({"samples": noise(40, 2, 400)})
    assert len([axes for axes in grid.axes if axes.images]) == 24
