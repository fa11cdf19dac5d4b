"""Datasets and the modality `audio`: splits, formats, bad files, reading, writing and plots."""

from __future__ import annotations

import io
import math
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from audio_files import NEXT_STEP, RATE, noise, saved, sine

from aeframe import AeframeError
from aeframe.data import Splits
from aeframe.data.downloads import Remote
from aeframe.testing.fixtures import real_file
from aeframe_audio import fsdd
from aeframe_audio.decode import EXTENSIONS
from aeframe_audio.folder import AudioFolder
from aeframe_audio.fsdd import FSDD
from aeframe_audio.modality import Audio
from aeframe_audio.reader import FormatOptions, Reader
from aeframe_audio.segments import ConsecutiveSegments, FileSegments, RandomSegments
from aeframe_audio.simulated import VowelsSimulated, simulate_vowel


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


def test_spec_and_splits_of_a_folder(tmp_path: Path) -> None:
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


def test_large_folder_is_read_segment_by_segment(tmp_path: Path) -> None:
    # Without a gate, for which the two sources draw random numbers in different orders.
    in_memory, on_demand = (prepared(folder(tmp_path), max_memory_mb=mb, gate=None) for mb in (1, 0))
    assert isinstance(on_demand.train, FileSegments)
    assert not on_demand.train.in_memory
    index = torch.arange(len(in_memory.test))
    assert torch.equal(in_memory.test.batch(index).x, on_demand.test.batch(index).x)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "expects a sound or a folder, which does not exist; set data.path"),
        ("notes.txt", f"has no sounds in '{{path}}'; expected files that end in {', '.join(sorted(EXTENSIONS))}"),
        ("test/0.wav", "has a split folder 'test' but no 'train'; add it, or rename 'test'"),
    ],
)  # fmt: skip
def test_invalid_folders(tmp_path: Path, content: str | None, expected: str) -> None:
    path = tmp_path / "data"
    if content == "notes.txt":
        path.mkdir()
        (path / content).write_text("not a sound")
    elif content is not None:
        saved(path / content)
    assert message(path) == f"dataset 'audio_folder' at '{path}' {expected.format(path=path)}"


def test_sounds_outside_the_split_folders(tmp_path: Path) -> None:
    for name in ("train/0.wav", "test/0.wav", "stray.wav"):
        saved(tmp_path / name)
    assert message(tmp_path) == (
        f"dataset 'audio_folder' at '{tmp_path}' has split folders, but also sounds outside them, such as "
        f"'{tmp_path}/stray.wav'; move them into a split, or out of the folder"
    )


# -- rates and channels ------------------------------------------------------------------------------------------


def test_mixed_rates_require_an_option(tmp_path: Path) -> None:
    saved(folder(tmp_path) / "9.wav", sine(1600, rate=16000), rate=16000)
    assert message(tmp_path) == (
        f"audio '{tmp_path}/9.wav' has 16000 Hz, expected 8000 Hz; convert all sounds with modality.rate=8000"
    )
    assert prepared(tmp_path, rate=8000).skipped == []
    # The file is not bad, so that on_error=skip does not skip it.
    assert message(tmp_path, on_error="skip").endswith("modality.rate=8000")


def test_mixed_channels_require_an_option(tmp_path: Path) -> None:
    saved(folder(tmp_path) / "9.wav", sine(1600, rate=16000, channels=2), rate=16000)
    assert message(tmp_path) == (
        f"audio '{tmp_path}/9.wav' has 16000 Hz and 2 channels, expected 8000 Hz and 1 channel; convert all sounds "
        "with modality.rate=8000 modality.channels=1"
    )
    for channels in (1, 2):
        splits = prepared(tmp_path, rate=8000, channels=channels)
        assert splits.train.batch(torch.arange(8)).x.shape == (8, channels, 800)


def test_three_channels(tmp_path: Path) -> None:
    saved(folder(tmp_path) / "9.wav", sine(800, channels=3))
    assert message(tmp_path, channels=1) == (
        f"audio '{tmp_path}/9.wav' has 3 channels, expected 1 or 2; mix it down first"
    )


