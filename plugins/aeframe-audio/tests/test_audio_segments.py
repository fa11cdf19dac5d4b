"""Segments of sounds: their positions, masks and loudness."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from audio_files import RATE, noise, recording, saved, sine
from torch import Tensor

from aeframe_audio.decode import read_header
from aeframe_audio.packed import PackedSounds
from aeframe_audio.reader import FormatOptions, Reader
from aeframe_audio.segments import (
    ConsecutiveSegments,
    FileSegments,
    LoudnessGate,
    RandomSegments,
    consecutive_segments,
)

LENGTHS = (30, 100, 64)
STEP = 1 / 32768


@pytest.fixture
def sounds() -> list[Tensor]:
    return [noise(2, n, seed=n) for n in LENGTHS]


def test_segments_are_zero_after_the_end(sounds: list[Tensor]) -> None:
    x, mask = PackedSounds.pack(sounds).segments(torch.tensor([1, 0, 1]), torch.tensor([60, 0, 3]), 40)
    assert torch.allclose(x[0], sounds[1][:, 60:], atol=STEP)
    assert torch.allclose(x[1, :, :30], sounds[0], atol=STEP)
    assert not x[1, :, 30:].any()
    assert mask.sum(1).tolist() == [40, 30, 40]
    assert torch.allclose(x[2], sounds[1][:, 3:43], atol=STEP)


def test_cumulative_energy(sounds: list[Tensor]) -> None:
    packed = PackedSounds.pack(sounds)
    x, _ = packed.segments(torch.tensor([1]), torch.tensor([10]), 50)
    energy, start = packed.cumulative_energy(), LENGTHS[0] + 10
    assert float(energy[start + 50] - energy[start]) == pytest.approx(float(x.square().mean(1).sum()))


def test_random_segments_have_all_possible_offsets(sounds: list[Tensor]) -> None:
    source = RandomSegments(PackedSounds.pack(sounds), 40, gate=None, labels=torch.tensor([5, 6, 7]))
    batch = source.batch(torch.ones(1000, dtype=torch.long))
    # All possible segments of the sound.
    candidates = sounds[1].unfold(1, 40, 1).movedim(1, 0)
    matches = (batch.x.unsqueeze(1) - candidates).abs().amax((2, 3)) <= STEP
    assert (matches.sum(1) == 1).all()
    starts = set(matches.int().argmax(1).tolist())
    assert starts == set(range(61))
    assert batch.extras["label"].unique().tolist() == [6]


def test_short_sounds_are_masked(sounds: list[Tensor]) -> None:
    batch = RandomSegments(PackedSounds.pack(sounds), 40, gate=LoudnessGate(-20.0), labels=None).batch(
        torch.tensor([0, 2])
    )
    assert batch.mask is not None
    assert batch.mask.shape == batch.x.shape
    assert batch.mask.sum(2).tolist() == [[30, 30], [40, 40]]
    assert torch.allclose(batch.x[0, :, :30], sounds[0], atol=STEP)
    assert batch.index.tolist() == [0, 2]
    assert (
        RandomSegments(PackedSounds.pack(sounds[1:]), 40, gate=None, labels=None).batch(torch.tensor([0])).mask is None
    )


def test_quiet_segments_are_redrawn() -> None:
    """A tenth of the sound is loud: most segments are silent without the gate, and few with it."""
    wave = torch.zeros(1, 1000)
    wave[:, 600:700] = 0.5
    packed = PackedSounds.pack([wave])
    rows = torch.zeros(400, dtype=torch.long)
    ungated = RandomSegments(packed, 20, gate=None, labels=None).batch(rows).x.abs().amax((1, 2)) > 0
    gated = RandomSegments(packed, 20, gate=LoudnessGate(-30.0), labels=None).batch(rows).x.abs().amax((1, 2)) > 0
    # A segment is loud with a probability of about 0.12, and at least one of eight with 1 - 0.88^8 = 0.64.
    assert 0.06 < ungated.float().mean() < 0.19
    assert 0.55 < gated.float().mean() < 0.75


def test_first_accepted_candidate_or_the_loudest() -> None:
    power = torch.tensor([[1e-6, 1e-2, 1.0], [1e-6, 1e-5, 1e-7]])
    assert LoudnessGate(-30.0).choose(power).tolist() == [1, 1]
    assert LoudnessGate(-10.0).choose(power).tolist() == [2, 1]


def test_consecutive_segments_cover_each_sound(sounds: list[Tensor]) -> None:
    source = ConsecutiveSegments(PackedSounds.pack(sounds), 40, labels=torch.tensor([5, 6, 7]))
    batch = source.batch(torch.arange(len(source)))
    assert batch.index.tolist() == [0, 1, 1, 1, 2, 2]
    assert batch.extras["label"].tolist() == [5, 6, 6, 6, 7, 7]
    assert batch.mask is not None
    assert int(batch.mask[:, 0].sum()) == sum(LENGTHS)
    second = batch.x[1:4].movedim(1, 0).flatten(1)[:, :100]
    assert torch.allclose(second, sounds[1], atol=STEP)


def test_number_of_consecutive_segments() -> None:
    sound, offset = consecutive_segments(torch.tensor([40, 41, 1]), 40)
    assert sound.tolist() == [0, 1, 1, 2]
    assert offset.tolist() == [0, 0, 40, 0]


@pytest.mark.parametrize("random", [True, False])
def test_file_segments_equal_those_in_memory(tmp_path: Path, random: bool) -> None:
    lengths = (300, 1000, 650)
    files = [recording(saved(tmp_path / f"{n}.wav", sine(n, hertz=50.0 + n))) for n in lengths]
    reader = Reader(FormatOptions(), RATE, 1)
    headers = [read_header(file) for file in files]
    source = FileSegments(files, headers, reader, 400, random=random, gate=None, labels=None)
    packed = PackedSounds.pack(reader(file) for file in files)
    if not random:
        in_memory = ConsecutiveSegments(packed, 400, labels=None)
        index = torch.arange(len(in_memory))
        assert len(source) == len(in_memory)
        batch, expected = source.batch(index), in_memory.batch(index)
        assert torch.equal(batch.x, expected.x)
        assert torch.equal(batch.index, expected.index)
        assert batch.mask is not None
        assert expected.mask is not None
        assert torch.equal(batch.mask, expected.mask)
        return
    batch = source.batch(torch.tensor([1] * 20))
    whole, starts = reader(files[1])[0], set()
    for wave in batch.x[:, 0]:
        starts.add(next(k for k in range(601) if torch.equal(wave, whole[k : k + 400])))
    assert len(starts) > 10


def test_quiet_segments_of_files_are_redrawn(tmp_path: Path) -> None:
    samples = sine(4000)
    samples[:3000] = 0
    files = [recording(saved(tmp_path / "a.wav", samples))]
    reader, headers = Reader(FormatOptions(), RATE, 1), [read_header(files[0])]
    rows = torch.zeros(60, dtype=torch.long)
    loud = {}
    for gate in (None, LoudnessGate(-30.0)):
        source = FileSegments(files, headers, reader, 100, random=True, gate=gate, labels=None)
        loud[gate] = float((source.batch(rows).x.square().mean((1, 2)) > 1e-3).float().mean())
    assert loud[None] < 0.5
    assert loud[LoudnessGate(-30.0)] > 0.75


def test_segment_of_a_resampled_file(tmp_path: Path) -> None:
    path = recording(saved(tmp_path / "a.wav", sine(16000, hertz=300.0, rate=16000), rate=16000))
    reader, header = Reader(FormatOptions(rate=RATE), RATE, 1), read_header(path)
    whole = reader(path)
    segment = reader.read_segment(path, header, 2000, 800)
    assert segment.shape == (1, 800)
    # The first and last samples differ, since the interpolation kernel reaches beyond the segment.
    assert torch.allclose(segment[:, 40:-40], whole[:, 2040:2760], atol=2e-3)
