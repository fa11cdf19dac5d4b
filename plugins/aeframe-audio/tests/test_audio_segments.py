"""From sounds to segments: where they lie, what is masked, which are loud enough."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from audio_files import RATE, noise, recording, saved, sine
from torch import Tensor

from aeframe_audio.decode import read_header
from aeframe_audio.fit import Fit, Reader
from aeframe_audio.packed import Packed
from aeframe_audio.segments import ConsecutiveSegments, FileSegments, Gate, RandomSegments, cut

LENGTHS = (30, 100, 64)
STEP = 1 / 32768


@pytest.fixture
def sounds() -> list[Tensor]:
    return [noise(2, n, seed=n) for n in LENGTHS]


def test_segments_are_gathered_and_silent_beyond_the_end(sounds: list[Tensor]) -> None:
    x, counts = Packed.of(sounds).segments(torch.tensor([1, 0, 1]), torch.tensor([60, 0, 3]), 40)
    assert torch.allclose(x[0], sounds[1][:, 60:], atol=STEP)
    assert torch.allclose(x[1, :, :30], sounds[0], atol=STEP)
    assert not x[1, :, 30:].any()
    assert counts.sum(1).tolist() == [40, 30, 40]
    assert torch.allclose(x[2], sounds[1][:, 3:43], atol=STEP)


def test_energy_is_that_of_every_stretch(sounds: list[Tensor]) -> None:
    packed = Packed.of(sounds)
    x, _ = packed.segments(torch.tensor([1]), torch.tensor([10]), 50)
    energy, start = packed.energy(), LENGTHS[0] + 10
    assert float(energy[start + 50] - energy[start]) == pytest.approx(float(x.square().mean(1).sum()))


def test_random_segments_lie_anywhere_within_a_sound(sounds: list[Tensor]) -> None:
    source = RandomSegments(Packed.of(sounds), 40, gate=None, labels=torch.tensor([5, 6, 7]))
    batch = source.batch(torch.ones(1000, dtype=torch.long))
    # Every place of the sound beside each of the segments.
    places = sounds[1].unfold(1, 40, 1).movedim(1, 0)
    there = (batch.x.unsqueeze(1) - places).abs().amax((2, 3)) <= STEP
    assert (there.sum(1) == 1).all()
    starts = set(there.int().argmax(1).tolist())
    assert starts == set(range(61))
    assert batch.extras["label"].unique().tolist() == [6]


def test_a_short_sound_comes_whole_and_masked(sounds: list[Tensor]) -> None:
    batch = RandomSegments(Packed.of(sounds), 40, gate=Gate(-20.0), labels=None).batch(torch.tensor([0, 2]))
    assert batch.mask is not None
    assert batch.mask.shape == batch.x.shape
    assert batch.mask.sum(2).tolist() == [[30, 30], [40, 40]]
    assert torch.allclose(batch.x[0, :, :30], sounds[0], atol=STEP)
    assert batch.index.tolist() == [0, 2]
    assert RandomSegments(Packed.of(sounds[1:]), 40, gate=None, labels=None).batch(torch.tensor([0])).mask is None


def test_quiet_places_are_passed_over() -> None:
    """A tenth of the sound is loud: without the gate most draws are silent, with it few."""
    wave = torch.zeros(1, 1000)
    wave[:, 600:700] = 0.5
    packed = Packed.of([wave])
    rows = torch.zeros(400, dtype=torch.long)
    plain = RandomSegments(packed, 20, gate=None, labels=None).batch(rows).x.abs().amax((1, 2)) > 0
    gated = RandomSegments(packed, 20, gate=Gate(-30.0), labels=None).batch(rows).x.abs().amax((1, 2)) > 0
    # One draw is loud with probability .12 or so, and one of eight with 1 - .88^8 = .64.
    assert 0.06 < plain.float().mean() < 0.19
    assert 0.55 < gated.float().mean() < 0.75


def test_the_first_that_is_loud_enough_else_the_loudest() -> None:
    power = torch.tensor([[1e-6, 1e-2, 1.0], [1e-6, 1e-5, 1e-7]])
    assert Gate(-30.0).choose(power).tolist() == [1, 1]
    assert Gate(-10.0).choose(power).tolist() == [2, 1]


def test_consecutive_segments_are_the_whole_of_each_sound(sounds: list[Tensor]) -> None:
    source = ConsecutiveSegments(Packed.of(sounds), 40, labels=torch.tensor([5, 6, 7]))
    batch = source.batch(torch.arange(len(source)))
    assert batch.index.tolist() == [0, 1, 1, 1, 2, 2]
    assert batch.extras["label"].tolist() == [5, 6, 6, 6, 7, 7]
    assert batch.mask is not None
    assert int(batch.mask[:, 0].sum()) == sum(LENGTHS)
    middle = batch.x[1:4].movedim(1, 0).flatten(1)[:, :100]
    assert torch.allclose(middle, sounds[1], atol=STEP)


def test_a_segment_more_or_less() -> None:
    sound, offset = cut(torch.tensor([40, 41, 1]), 40)
    assert sound.tolist() == [0, 1, 1, 2]
    assert offset.tolist() == [0, 0, 40, 0]


@pytest.mark.parametrize("random", [True, False])
def test_files_give_what_memory_gives(tmp_path: Path, random: bool) -> None:
    lengths = (300, 1000, 650)
    files = [recording(saved(tmp_path / f"{n}.wav", sine(n, hertz=50.0 + n))) for n in lengths]
    reader = Reader(Fit(), RATE, 1)
    headers = [read_header(each) for each in files]
    source = FileSegments(files, headers, reader, 400, random=random, gate=None, labels=None)
    packed = Packed.of(reader(each) for each in files)
    if not random:
        held = ConsecutiveSegments(packed, 400, labels=None)
        every = torch.arange(len(held))
        assert len(source) == len(held)
        one, other = source.batch(every), held.batch(every)
        assert torch.equal(one.x, other.x)
        assert torch.equal(one.index, other.index)
        assert one.mask is not None
        assert other.mask is not None
        assert torch.equal(one.mask, other.mask)
        return
    batch = source.batch(torch.tensor([1] * 20))
    whole, starts = reader(files[1])[0], set()
    for wave in batch.x[:, 0]:
        starts.add(next(k for k in range(601) if torch.equal(wave, whole[k : k + 400])))
    assert len(starts) > 10


def test_files_pass_over_quiet_places(tmp_path: Path) -> None:
    samples = sine(4000)
    samples[:3000] = 0
    files = [recording(saved(tmp_path / "a.wav", samples))]
    reader, headers = Reader(Fit(), RATE, 1), [read_header(files[0])]
    rows = torch.zeros(60, dtype=torch.long)
    loud = {}
    for gate in (None, Gate(-30.0)):
        source = FileSegments(files, headers, reader, 100, random=True, gate=gate, labels=None)
        loud[gate] = float((source.batch(rows).x.square().mean((1, 2)) > 1e-3).float().mean())
    assert loud[None] < 0.5
    assert loud[Gate(-30.0)] > 0.75


def test_a_file_at_another_rate_is_resampled_by_segments(tmp_path: Path) -> None:
    path = recording(saved(tmp_path / "a.wav", sine(16000, hertz=300.0, rate=16000), rate=16000))
    reader, header = Reader(Fit(rate=RATE), RATE, 1), read_header(path)
    whole = reader(path)
    part = reader.segment(path, header, 2000, 800)
    assert part.shape == (1, 800)
    # Interpolation reaches over the cut, so the first and last samples differ.
    assert torch.allclose(part[:, 40:-40], whole[:, 2040:2760], atol=2e-3)