@pytest.mark.parametrize("rate", [4000, 11025, 16000])
def test_resampled_sine(rate: int) -> None:
    wave = torch.from_numpy(sine(RATE, hertz=440.0).T).float()
    resampled = Reader(FormatOptions(rate=rate), rate, 1).convert(wave, RATE)[0]
    expected = 0.5 * torch.sin(2 * math.pi * 440 * torch.arange(rate) / rate)
    assert resampled.shape == (rate,)
    middle = slice(rate // 10, -rate // 10)
    assert (resampled[middle] - expected[middle]).abs().max() < 2e-3


def test_stereo_is_averaged_and_mono_repeated() -> None:
    wave = noise(2, 50)
    assert torch.equal(Reader(FormatOptions(channels=1), RATE, 1).convert(wave, RATE), wave.mean(0, keepdim=True))
    assert torch.equal(Reader(FormatOptions(channels=2), RATE, 2).convert(wave[:1], RATE), wave[:1].expand(2, -1))


# -- bad files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_memory_mb", [0, 1])
def test_bad_files_are_skipped(tmp_path: Path, max_memory_mb: int) -> None:
    train = folder(tmp_path / "train", 12)
    folder(tmp_path / "val", 2)
    folder(tmp_path / "test", 2)
    (train / "3.wav").write_bytes((train / "3.wav").read_bytes()[:-10])
    (train / "4.wav").write_text("not a sound")
    saved(train / "5.wav", np.zeros((0, 1)))
    samples = sine(800)
    samples[5] = np.nan
    saved(train / "6.wav", samples, subtype="FLOAT")
    splits = prepared(tmp_path, max_memory_mb=max_memory_mb, on_error="skip")
    assert sorted(message.split("'")[1] for message in splits.skipped) == [f"{train}/{n}.wav" for n in (3, 4, 5, 6)]
    # Eight sounds, of which those of 1600 and of 1700 samples hold two segments.
    assert len(splits.train) == 10
    assert splits.train.batch(torch.arange(10)).x.isfinite().all()
    assert message(tmp_path).endswith(NEXT_STEP)


def test_split_with_bad_files_only(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        saved(tmp_path / split / "0.wav")
    (tmp_path / "test" / "0.wav").write_text("not a sound")
    assert message(tmp_path, on_error="skip") == (
        f"none of the 1 sounds of the test split can be decoded; the first: audio '{tmp_path}/test/0.wav' cannot be "
        f"opened (Format not recognised); {NEXT_STEP}"
    )
    (tmp_path / "train" / "0.wav").write_text("not a sound")
    assert message(tmp_path, on_error="skip") == (
        f"dataset 'audio_folder' at '{tmp_path}' has no sound that can be opened; the first: audio "
        f"'{tmp_path}/train/0.wav' cannot be opened (Format not recognised); {NEXT_STEP}"
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"seconds": 0.0}, "modality 'audio' requires seconds > 0 and rate > 0, found 0 and None"),
        (
            {"seconds": 1e-5},
            "modality 'audio' has no sample in a segment of 1e-05 s at 8000 Hz; increase modality.seconds",
        ),
    ],
)
def test_invalid_seconds(tmp_path: Path, options: dict[str, object], expected: str) -> None:
    assert message(folder(tmp_path), **options) == expected


# -- spoken digits -----------------------------------------------------------------------------------------------


def digits(path: Path) -> Path:
    """Write an archive with takes 0 to 11 of two digits."""
    with tarfile.open(path, "w:gz") as archive:
        for digit in (3, 7):
            for take in range(12):
                content = saved(path.parent / "one.wav", sine(100 + take)).read_bytes()
                member = tarfile.TarInfo(f"recordings/{digit}_anna_{take}.wav")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return path


