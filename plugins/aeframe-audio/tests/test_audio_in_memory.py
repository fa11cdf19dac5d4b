"""Sounds in memory: accepted forms, rates, labels, errors, and agreement with files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from audio_files import RATE, saved, sine
from numpy.typing import NDArray

import aeframe
from aeframe import AeframeError
from aeframe.data.in_memory import SampleSplits, memory_dataset
from aeframe_audio.audio_in_memory import AudioInMemory
from aeframe_audio.modality import Audio

SECONDS = 0.02
"""160 samples at `RATE`."""
LENGTHS = [200, 90, 161, 400] * 5


def sounds(*, channels: int = 1) -> list[NDArray]:
    """Return sines ``(C, n)`` of unequal lengths."""
    return [sine(n, hertz=200.0 + 10 * k, channels=channels).T for k, n in enumerate(LENGTHS)]


def mono() -> list[NDArray]:
    return [wave[0] for wave in sounds()]


FORMS: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "mono": (mono, {"data": {"rate": RATE}}),
    "stereo tensors": (lambda: [torch.from_numpy(w).float() for w in sounds(channels=2)], {"data": {"rate": RATE}}),
    "16 bits": (lambda: [(wave * 32768).astype(np.int16) for wave in mono()], {"data": {"rate": RATE}}),
    "pairs": (lambda: [(wave.T, RATE) for wave in sounds(channels=2)], {}),
    "array": (lambda: np.stack([sine(300, hertz=200.0 + 10 * k)[:, 0] for k in range(20)]), {"data": {"rate": RATE}}),
    "stereo array": (
        lambda: torch.from_numpy(np.stack([sine(300, hertz=200.0 + 10 * k, channels=2).T for k in range(20)])),
        {"data": {"rate": RATE}},
    ),
}


def prepared(x: Any, *, y: Any = None, rate: int | None = RATE, modality: Audio | None = None, **splits: Any) -> Any:
    """Return the splits of samples in memory."""
    by_split = {"train": aeframe.Samples(x, y), **{split: aeframe.Samples(held) for split, held in splits.items()}}
    return (modality or Audio(seconds=SECONDS)).prepare(AudioInMemory(SampleSplits(by_split), rate=rate))


def trained(**options: Any) -> Audio:
    """Return a modality with the state of mono sounds."""
    modality = Audio(seconds=SECONDS, **options)
    prepared(mono(), modality=modality)
    return modality


def error_of(x: Any, *, rate: int | None = RATE, **options: Any) -> str:
    with pytest.raises(AeframeError) as caught:
        prepared(x, rate=rate, modality=Audio(seconds=SECONDS, **options))
    return str(caught.value)


@pytest.mark.parametrize("form", FORMS)
def test_each_form_trains_and_is_prepared_as_files(form: str, tmp_path: Path) -> None:
    make, options = FORMS[form]
    x, is_array = make(), "array" in form
    assert memory_dataset(x, None) == ("vector_in_memory" if is_array else "audio_in_memory")
    run = aeframe.fit(
        x, model="vae", modality={"name": "audio", "seconds": SECONDS}, encoder={"channels": [4], "strides": [4]},
        latent={"dim": 2}, batch_size=4, max_batches=2, pictures=False, folder=tmp_path / "run",
        trainer={"accelerator": "cpu", "threads": 1}, **options,
    )  # fmt: skip
    batch = run.model.prepare(x)
    for number, item in enumerate(make()):
        values = np.asarray(item[0] if form == "pairs" else item)
        subtype = "PCM_16" if values.dtype == np.int16 else "FLOAT"
        time_first = values.T if values.ndim == 2 and form != "pairs" else values
        saved(tmp_path / "sounds" / f"{number:03d}.wav", time_first, subtype=subtype)
    expected = run.model.modality.read(tmp_path / "sounds")
    assert torch.equal(batch.x, expected.x)
    for values, others in ((batch.mask, expected.mask), (batch.index, expected.index)):
        assert values is not None
        assert others is not None
        assert torch.equal(values, others)
    restored = run.model.restore(batch.x)
    assert restored.shape == (len(batch), 1 if batch.x.shape[1] == 1 else 2, round(SECONDS * RATE))
    assert torch.equal(run.model.prepare(restored).x, batch.x)
    assert run.model.restore(run.model.sample(2)).shape == (2, *restored.shape[1:])


def test_the_first_values_of_16_bits_are_divided_by_32768() -> None:
    splits = prepared([np.array([-32768, 16384, 0], np.int16)] * 10)
    batch = splits.validation.batch(torch.arange(1))
    assert batch.x[0, 0, :3].tolist() == [-1.0, 0.5, 0.0]
    assert batch.mask is not None
    assert batch.mask.sum().item() == 3


def test_sounds_of_different_rates_are_resampled_each() -> None:
    modality = Audio(seconds=SECONDS, rate=4000)
    x = [(sine(n, hertz=100, rate=rate)[:, 0], rate) for n, rate in [(400, 8000), (200, 4000)] * 5]
    splits = prepared(x, rate=None, modality=modality)
    assert len(splits.validation) == -(-200 // 80)
    batch = modality.prepare_samples(x)
    assert (batch.x[:3] - batch.x[3:6]).abs().max() < 0.02
    # The data had another rate than the model, so that a rate must be named.
    with pytest.raises(AeframeError) as caught:
        modality.prepare_samples([wave for wave, _ in x])
    assert str(caught.value) == (
        "modality audio: sound 0 has no sampling rate; pass pairs (array, rate), since the training data were "
        "resampled from 8000 to 4000 Hz"
    )
    again = Audio(seconds=SECONDS, rate=4000)
    again.load_state(modality.state())
    assert torch.equal(again.prepare_samples(x).x, batch.x)
    with pytest.raises(AeframeError, match="no sampling rate"):
        again.prepare_samples([wave for wave, _ in x])


def test_samples_of_any_rate_are_prepared_at_the_rate_of_the_model() -> None:
    modality = trained()
    slow, fast = sine(320, hertz=100)[:, 0], sine(640, hertz=100, rate=2 * RATE)
    batch = modality.prepare_samples([slow, (fast, 2 * RATE)])
    assert batch.index is not None
    assert batch.index.tolist() == [0, 1, 2, 3]
    assert (batch.x[:2] - batch.x[2:]).abs().max() < 0.02


@pytest.mark.parametrize(("y", "codes"), [(["b", "a", "b", "a"], [1, 0]), ([10, 2, 10, 2], [10, 2])])
def test_each_sound_keeps_its_label(y: list[Any], codes: list[int]) -> None:
    # Sound k has the constant value k / 100.
    x = [np.full(160, k / 100) for k in range(20)]
    splits = prepared(x, y=y * 5)
    for source in (splits.train, splits.validation, splits.test):
        batch = source.batch(torch.arange(len(source)))
        numbers = (batch.x[:, 0, 0] * 100).round().long().tolist()
        assert batch.extras["label"].tolist() == [codes[number % 2] for number in numbers]


@pytest.mark.parametrize(
    "x",
    [
        [np.zeros(5), np.zeros(7, np.float32)],
        [np.zeros((1, 50)), np.zeros((2, 70))],
        [torch.zeros(5), torch.zeros(7)],
        [np.zeros(5, np.int16)],
        [(np.zeros((50, 2)), 8000), [torch.zeros(2, 70), 16000]],
    ],
)
def test_waves_are_inferred(x: Any) -> None:
    assert memory_dataset(x, None) == "audio_in_memory"


@pytest.mark.parametrize(
    "x",
    [
        [1.0, 2.0],
        [[1.0, 2.0]],
        np.zeros((5, 7)),
        torch.zeros(5, 2, 7),
        [np.zeros((50, 2)), np.zeros((70, 2))],
        [np.zeros((50, 12))],
        [np.zeros((3, 8, 8))],
        [np.arange(5)],
        [(np.zeros(5), 0), (np.zeros(5), 1)],
        ["a"],
        [],
    ],
)
def test_rows_series_and_labelled_rows_are_no_sounds(x: Any) -> None:
    assert not AudioInMemory.accepts(x)


def test_errors_name_the_sound_and_the_way_out() -> None:
    x, full_scale = mono(), "divide all sounds by their full scale (32768 for numbers of 16 bits), or clip them"
    assert error_of(x, rate=None) == (
        'fit: sound 0 has no sampling rate; set data={"rate": 16000}, or pass pairs (array, rate); rows of numbers are '
        "one array (N, D)"
    )
    assert error_of(x, rate=0) == "dataset 'audio_in_memory' requires rate > 0, found 0; set data.rate in Hz"
    assert error_of([*x, np.array([0.0, -2.5, 1.25])]) == (
        f"fit: sound 20 has values from -2.5 to 1.25, expected -1 to 1; {full_scale}: array.clip(-1, 1)"
    )
    assert error_of([*x, np.array([0.0, np.nan, np.inf])]) == (
        "fit: sound 20 is NaN or infinite at sample 1; correct it, or leave it out"
    )
    assert error_of([*x, np.zeros(0)]) == "fit: sound 20 has no samples (shape (0,)); leave it out"
    assert error_of([*x, np.zeros((100, 12))]) == (
        "fit: sound 20 has shape (100, 12), expected (n,) or (C, n) of C channels; transpose it, or pass one array for "
        "each sound"
    )
    assert error_of([*x, np.zeros(9, np.int64)]) == (
        "fit: sound 20 has values of type int64, expected floating-point numbers in [-1, 1] or int16; convert it: "
        "array / full_scale, as float32"
    )
    assert error_of([*x, "a.wav"]) == "fit: sound 20 is str, expected an array (n,) or (C, n); convert it"
    assert error_of(np.zeros(50)) == (
        "fit: modality audio takes a list of arrays (n,) or (C, n), or an array (N, n) or (N, C, n), found "
        "numpy.ndarray of shape (50,); pass a list: [array]"
    )
    assert error_of([(wave, 8000) for wave in x], rate=4000) == (
        "fit: sound 0 has the rate 8000 Hz, and data.rate is 4000; leave out data.rate"
    )
    assert error_of([(wave, 0.5) for wave in x], rate=None) == (
        "fit: sound 0 has the rate 0.5, expected a whole number of Hz of at least 1; correct it"
    )


def test_sounds_of_several_formats_require_an_option() -> None:
    rates = [(wave, 16000 if number == 3 else 8000) for number, wave in enumerate(mono())]
    assert error_of(rates, rate=None) == (
        "audio 'sound 3' has 16000 Hz, expected 8000 Hz; convert all sounds with modality.rate=8000"
    )
    x = [*mono()[:3], *sounds(channels=2)[3:]]
    assert error_of(x).startswith("audio 'sound ")
    assert error_of(x).endswith("has 2 channels, expected 1 channel; convert all sounds with modality.channels=1")
    splits = prepared(x, modality=Audio(seconds=SECONDS, channels=1))
    assert splits.train.batch(torch.arange(2)).x.shape == (2, 1, 160)


def test_restored_samples_are_clipped_as_in_files() -> None:
    restored = trained().restore_samples(torch.tensor([[[-2.0, 0.25, 1.5]]]))
    assert restored.tolist() == [[[-1.0, 0.25, 1.0]]]
