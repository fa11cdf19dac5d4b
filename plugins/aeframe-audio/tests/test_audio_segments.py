"""Segments of sounds: their positions, masks and loudness."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from audio_files import RATE, noise, recording, saved, sine
from torch import Tensor

from aeframe_audio.packed import PackedSounds
from aeframe_audio.reader import FormatOptions, Reader, open_sound
from aeframe_audio.segments import (
    ConsecutiveSegments,
    FileSegments,
    Identity,
    LoudnessGate,
    RandomSegments,
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


def test_random_segments_have_all_possible_offsets(sounds: list[Tensor]) -> None:
    source = RandomSegments(PackedSounds.pack(sounds), 40, gate=None, labels=torch.tensor([5, 6, 7]))
    # Two segments of 40 samples in the second sound; the other sounds hold one.
    assert source.sound.tolist() == [0, 1, 1, 2]
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
        torch.tensor([0, 3])
    )
    assert batch.mask is not None
    assert batch.mask.shape == batch.x.shape
    assert batch.mask.sum(2).tolist() == [[30, 30], [40, 40]]
    assert torch.allclose(batch.x[0, :, :30], sounds[0], atol=STEP)
    assert batch.index.tolist() == [0, 3]
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

    def read(sound: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
        return power[sound, offset].sqrt().view(-1, 1, 1), torch.ones(len(sound), 1, dtype=torch.bool)

    def chosen(level: float) -> list[int]:
        x, _ = LoudnessGate(level).choose(read, torch.arange(2), torch.arange(3).expand(2, -1))
        return [int((power[row] - x[row, 0].square()).abs().argmin()) for row in range(2)]

    assert chosen(-30.0) == [1, 1]
    assert chosen(-10.0) == [2, 1]


def test_consecutive_segments_cover_each_sound(sounds: list[Tensor]) -> None:
    source = ConsecutiveSegments(PackedSounds.pack(sounds), 40, labels=torch.tensor([5, 6, 7]))
    batch = source.batch(torch.arange(len(source)))
    assert source.sound.tolist() == [0, 1, 1, 1, 2, 2]
    assert batch.index.tolist() == [0, 1, 2, 3, 4, 5]
    assert batch.extras["label"].tolist() == [5, 6, 6, 6, 7, 7]
    assert batch.mask is not None
    assert int(batch.mask[:, 0].sum()) == sum(LENGTHS)
    second = batch.x[1:4].movedim(1, 0).flatten(1)[:, :100]
    assert torch.allclose(second, sounds[1], atol=STEP)


def test_columns_identify_segments(sounds: list[Tensor]) -> None:
    identity, packed = Identity(["a", "deep/b", "c"], 20, [0.0, 1.5, 0.0]), PackedSounds.pack(sounds)
    columns = ConsecutiveSegments(packed, 40, labels=None, identity=identity).columns(torch.tensor([0, 1, 3, 5]))
    assert columns["name"].tolist() == ["a", "deep/b", "deep/b", "c"]
    assert columns["start"].tolist() == [0.0, 1.5, 5.5, 2.0]
    assert columns["segment"].tolist() == [0, 0, 2, 1]
    random = RandomSegments(packed, 40, gate=None, labels=None, identity=identity)
    assert {name: list(values) for name, values in random.columns(torch.tensor([3])).items()} == {"name": ["c"]}
    assert ConsecutiveSegments(packed, 40, labels=None).columns(torch.arange(2)) == {}


@pytest.mark.parametrize("gate", [None, LoudnessGate(-20.0)])
@pytest.mark.parametrize("rate", [RATE, 11025])
@pytest.mark.parametrize("random", [True, False])
def test_file_segments_equal_those_in_memory(
    tmp_path: Path, random: bool, rate: int, gate: LoudnessGate | None
) -> None:
    waves = [noise(1, n, seed=n).T.numpy() * min(1, k) for k, n in enumerate((300, 1000, 2650))]
    waves[2][:1000] *= 0.01
    reader = Reader(FormatOptions(rate=RATE), RATE, 1)
    files = [open_sound(recording(saved(tmp_path / f"{k}.wav", wave, rate=rate))) for k, wave in enumerate(waves)]
    packed = PackedSounds.pack(reader(file.recording) for file in files)
    source = FileSegments(files, reader, 400, random=random, gate=gate, labels=None)
    in_memory = (
        RandomSegments(packed, 400, gate=gate, labels=None) if random else ConsecutiveSegments(packed, 400, labels=None)
    )
    assert len(source) == len(in_memory)
    index, batches = torch.arange(len(source)).repeat(3), []
    for each in (source, in_memory):
        torch.manual_seed(1)
        batches.append(each.batch(index))
    assert (batches[0].x - batches[1].x).abs().max() <= STEP
    assert torch.equal(batches[0].index, batches[1].index)
    assert torch.equal(batches[0].mask, batches[1].mask)


def test_quiet_segments_of_files_are_redrawn(tmp_path: Path) -> None:
    samples = sine(4000)
    samples[:3000] = 0
    file, reader = open_sound(recording(saved(tmp_path / "a.wav", samples))), Reader(FormatOptions(), RATE, 1)
    rows = torch.zeros(60, dtype=torch.long)
    loud = {}
    for gate in (None, LoudnessGate(-30.0)):
        source = FileSegments([file], reader, 100, random=True, gate=gate, labels=None)
        loud[gate] = float((source.batch(rows).x.square().mean((1, 2)) > 1e-3).float().mean())
    assert loud[None] < 0.5
    assert loud[LoudnessGate(-30.0)] > 0.75


@pytest.mark.parametrize(("rate", "new"), [(16000, RATE), (RATE, 11025), (44100, 16000), (RATE, RATE)])
def test_a_part_of_a_resampled_file_equals_that_of_the_whole(tmp_path: Path, rate: int, new: int) -> None:
    path = recording(saved(tmp_path / "a.wav", noise(2, 3 * rate).T.numpy(), rate=rate))
    reader, sound = Reader(FormatOptions(rate=new), new, 2), open_sound(path)
    whole = reader.convert(torch.from_numpy(np.concatenate(list(sound.decoded()), 1)), rate)
    assert whole.shape == (2, 3 * new)
    for start, length in ((0, 100), (new + 7, 333), (3 * new - 50, 80)):
        assert torch.allclose(reader.read(sound, start, length), whole[:, start : start + length], atol=1e-5)
    # Read from begin to end, in blocks that no period of the resampling divides.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aeframe_audio.decode.BLOCK", 4999)
        blocks = list(reader.blocks(sound))
    assert len(blocks) > 4
    assert torch.allclose(torch.cat(blocks, 1), whole, atol=1e-5)