def test_splits_by_take(tmp_path: Path) -> None:
    splits = Audio(seconds=0.1).prepare(FSDD(path=str(digits(tmp_path / "fsdd.tar.gz"))))
    assert [len(source) for source in (splits.train, splits.validation, splits.test)] == [4, 10, 10]
    assert splits.test.batch(torch.arange(10)).extras["label"].tolist() == [3] * 5 + [7] * 5
    with tarfile.open(tmp_path / "fsdd.tar.gz") as archive:
        archive.extractall(tmp_path / "fsdd", filter="data")
    unpacked = Audio(seconds=0.1).prepare(FSDD(path=str(tmp_path / "fsdd")))
    assert torch.equal(unpacked.test.batch(torch.arange(10)).x, splits.test.batch(torch.arange(10)).x)


def test_digits_are_searched_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AEFRAME_DATA", str(tmp_path))
    expected = "fsdd.tar.gz or a folder with its WAV files (github.com/Jakobovski/free-spoken-digit-dataset)"
    path = digits(tmp_path / "fsdd.tar.gz")
    assert FSDD().describe() == {"rate": RATE, "channels": 1}
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(AeframeError) as caught:
        FSDD().load()
    assert str(caught.value) == f"dataset 'fsdd': '{path}' cannot be read as a tar archive; set data.path to {expected}"
    with pytest.raises(AeframeError) as caught:
        FSDD(path=str(tmp_path / "no")).describe()
    assert str(caught.value) == f"dataset 'fsdd': '{tmp_path}/no' does not exist; set data.path to {expected}"


def test_digits_are_downloaded_once_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "server").mkdir()
    url = digits(tmp_path / "server" / "v1.tar.gz").as_uri()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AEFRAME_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(fsdd, "_REMOTE", Remote(url, saved_as="fsdd.tar.gz"))
    # Known without the files, so that a config can be validated before the download.
    assert FSDD().describe() == {"rate": 8000, "channels": 1}
    with pytest.raises(AeframeError) as caught:
        FSDD().load()
    assert str(caught.value) == (
        f"dataset 'fsdd': '{url}' is not the expected file (24 recordings, expected 3000); try again "
        "later, or set data.path=... to a copy of your own"
    )
    monkeypatch.setattr(fsdd, "_NUM_RECORDINGS", 24)
    assert len(FSDD().load()["test"]) == 10
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["fsdd.tar.gz"]
    monkeypatch.setattr(fsdd, "_REMOTE", Remote("file:///nowhere", saved_as="fsdd.tar.gz"))
    assert len(FSDD().load()["test"]) == 10


def test_downloaded_digits() -> None:
    data, modality = FSDD(path=str(real_file("audio/fsdd.tar.gz"))), Audio(seconds=0.5)
    assert modality.spec(data).rate == 8000
    splits = modality.prepare(data)
    # 18 of the 2,400 sounds hold two segments.
    assert (len(splits.train), splits.skipped) == (2418, [])
    assert len(set(splits.test.columns(torch.arange(len(splits.test)))["name"])) == 300  # type: ignore[attr-defined]


# -- simulated ---------------------------------------------------------------------------------------------------


def test_vowel_has_its_formants() -> None:
    rng = np.random.default_rng(0)
    # Averaged over fundamentals, the spectrum of "boot" has more power near 300 Hz than near 1500 Hz.
    spectra = [np.abs(np.fft.rfft(simulate_vowel(rng, vowel=4, seconds=0.5, rate=8000))) ** 2 for _ in range(20)]
    frequencies, mean = np.fft.rfftfreq(4000, 1 / 8000), np.mean(spectra, 0)

    def power_near(hertz: float) -> float:
        return float(mean[np.abs(frequencies - hertz) < 150].mean())

    assert power_near(300) > 30 * power_near(1500)


def test_simulation_is_deterministic() -> None:
    first, second = (VowelsSimulated(sounds=10).load() for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first["train"].sounds, second["train"].sounds, strict=True))  # type: ignore[union-attr]
    with pytest.raises(AeframeError) as caught:
        VowelsSimulated(sounds=3)
    assert str(caught.value) == (
        "dataset 'vowels_simulated' requires at least 5 sounds, a rate of at least 1000 and two increasing durations "
        "in seconds of at least 0.01, found 3, 8000 and [0.2, 0.6]"
    )


# -- reading and writing -----------------------------------------------------------------------------------------


