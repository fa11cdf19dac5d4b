"""The modality `audio`: fixed-length segments of sounds.

Shapes: B or N segments, C channels, T time samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.data import Dataset, FileSamples, Modality, OnError, Source, Splits
from aeframe.data.folders import passed_over, read_labels
from aeframe.data.media import Medium, figure_medium
from aeframe.data.random_split import SPLITS
from aeframe.data.sample_batches import SampleBatches
from aeframe.errors import AeframeError
from aeframe.types import Batch, DataSpec, Domain, Shape
from aeframe_audio.audio_in_memory import waves_of
from aeframe_audio.decode import EXTENSIONS, read_format
from aeframe_audio.folder import audio_files, recordings_of
from aeframe_audio.opening import OpenedSounds
from aeframe_audio.packed import PackedSounds, Packing
from aeframe_audio.reader import FormatOptions, Reader
from aeframe_audio.recordings import Files, RawSplits, Recording, Waves
from aeframe_audio.scale import find_scale
from aeframe_audio.segments import ConsecutiveSegments, FileSegments, Identity, LoudnessGate, RandomSegments
from aeframe_audio.write import wav, write_sounds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MEGABYTE = 2**20
_BYTES_PER_SAMPLE = 2
_MIN_SEGMENTS = 2
"""Training segments that are needed: a batch has at least two."""
_NUM_PARTS = 50
"""Parts of a sound, of which the one with the largest error is named."""


class Audio(Modality):
    """Segments of sounds, ``(C, T)`` in [-1, 1]; T is `seconds` times the sampling rate.

    A training epoch has as many random segments of each sound as it holds, at least one. Validation and test sounds are
    cut into consecutive segments. Segments are zero-padded and masked after the end of a sound. Outputs identify a
    segment by the ``name`` of its sound, its ``start`` in seconds and its number, ``segment``.

    Args:
        seconds: Length of a segment.
        rate: Sampling rate in Hz that all sounds are resampled to. null keeps that of the data, which must then be the
            same for all sounds.
        channels: 1 mixes stereo down, 2 repeats mono; null keeps the channels of the data.
        gate: Training segments with a root mean square below this level, in dB of full scale, are redrawn; null
            accepts all.
        scale: Full scale of floating-point files, whose samples are divided by it. null is 1, or that of integers if
            all samples are whole numbers beyond 128. Samples slightly beyond full scale are clipped, with a note; more
            is an error.
        on_error: What to do with files that cannot be decoded: ``raise`` an error, or ``skip`` and list them.
    """

    defaults: ClassVar[Mapping[str, str]] = {"encoder": "wave_conv", "loss": "mae"}
    metrics: ClassVar[tuple[str, ...]] = (
        "mse", "mae", "si_sdr", "mel_distance", "log_spectral_distance", "bitrate", "window_pca",
    )  # fmt: skip
    feature_spaces: ClassVar[tuple[str, ...]] = ("log_mel", "pca")
    dataset: ClassVar[str | None] = "vowels_simulated"
    in_memory: ClassVar[str | None] = "audio_in_memory"

    def __init__(
        self,
        *,
        seconds: float = 0.5,
        rate: int | None = None,
        channels: Literal[1, 2] | None = None,
        gate: float | None = -50.0,
        scale: float | None = None,
        on_error: OnError = "raise",
    ) -> None:
        if seconds <= 0 or (rate is not None and rate < 1):
            raise AeframeError(f"modality 'audio' requires seconds > 0 and rate > 0, found {seconds:g} and {rate}")
        if scale is not None and not 0 < scale < math.inf:
            raise AeframeError(f"modality 'audio' requires scale > 0, found {scale:g}")
        self.seconds, self.format_options, self.on_error = seconds, FormatOptions(rate, channels), on_error
        self.gate = None if gate is None else LoudnessGate(gate)
        self.scale = scale
        self._reader: Reader | None = None
        # The samples of the sounds that were opened, by name: `write` removes the padding of their last segment.
        self._lengths: dict[str, list[int]] = {}
        self._data_rate: int | None = None
        self._label_names: tuple[str, ...] | None = None

    # -- training ------------------------------------------------------------------------------------------------

    def spec(self, dataset: Dataset) -> DataSpec:
        description = dataset.describe()
        rate, channels = self.format_options.resolve(description["rate"], description["channels"])
        length = self._segment_length(rate)
        if length < 1:
            raise AeframeError(
                f"modality 'audio' has no sample in a segment of {self.seconds:g} s at {rate} Hz; "
                "increase modality.seconds"
            )
        self._reader, self._data_rate = Reader(self.format_options, rate, channels), description["rate"]
        return DataSpec((channels, length), Domain("signed"), rate=rate)

    def mask_shape(self, spec: DataSpec) -> Shape | None:
        # The last segment of a sound is padded.
        return spec.shape

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
        reader, skipped = self._known_reader(), list[str]()
        opened = {
            split: OpenedSounds.open(files, reader, self.on_error, limit=self.scale or 1.0)
            for split in SPLITS
            if isinstance(files := raw[split], Files)
        }
        reader = replace(reader, scale=self._found_scale(list(opened.values()), expected=reader.scale, can_set=True))
        self._reader = reader
        # Waves are in memory anyway; files are decoded into memory if all splits together fit.
        num_samples = sum(reader.num_samples(sound) for sounds in opened.values() for sound in sounds.sounds)
        limits = [files.max_memory_mb for files in raw.values() if isinstance(files, Files)]
        in_memory = not limits or num_samples * reader.channels * _BYTES_PER_SAMPLE <= min(limits) * _MEGABYTE
        sources = []
        for split in SPLITS:
            sounds = raw[split]
            if isinstance(sounds, Waves):
                sources.append(self._source_of_waves(split, sounds))
            else:
                sources.append(self._source_of_files(split, sounds, opened[split], in_memory=in_memory))
                skipped += opened[split].skipped
        if len(sources[0]) < _MIN_SEGMENTS:
            raise AeframeError(
                f"the training sounds hold 1 segment of {self.seconds:g} s, expected at least {_MIN_SEGMENTS}; lower "
                "modality.seconds, or add sounds"
            )
        if (note := reader.overshoot.note()) is not None:
            self.notes.add(note)
        return Splits(sources[0], sources[1], sources[2], skipped)

    def _found_scale(self, opened: list[OpenedSounds], *, expected: float, can_set: bool) -> float:
        """Return the full scale of floating-point files; add what is done to them to the notes."""
        ranges = [values for sounds in opened for values in sounds.ranges]
        scale, note = find_scale(ranges, option=self.scale, expected=expected, can_set=can_set)
        for sentence in (note, *(sentence for sounds in opened for sentence in sounds.notes)):
            if sentence is not None:
                self.notes.add(sentence)
        # Without floating-point files, that of training remains.
        return scale if ranges else expected

    def _source_of_waves(self, split: str, waves: Waves) -> Source:
        reader = self._known_reader()
        packed = PackedSounds.pack(reader.convert_checked(wave, rate, name) for wave, rate, name in waves)
        return self._in_memory_source(split, packed, waves.labels, [name for _, _, name in waves], None)

    def _source_of_files(self, split: str, raw: Files, opened: OpenedSounds, *, in_memory: bool) -> Source:
        """Return the segments of files. They are decoded here only to keep them, or to find damaged ones."""
        reader = self._known_reader()
        packing = Packing(reader.channels, sum(map(reader.num_samples, opened.sounds))) if in_memory else None
        if packing is not None:
            opened.keep_decodable(lambda sound: packing.add(reader.blocks(sound)), self.on_error)
        elif self.on_error == "skip":
            opened.keep_decodable(lambda sound: _exhaust(sound.decoded()), self.on_error)
        if not opened.sounds:
            first = f"; the first: {opened.skipped[0]}" if opened.skipped else ""
            raise AeframeError(f"none of the {len(raw)} sounds of the {split} split can be decoded{first}")
        labels = None if raw.labels is None else raw.labels[torch.tensor(opened.positions)]
        if packing is not None:
            return self._in_memory_source(split, packing.packed(), labels, opened.titles, opened.begins)
        identity = self._identity(opened.titles, opened.begins, [reader.num_samples(sound) for sound in opened.sounds])
        random, length = split == "train", self._segment_length(reader.rate)
        gate = self.gate if random else None
        return FileSegments(opened.sounds, reader, length, random=random, gate=gate, labels=labels, identity=identity)

    def _in_memory_source(
        self, split: str, sounds: PackedSounds, labels: Tensor | None, names: list[str], begins: list[float] | None
    ) -> Source:
        """Return random segments for training, consecutive ones otherwise."""
        length = self._segment_length(self._known_reader().rate)
        identity = self._identity(names, begins, sounds.lengths.tolist())
        if split == "train":
            return RandomSegments(sounds, length, gate=self.gate, labels=labels, identity=identity)
        return ConsecutiveSegments(sounds, length, labels=labels, identity=identity)

    def _identity(self, names: list[str], begins: list[float] | None, lengths: list[int]) -> Identity:
        """Return what identifies sounds in outputs, and remember their lengths for `write`."""
        for name, length in zip(names, lengths, strict=True):
            known = self._lengths.setdefault(name, [])
            if length not in known:
                known.append(length)
        return Identity(names, self._known_reader().rate, begins)

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = {}
        if self._label_names is not None:
            state["label_names"] = list(self._label_names)
        if self._reader is not None:
            state |= {"rate": self._reader.rate, "channels": self._reader.channels, "data_rate": self._data_rate}
            if self._reader.scale != 1.0:
                state["scale"] = self._reader.scale
        return state

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._reader = None
        if "rate" in state:
            scale = float(state.get("scale", 1.0))
            self._reader = Reader(self.format_options, state["rate"], state["channels"], scale)
        self._data_rate = state.get("data_rate")
        self._label_names = tuple(state["label_names"]) if "label_names" in state else None

    @property
    def converting_reader(self) -> Reader:
        """A reader that converts files of any sampling rate, mono or stereo, to the format of training."""
        reader = self._known_reader()
        channels: Literal[1, 2] | None = 1 if reader.channels == 1 else 2 if reader.channels == 2 else None
        return Reader(FormatOptions(reader.rate, channels), reader.rate, reader.channels, reader.scale)

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
        """Open a sound file, or all in a folder, as consecutive segments in the format of training.

        Segments are decoded by batch. The last segment of a sound is padded and masked. `Batch.index` is the number of
        the segment; a skipped sound counts as all of its segments, or as one if its length is not known.
        ``extras["label"]`` is the index of the class folder of its sound in the class folders of training, -1 for
        another one.

        With ``on_error="skip"`` each file is decoded once at the beginning, to find damaged ones.

        Raises:
            AeframeError: No sounds, or one that cannot be decoded.
        """
        labels: Tensor | None = None
        if path.is_dir():
            paths = audio_files(path)
            recordings, labels = recordings_of(paths, path), read_labels(path, paths, self._label_names)
            if (note := passed_over(path, EXTENSIONS, "sound")) is not None:
                self.notes.add(note)
        else:
            recordings = [Recording(str(path), path)]
        if not recordings:
            raise AeframeError(f"modality 'audio' found no sounds in '{path}'; choose a folder that contains some")
        if self._reader is None:
            self._reader = Reader(self.format_options, *self.format_options.resolve(*read_format(recordings[0])))
        reader = self.converting_reader
        opened = OpenedSounds.open(
            Files(recordings), reader, on_error, limit=self.scale or 1.0, skip_other_formats=True
        )
        if on_error == "skip":
            opened.keep_decodable(lambda sound: _exhaust(sound.decoded()), on_error)
        if not opened.sounds:
            raise AeframeError(f"none of the {len(recordings)} sounds can be decoded; the first: {opened.skipped[0]}")
        reader = replace(reader, scale=self._found_scale([opened], expected=reader.scale, can_set=False))
        length = self._segment_length(reader.rate)
        # An unknown length counts as one segment.
        counts = torch.tensor(
            [-(-reader.num_samples(sound) // length) if sound is not None else 1 for sound in opened.found]
        )
        positions = torch.tensor(opened.positions)
        source = FileSegments(
            opened.sounds,
            reader,
            length,
            random=False,
            gate=None,
            labels=None if labels is None else labels[positions],
            identity=self._identity(opened.titles, None, [reader.num_samples(sound) for sound in opened.sounds]),
            first_numbers=(counts.cumsum(0) - counts)[positions],
        )
        return FileSamples(source, opened.skipped)

    def write_batches(self, samples: SampleBatches, path: Path) -> list[Path]:
        """Write segments ``(N, C, T)`` to one ``.wav``, ``.flac`` or ``.ogg`` file, one after another.

        A path without a suffix is a folder. Without names it has one file per segment, ``000000.wav`` and so on. With
        the names of the sounds that this modality opened, consecutive segments of one name are one file of that name
        and as long as the sound; names of formats that are not written get the suffix ``.wav``. Masked values
        (NaN) are silence.

        Raises:
            AeframeError: An unknown suffix.
        """
        segments = SampleBatches((x.nan_to_num(0.0) for x in samples), len(samples), samples.names)
        return write_sounds(segments, path, self._known_reader().rate, lengths=self._lengths)

    def locate_errors(self, errors: Tensor, batch: Batch) -> list[str]:
        """Return the part of a fiftieth of the sound, in seconds, with the largest mean error."""
        rate, length = self._known_reader().rate, errors.shape[2]
        size = max(1, length // _NUM_PARTS)
        means = torch.nn.functional.avg_pool1d(errors.mean(1, keepdim=True), size, ceil_mode=True)
        first = means.argmax(2).flatten() * size
        return [f"{start / rate:.3f} to {min(start + size, length) / rate:.3f} s" for start in first.tolist()]

    def render(self, panels: Mapping[str, Tensor]) -> Figure:
        """Return spectrograms: a titled row of at most six for each panel, or a grid for a single panel."""
        from aeframe_audio.render import plot_spectrograms

        return plot_spectrograms(panels, self._known_reader().rate)

    def show(self, x: Tensor) -> list[list[Medium]]:
        """Return the spectrogram of each segment, and its sound as a WAV file; masked values are silence."""
        from aeframe_audio.render import plot_spectrogram

        rate = self._known_reader().rate
        return [
            [figure_medium(plot_spectrogram(wave, rate)), Medium("audio/wav", wav(wave, rate))]
            for wave in x.detach().cpu().float().nan_to_num(0.0)
        ]

    def _segment_length(self, rate: int) -> int:
        return round(self.seconds * rate)

    def _known_reader(self) -> Reader:
        if self._reader is None:
            raise RuntimeError("modality audio has no state yet; call prepare or load_state first")
        return self._reader


def _exhaust(blocks: Iterable[object]) -> None:
    """Decode a sound without keeping it."""
    for _ in blocks:
        pass
