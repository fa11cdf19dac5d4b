"""The modality `audio`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor

from aeframe.data import Dataset, Modality, Source, Splits
from aeframe.data.random_split import SPLITS
from aeframe.errors import AeframeError
from aeframe.types import Batch, DataSpec, Domain
from aeframe_audio.decode import Header, read_header
from aeframe_audio.fit import Fit, Reader
from aeframe_audio.folder import recordings_of, sounds_below
from aeframe_audio.packed import Packed
from aeframe_audio.recordings import Files, OnError, RawSplits, Recording, Waves
from aeframe_audio.segments import ConsecutiveSegments, FileSegments, Gate, RandomSegments
from aeframe_audio.write import write_sounds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MEGABYTE = 2**20
_BYTES = 2


class Audio(Modality):
    """Segments of sounds, ``(C, T)`` with values in [-1, 1], T = `seconds` times the sampling rate.

    A training epoch has one segment of each sound, at a place that is drawn anew; validation and test sounds are cut
    into consecutive ones, so that all of them is measured. A sound that ends within a segment is masked from there on.
    `Batch.index` is the number of the sound.

    Args:
        seconds: Length of a segment.
        rate: Samples per second that all sounds are brought to; null keeps that of the data, and refuses another.
        channels: 1 mixes stereo down, 2 repeats mono; null keeps what the data have.
        gate: Training segments whose root mean square is below this many dB of full scale are drawn again; null takes
            them as they come.
        on_error: Files that cannot be decoded: ``raise``, or ``skip`` and list them.
    """

    defaults: ClassVar[Mapping[str, str]] = {"encoder": "wave_conv", "loss": "mae"}
    metrics: ClassVar[tuple[str, ...]] = ("mse", "mae", "si_sdr", "mel_distance", "log_spectral_distance", "bitrate")
    dataset: ClassVar[str | None] = "vowels_simulated"

    def __init__(
        self,
        *,
        seconds: float = 0.5,
        rate: int | None = None,
        channels: Literal[1, 2] | None = None,
        gate: float | None = -50.0,
        on_error: OnError = "raise",
    ) -> None:
        if seconds <= 0 or (rate is not None and rate < 1):
            raise AeframeError(f"modality 'audio' needs seconds > 0 and rate > 0, found {seconds:g} and {rate}")
        self.seconds, self.fit, self.on_error = seconds, Fit(rate, channels), on_error
        self.gate = None if gate is None else Gate(gate)
        self._reader: Reader | None = None

    # -- training ------------------------------------------------------------------------------------------------

    def spec(self, dataset: Dataset) -> DataSpec:
        found = dataset.describe()
        rate, channels = self.fit.header(Header(found["rate"], found["channels"], 1))
        length = round(self.seconds * rate)
        if length < 1:
            raise AeframeError(f"modality 'audio' has no sample in {self.seconds:g} s at {rate} Hz; raise seconds")
        self._reader = Reader(self.fit, rate, channels)
        return DataSpec((channels, length), Domain("signed"), rate=rate)

    def learn(self, dataset: Dataset, raw: Any) -> None:
        self.spec(dataset)
        if not isinstance(raw, Mapping) or not all(isinstance(raw.get(split), (Waves, Files)) for split in SPLITS):
            raise AeframeError(
                f"modality audio reads Waves or Files for each split, and dataset {type(dataset).__name__} loads "
                f"{type(raw).__name__}; choose a dataset of this modality, or modality={type(dataset).modality}"
            )

    def apply(self, raw: RawSplits) -> Splits:
        reader = self._learned()
        length = round(self.seconds * reader.rate)
        skipped: list[str] = []
        headers = {
            split: self._headers(files, skipped) for split in SPLITS if isinstance(files := raw[split], Files)
        }  # fmt: skip
        samples = sum(reader.length(header) for found in headers.values() for header in found.values())
        limits = [files.max_memory_mb for files in raw.values() if isinstance(files, Files)]
        in_memory = not limits or samples * reader.channels * _BYTES <= min(limits) * _MEGABYTE
        sources = [
            self._source(split, raw[split], headers.get(split, {}), length, in_memory=in_memory, skipped=skipped)
            for split in SPLITS
        ]
        return Splits(sources[0], sources[1], sources[2], skipped)

    def _headers(self, files: Files, skipped: list[str]) -> dict[int, Header]:
        """Return the headers of the recordings that can be opened, by their number."""
        found: dict[int, Header] = {}
        for number, recording in enumerate(files.recordings):
            try:
                header = read_header(recording)
            except AeframeError as error:
                if self.on_error == "raise":
                    raise
                skipped.append(str(error))
                continue
            self._learned().check(recording.name, header.rate, header.channels)
            found[number] = header
        return found

    def _source(
        self,
        split: str,
        raw: Waves | Files,
        headers: dict[int, Header],
        length: int,
        *,
        in_memory: bool,
        skipped: list[str],
    ) -> Source:
        reader, random = self._learned(), split == "train"
        gate = self.gate if random else None
        if isinstance(raw, Waves):
            # Waves of one rate: the spec was made of it, and options may have asked for another.
            packed = Packed.of(reader.fitted(sound, raw.rate) for sound in raw.sounds)
            return _in_memory(packed, raw.labels, length, random=random, gate=gate)
        good, waves = list(headers), []
        if in_memory or self.on_error == "skip":
            good = []
            for number in headers:
                try:
                    wave = reader(raw.recordings[number])
                except AeframeError as error:
                    if self.on_error == "raise":
                        raise
                    skipped.append(str(error))
                    continue
                good.append(number)
                if in_memory:
                    waves.append(wave)
        if not good:
            told = f"; the first: {skipped[0]}" if skipped else ""
            raise AeframeError(f"none of {len(raw)} sounds of the {split} split can be used{told}")
        kept = raw.rows(torch.tensor(good))
        if in_memory:
            return _in_memory(Packed.of(waves), kept.labels, length, random=random, gate=gate)
        known = [headers[number] for number in good]
        return FileSegments(kept.recordings, known, reader, length, random=random, gate=gate, labels=kept.labels)

    def state(self) -> dict[str, Any]:
        return {} if self._reader is None else {"rate": self._reader.rate, "channels": self._reader.channels}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._reader = Reader(self.fit, state["rate"], state["channels"]) if "rate" in state else None

    @property
    def reader(self) -> Reader:
        """Brings recordings of any rate, mono or stereo, to the rate and the channels of training."""
        learned = self._learned()
        channels: Literal[1, 2] | None = 1 if learned.channels == 1 else 2 if learned.channels == 2 else None
        return Reader(Fit(learned.rate, channels), learned.rate, learned.channels)

    # -- files and pictures --------------------------------------------------------------------------------------

    def read(self, path: Path) -> Batch:
        """Read a sound file, or all of a folder, cut into consecutive segments, the last masked where a sound ends.

        They are brought to the rate and the channels of training, whatever they are.

        Raises:
            AeframeError: No sounds there, or one that cannot be decoded.
        """
        recordings = recordings_of(sounds_below(path)) if path.is_dir() else [Recording(str(path), path)]
        if not recordings:
            raise AeframeError(f"modality 'audio' found no sounds in '{path}'; give a folder with some")
        if self._reader is None:
            header = read_header(recordings[0])
            self._reader = Reader(self.fit, *self.fit.header(header))
        reader = self.reader
        packed = Packed.of(reader(recording) for recording in recordings)
        source = ConsecutiveSegments(packed, round(self.seconds * reader.rate), labels=None)
        return source.batch(torch.arange(len(source)))

    def write(self, x: Tensor, path: Path) -> list[Path]:
        """Write segments ``(N, C, T)``: a path that ends in ``.wav``, ``.flac`` or ``.ogg`` gets them all, one after
        the other; any other is a folder, which gets ``000000.wav`` and so on.

        Raises:
            AeframeError: A file that exists, or another ending.
        """
        return write_sounds(x, path, self._learned().rate)

    def render(self, panels: Mapping[str, Tensor]) -> Figure:
        """Return spectrograms: one titled row of at most six for each panel, a grid for a single one."""
        from aeframe_audio.render import draw

        return draw(panels, self._learned().rate)

    def _learned(self) -> Reader:
        if self._reader is None:
            raise RuntimeError("modality audio has learned nothing yet; call prepare or load_state first")
        return self._reader


def _in_memory(packed: Packed, labels: Tensor | None, length: int, *, random: bool, gate: Gate | None) -> Source:
    if random:
        return RandomSegments(packed, length, gate=gate, labels=labels)
    return ConsecutiveSegments(packed, length, labels=labels)