@pytest.fixture
def audio(tmp_path: Path) -> Audio:
    modality = Audio(seconds=0.05, rate=RATE, channels=2)
    modality.load_state({"rate": RATE, "channels": 2})
    return modality


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "folder"])
def test_written_segments_are_read_back(audio: Audio, tmp_path: Path, name: str) -> None:
    x = noise(3, 2, 400)
    files = audio.write(x, tmp_path / name)
    assert len(files) == (3 if name == "folder" else 1)
    assert (audio.read(tmp_path / name).x - x).abs().max() < 1e-4


def test_file_is_resampled_to_the_rate_of_training(audio: Audio, tmp_path: Path) -> None:
    path = saved(tmp_path / "a.wav", sine(1500, rate=16000), rate=16000)
    batch = audio.read(path)
    assert batch.x.shape == (2, 2, 400)
    assert batch.mask is not None
    assert int(batch.mask[:, 0].sum()) == 750


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.mp3", "modality 'audio' writes .wav, .flac, .ogg files, found 'a.mp3'; choose one of these suffixes, or a "
                  "folder"),
        ("there.wav", "'{tmp}/there.wav' exists and is not overwritten; remove it, or choose another path"),
    ],
)  # fmt: skip
def test_invalid_outputs(audio: Audio, tmp_path: Path, name: str, expected: str) -> None:
    before = saved(tmp_path / "there.wav").read_bytes()
    with pytest.raises(AeframeError) as caught:
        audio.write(noise(1, 2, 400), tmp_path / name)
    assert str(caught.value) == expected.format(tmp=tmp_path)
    assert (tmp_path / "there.wav").read_bytes() == before


def test_folder_without_sounds(audio: Audio, tmp_path: Path) -> None:
    with pytest.raises(AeframeError) as caught:
        audio.read(tmp_path)
    assert str(caught.value) == f"modality 'audio' found no sounds in '{tmp_path}'; choose a folder that contains some"


def test_plot_has_a_spectrogram_for_each_sound(audio: Audio) -> None:
    figure = audio.render({"one": noise(3, 2, 400), "two": noise(3, 2, 400)})
    images = [axes for axes in figure.axes if axes.images]
    assert len(images) == 6
    assert [axes.get_title(loc="left") for axes in figure.axes if axes.get_title(loc="left")] == ["one", "two"]
    assert images[0].images[0].get_extent() == [0, 0.05, 0, 4.0]
    grid = audio.render({"samples": noise(40, 2, 400)})
    assert len([axes for axes in grid.axes if axes.images]) == 24


def test_a_plot_of_sorted_sounds_has_the_first_and_the_last(audio: Audio) -> None:
    # Sound n is constant, n / 100: the classes of a folder, or the steps of an interpolation.
    x = (torch.arange(40.0) / 100).reshape(40, 1, 1).expand(40, 2, 400)
    for panels, shown in (({"samples": x}, 24), ({"from 1 to 2": x, "from 3 to 4": x}, 6)):
        lines = [axes.lines[0].get_ydata() for axes in audio.render(panels).axes if axes.lines]
        levels = [float(line[0]) for line in lines[:shown]]
        assert (levels[0], levels[-1]) == pytest.approx((0.0, 0.39))
        assert levels == sorted(set(levels))


def test_the_class_folders_of_new_sounds_are_read(tmp_path: Path) -> None:
    for name in ("train/bark", "train/meow", "new/meow", "new/bark", "new/hiss", "dates/2024"):
        for number in range(3):
            # Sounds of two segments.
            saved(tmp_path / name / f"{number}.wav", noise(1200, seed=number))
    modality = Audio(seconds=0.1)
    assert modality.prepare(AudioFolder(path=str(tmp_path / "train"))).label_names == ("bark", "meow")
    opened = Audio(seconds=0.1)
    opened.load_state(modality.state())
    assert opened.read(tmp_path / "new").extras["label"].tolist() == 6 * [0] + 6 * [-1] + 6 * [1]
    for unlabelled in ("dates", "new/bark", "new/bark/0.wav"):
        assert "label" not in opened.read(tmp_path / unlabelled).extras
