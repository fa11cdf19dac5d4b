"""The modality `audio`: fixed-length segments of sounds.

Shapes: B or N segments, C channels, T time samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.data import Dataset, FileSamples, Modality, OnError, Source, Splits
from aeframe.data.folders import read_labels
from aeframe.data.random_split import SPLITS
from aeframe.errors import AeframeError
from aeframe.types import Batch, DataSpec, Domain
from aeframe_audio.audio_in_memory import waves_of
from aeframe_audio.decode import Header, read_header
from aeframe_audio.folder import audio_files, recordings_of
from aeframe_audio.packed import PackedSounds
from aeframe_audio.reader import FormatOptions, Reader
from aeframe_audio.recordings import Files, RawSplits, Recording, Waves
from aeframe_audio.segments import ConsecutiveSegments, FileSegments, LoudnessGate, RandomSegments
from aeframe_audio.write import write_sounds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MEGABYTE = 2**20
_BYTES_PER_SAMPLE = 2


class Audio(Modality):
    """Segments of sounds, ``(C, T)`` in [-1, 1]; T is `seconds` times the sampling rate.

    A training epoch has one random segment of each sound. Validation and test sounds are cut into consecutive segments.
    Segments are zero-padded and masked after the end of a sound. `Batch.index` is the number of the sound.

    Args:
        seconds: Length of a segment.
        rate: Sampling rate in Hz that all sounds are resampled to. null keeps that of the data, which must then be the
            same for all sounds.
        channels: 1 mixes stereo down, 2 repeats mono; null keeps the channels of the data.
        gate: Training segments with a root mean square below this level, in dB of full scale, are redrawn; null
            accepts all.
        on_error: What to do with files that cannot be decoded: ``raise`` an error, or ``skip`` and list them.
    """

    defaults: ClassVar[Mapping[str, str]] = {"encoder": "wave_conv", "loss": "mae"}
    metrics: ClassVar[tuple[str, ...]] = ("mse", "mae", "si_sdr", "mel_distance", "log_spectral_distance", "bitrate")
    dataset: ClassVar[str | None] = "vowels_simulated"
    in_memory: ClassVar[str | None] = "audio_in_memory"

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
            raise AeframeError(f"modality 'audio' requires seconds > 0 and rate > 0, found {seconds:g} and {rate}")
        self.seconds, self.format_options, self.on_error = seconds, FormatOptions(rate, channels), on_error
        self.gate = None if gate is None else LoudnessGate(gate)
        self._reader: Reader | None = None
        self._data_rate: int | None = None
        self._label_names: tuple[str, ...] | None = None

    # -- training ------------------------------------------------------------------------------------------------

    def spec(self, dataset: Dataset) -> DataSpec:
        description = dataset.describe()
        # The number of samples does not matter here.
        header = Header(rate=description["rate"], channels=description["channels"], frames=1)
        rate, channels = self.format_options.resolve(header)
        length = self._segment_length(rate)
        if length < 1:
            raise AeframeError(
                f"modality 'audio' has no sample in a segment of {self.seconds:g} s at {rate} Hz; "
                "increase modality.seconds"
            )
        self._reader, self._data_rate = Reader(self.format_options, rate, channels), header.rate
        return DataSpec((channels, length), Domain("signed"), rate=rate)

    def learn(self, dataset: Dataset, raw: Any) -> None:
        """Determine the sampling rate, the number of channels and the names of the class folders."""
        self.spec(dataset)  # Creates the reader.
        self._label_names = dataset.label_names
        if not isinstance(raw, Mapping) or not all(isinstance(raw.get(split), (Waves, Files)) for split in SPLITS):
            raise AeframeError(
                f"modality audio reads Waves or Files for each split, and dataset {type(dataset).__name__} loads "
                f"{type(raw).__name__}; choose a dataset of this modality, or modality={type(dataset).modality}"
            )

    def apply(self, raw: RawSplits) -> Splits:
        reader = self._known_reader()
        skipped: list[str] = []
        headers = {
            split: self._headers(files, skipped) for split in SPLITS if isinstance(files := raw[split], Files)
        }  # fmt: skip
        # Waves are in memory anyway; files are decoded into memory if all splits together fit.
        num_samples = sum(reader.num_samples(header) for split in headers.values() for header in split.values())
        limits = [files.max_memory_mb for files in raw.values() if isinstance(files, Files)]
        in_memory = not limits or num_samples * reader.channels * _BYTES_PER_SAMPLE <= min(limits) * _MEGABYTE
        sources = [
            self._source(split, raw[split], headers.get(split, {}), in_memory=in_memory, skipped=skipped)
            for split in SPLITS
        ]
        return Splits(sources[0], sources[1], sources[2], skipped)

    def _headers(self, files: Files, skipped: list[str]) -> dict[int, Header]:
        """Return the headers of the readable files by their position in `files`; add errors to `skipped`."""
        headers: dict[int, Header] = {}
        for number, recording in enumerate(files.recordings):
            try:
                header = read_header(recording)
            except AeframeError as error:
                if self.on_error == "raise":
                    raise
                skipped.append(str(error))
                continue
            self._known_reader().check_convertible(recording.name, header.rate, header.channels)
            headers[number] = header
        return headers

    def _source(
        self, split: str, raw: Waves | Files, headers: dict[int, Header], *, in_memory: bool, skipped: list[str]
    ) -> Source:
        """Return the segments of a split: random ones for training, consecutive ones otherwise."""
        reader, random = self._known_reader(), split == "train"
        length, gate = self._segment_length(reader.rate), self.gate if random else None
        if isinstance(raw, Waves):
            packed = PackedSounds.pack(reader.convert_checked(wave, rate, name) for wave, rate, name in raw)
            return _in_memory_source(packed, raw.labels, length, random=random, gate=gate)
        # The positions of the files that can be decoded. They are only decoded here to keep them or to find damaged
        # ones.
        readable, waves = list(headers), []
        if in_memory or self.on_error == "skip":
            readable = []
            for number in headers:
                try:
                    wave = reader(raw.recordings[number])
                except AeframeError as error:
                    if self.on_error == "raise":
                        raise
                    skipped.append(str(error))
                    continue
                readable.append(number)
                if in_memory:
                    waves.append(wave)
        if not readable:
            first = f"; the first: {skipped[0]}" if skipped else ""
            raise AeframeError(f"none of the {len(raw)} sounds of the {split} split can be decoded{first}")
        files = raw.rows(torch.tensor(readable))
        if in_memory:
            return _in_memory_source(PackedSounds.pack(waves), files.labels, length, random=random, gate=gate)
        file_headers = [headers[number] for number in readable]
        return FileSegments(
            files.recordings, file_headers, reader, length, random=random, gate=gate, labels=files.labels
        )

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = {}
        if self._label_names is not None:
            state["label_names"] = list(self._label_names)
        if self._reader is not None:
            state |= {"rate": self._reader.rate, "channels": self._reader.channels, "data_rate": self._data_rate}
        return state

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._reader = Reader(self.format_options, state["rate"], state["channels"]) if "rate" in state else None
        self._data_rate = state.get("data_rate")
        self._label_names = tuple(state["label_names"]) if "label_names" in state else None

    @property
    def converting_reader(self) -> Reader:
        """A reader that converts files of any sampling rate, mono or stereo, to the format of training."""
        reader = self._known_reader()
        channels: Literal[1, 2] | None = 1 if reader.channels == 1 else 2 if reader.channels == 2 else None
        return Reader(FormatOptions(reader.rate, channels), reader.rate, reader.channels)

    # -- samples in memory ---------------------------------------------------------------------------------------

    def prepare_samples(self, x: Any) -> Batch:
        """Return sounds as consecutive segments ``(M, C, T)`` in the format of training, as `read`.

        Args:
            x: A list of arrays or tensors ``(n,)`` or ``(C, n)``, or of pairs of an array and its rate in Hz, or an
                array ``(N, n)`` or ``(N, C, n)``. Arrays without a rate have that of the training data. If the option
                `rate` resampled these, arrays without a rate are refused, since they could have either rate.

        Raises:
            AeframeError: A sound has no known rate, another shape or type, or values beyond [-1, 1].
        """
        reader = self.converting_reader
        resampled = self._data_rate not in (None, reader.rate)
        waves = waves_of(
            "modality audio",
            x,
            None if resampled else reader.rate,
            next_step=f"pass pairs (array, rate), since the training data were resampled from {self._data_rate} to "
            f"{reader.rate} Hz",
        )
        packed = PackedSounds.pack(reader.convert_checked(wave, rate, name) for wave, rate, name in waves)
        source = ConsecutiveSegments(packed, self._segment_length(reader.rate), labels=None)
        return source.batch(torch.arange(len(source)))

    def restore_samples(self, x: Tensor) -> NDArray[np.float32]:
        """Return segments as an array ``(N, C, T)`` at the sampling rate of the model, clipped to [-1, 1] as in files.

        The padding after the end of a sound, which is NaN where it is masked, becomes silence.
        """
        # Masked values are NaN.
        samples: NDArray[np.float32] = x.detach().cpu().float().nan_to_num(0.0).clamp(-1.0, 1.0).numpy()
        return samples

    # -- files and plots -----------------------------------------------------------------------------------------

    def open(self, path: Path, on_error: OnError) -> FileSamples:
        """Read a sound file, or all in a folder, as consecutive segments in the format of training.

        The last segment of a sound is padded and masked. ``extras["label"]`` is the index of the class folder of its
        sound in the class folders of training, -1 for another one.

        Raises:
            AeframeError: No sounds, or one that cannot be decoded.
        """
        labels: Tensor | None = None
        if path.is_dir():
            files = audio_files(path)
            recordings, labels = recordings_of(files), read_labels(path, files, self._label_names)
        else:
            recordings = [Recording(str(path), path)]
        if not recordings:
            raise AeframeError(f"modality 'audio' found no sounds in '{path}'; choose a folder that contains some")
        if self._reader is None:
            header = read_header(recordings[0])
            self._reader = Reader(self.format_options, *self.format_options.resolve(header))
        reader = self.converting_reader
        packed = PackedSounds.pack(reader(recording) for recording in recordings)
        return FileSamples(ConsecutiveSegments(packed, self._segment_length(reader.rate), labels=labels))

    def write(self, x: Tensor, path: Path, *, names: Sequence[str] | None = None) -> list[Path]:
        """Write segments ``(N, C, T)`` to one ``.wav``, ``.flac`` or ``.ogg`` file, one after another.

        A path without a suffix is a folder for one file per segment, ``000000.wav`` and so on. Masked values (NaN) are
        silence.

        Raises:
            AeframeError: An unknown suffix, or a file that exists.
        """
        return write_sounds(x.nan_to_num(0.0), path, self._known_reader().rate)

    def render(self, panels: Mapping[str, Tensor]) -> Figure:
        """Return spectrograms: a titled row of at most six for each panel, or a grid for a single panel."""
        from aeframe_audio.render import plot_spectrograms

        return plot_spectrograms(panels, self._known_reader().rate)

    def _segment_length(self, rate: int) -> int:
        return round(self.seconds * rate)

    def _known_reader(self) -> Reader:
        if self._reader is None:
            raise RuntimeError("modality audio has no state yet; call prepare or load_state first")
        return self._reader


def _in_memory_source(
    sounds: PackedSounds, labels: Tensor | None, length: int, *, random: bool, gate: LoudnessGate | None
) -> Source:
    if random:
        return RandomSegments(sounds, length, gate=gate, labels=labels)
    return ConsecutiveSegments(sounds, length, labels=labels)
