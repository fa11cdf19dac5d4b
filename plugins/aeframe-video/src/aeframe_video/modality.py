"""The modality `video`: clips of frames.

A dataset has videos, as arrays (`Stack`, `SharedStack`, `VideoList`) or as files (`Files`). The modality divides each
into clips, the samples of a model. Shapes: N clips, C channels, T frames, H x W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.data import Dataset, FileSamples, Modality, OnError, Source, Splits
from aeframe.data.folders import first_opened, passed_over, read_labels
from aeframe.data.media import Medium
from aeframe.data.random_split import SPLITS
from aeframe.data.sample_batches import SampleBatches
from aeframe.errors import AeframeError
from aeframe.types import Batch, DataSpec, Domain, Shape
from aeframe_image.fit import Fit, FitMode
from aeframe_image.pictures import SharedStack, Stack, format_shape
from aeframe_video.arrays import ArrayFile
from aeframe_video.decode import EXTENSIONS, FRAME_EXTENSIONS, read_info
from aeframe_video.file_clips import FileClips
from aeframe_video.folder import find_videos, parts_of
from aeframe_video.in_memory import raw_videos
from aeframe_video.memory_clips import clips_of_stack
from aeframe_video.reader import Reader, VideoClips
from aeframe_video.sampling import ClipSampling
from aeframe_video.videos import Files, RawSplits, VideoList
from aeframe_video.write import gif, mp4, write_clips

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MEGABYTE = 2**20
_DEFAULT_FRAMES = 16
"""Default number of frames of a clip from files."""
_DEFAULT_RATE = 10.0
"""Frames per second of clips from data without a rate."""


class Video(Modality):
    """Clips ``(C, T, H, W)`` in [0, 1] with one channel (greyscale) or three, stored as bytes.

    Args:
        frames: Number of frames of a clip, T. null is 16 for video files, and the length of the (shortest) video for
            arrays.
        stride: Distance of consecutive frames of a clip, in frames at `fps`.
        fps: Frames per second at which files are sampled, before the stride, by the times of their frames. null uses
            all frames of the file; videos of different frame rates are then an error.
        every: Distance of the starts of consecutive clips, in frames at `fps`. null yields clips without overlap;
            remaining frames at the end are not used.
        random_start: Whether training clips start at random frames of their video, drawn anew in each epoch. Their
            number is the same as without this option. Validation and test clips are fixed.
        size: Height and width, or one number for both; null keeps the size of the data.
        fit: Conversion of frames to that size: ``crop`` uses the largest centred part of the same aspect ratio,
            ``resize`` changes the aspect ratio, ``pad`` adds a border of brightness `padding`.
        padding: Brightness of the border with ``fit=pad``, from 0 (black) to 1. Losses and metrics include the border.
        channels: 1 converts colour to greyscale, 3 repeats greyscale; null keeps the channels of the data.
        on_error: What to do with videos that cannot be decoded or are too short: ``raise`` an error, or ``skip`` and
            list them. Of a damaged video the clips before the damage are kept.
    """

    defaults: ClassVar[Mapping[str, str]] = {"encoder": "video_conv", "loss": "bernoulli"}
    metrics: ClassVar[tuple[str, ...]] = (
        *Modality.metrics,
        "clip_psnr",
        "frame_psnr",
        "frame_mse",
        "flicker",
        "still_mse",
    )
    dataset: ClassVar[str | None] = "moving_shapes"
    in_memory: ClassVar[str | None] = "video_in_memory"

    def __init__(
        self,
        *,
        frames: int | None = None,
        stride: int = 1,
        fps: float | None = None,
        every: int | None = None,
        random_start: bool = False,
        size: int | tuple[int, int] | None = None,
        fit: FitMode = "crop",
        padding: float = 0.0,
        channels: Literal[1, 3] | None = None,
        on_error: OnError = "raise",
    ) -> None:
        sides = (size, size) if isinstance(size, int) else size
        numbers = {"frames": frames, "stride": stride, "every": every, "size": None if sides is None else min(sides)}
        for name, number in numbers.items():
            if number is not None and number < 1:
                raise AeframeError(f"modality 'video' requires {name} >= 1, found {number}")
        if fps is not None and not 0 < fps < math.inf:
            raise AeframeError(f"modality 'video' requires fps > 0, found {fps:g}")
        self.frames, self.random_start, self.on_error = frames, random_start, on_error
        self.sampling = ClipSampling(frames or _DEFAULT_FRAMES, stride, fps, every)
        self.fit = Fit(sides, fit, channels, padding)
        self._shape: Shape | None = None
        self._rate = _DEFAULT_RATE
        # The frame rate of the training videos; None for arrays and folders of frames.
        self._data_rate: float | None = None
        self._label_names: tuple[str, ...] | None = None

    # -- training ------------------------------------------------------------------------------------------------

    def spec(self, dataset: Dataset) -> DataSpec:
        description = dataset.describe()
        length = description.get("frames")
        if self.frames is None and length is not None:
            # All frames that remain after the stride.
            self.sampling = replace(self.sampling, frames=-(-length // self.sampling.stride))
        if self.sampling.fps is not None and length is not None:
            raise AeframeError(
                "modality 'video' with modality.fps requires video files, found arrays, which have no frame rate; set "
                "modality.stride instead"
            )
        channels, *sides = self.fit.shape(tuple(description["shape"]))
        self._shape = (channels, self.sampling.frames, *sides)
        self._data_rate = description.get("rate")
        self._rate = self.sampling.clip_rate(self._data_rate or _DEFAULT_RATE)
        return DataSpec(self._shape, Domain("unit"))

    def learn(self, dataset: Dataset, raw: RawSplits) -> None:
        """Determine the shape and the frame rate of clips, and the names of the class folders."""
        self.spec(dataset)  # Stores shape and rate.
        self._label_names = dataset.label_names

    def apply(self, raw: RawSplits) -> Splits:
        if self._shape is None:
            raise RuntimeError("modality video has no state yet; call prepare or load_state first")
        channels, _, *sides = self._shape
        reader = Reader(self.fit, (channels, *sides), self.sampling, self.on_error, self._data_rate)
        skipped: list[str] = []
        random_start = {split: self.random_start and split == "train" for split in SPLITS}
        videos = {
            split: reader.find_clips(files, skipped, random_start=random_start[split])
            for split, files in raw.items()
            if isinstance(files, Files)
        }
        # Decode into memory if the frames of all splits fit together.
        limit = min((files.max_memory_mb for files in raw.values() if isinstance(files, Files)), default=0)
        num_frames = sum(len(video.frames) for split in videos.values() for video in split)
        in_memory = num_frames * math.prod(reader.shape) <= limit * _MEGABYTE

        def source(split: str) -> Source:
            stack = raw[split]
            if isinstance(stack, VideoList):
                return reader.clips_of_list(stack, skipped, random_start=random_start[split])
            if isinstance(stack, (Stack, SharedStack)):
                who = "modality 'video': the array"
                reader.check_shape(who, self.fit.shape(tuple(stack.pixels.shape[2:])))
                return clips_of_stack(stack, self.fit, self.sampling, who, random_start=random_start[split])
            if in_memory:
                return reader.load(videos[split], skipped)
            return self._file_clips(videos[split], reader, skipped)

        train, validation, test = (source(split) for split in SPLITS)
        for note in reader.notes():
            self.notes.add(note)
        return Splits(train, validation, test, skipped)

    def _file_clips(self, videos: list[VideoClips], reader: Reader, skipped: list[str]) -> FileClips:
        # With on_error=skip everything is decoded once to find damaged frames, which takes as long as an epoch.
        return FileClips(reader.decodable_clips(videos, skipped) if self.on_error == "skip" else videos, reader)

    def state(self) -> dict[str, Any]:
        if self._shape is None:
            return {}
        state: dict[str, Any] = {"shape": list(self._shape), "rate": self._rate}
        if self._data_rate is not None:
            state["data_rate"] = self._data_rate
        return state if self._label_names is None else {**state, "label_names": list(self._label_names)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        if "shape" in state:
            self._shape, self._rate = tuple(state["shape"]), float(state["rate"])
            self.sampling = replace(self.sampling, frames=self._shape[1])
            self._data_rate = state.get("data_rate")
        self._label_names = tuple(state["label_names"]) if "label_names" in state else None

    # -- samples in memory ---------------------------------------------------------------------------------------

    def prepare_samples(self, x: Any) -> Batch:
        if self._shape is None:
            raise RuntimeError("modality video has no state yet; call prepare or load_state first")
        raw = raw_videos(x)
        if isinstance(raw, SharedStack):
            source: Source = clips_of_stack(raw, self._fit_of_training(raw.shape[1:]), self.sampling, "x")
        else:
            fit = self._fit_of_training(tuple(raw.videos[0].shape[1:]))
            reader = Reader(fit, (self._shape[0], *self._shape[2:]), self.sampling)
            source = reader.clips_of_list(raw, [])
        return self._check_clips(source.batch(torch.arange(len(source))), "x")

    def restore_samples(self, x: Tensor) -> NDArray[np.uint8]:
        """Return clips as a uint8 array ``(N, T, H, W)`` if they are greyscale, otherwise ``(N, T, H, W, 3)``.

        Values outside [0, 1] are clipped.
        """
        clips: NDArray[np.uint8] = as_bytes(x).permute(0, 1, 3, 4, 2).numpy()
        return clips[..., 0] if clips.shape[-1] == 1 else clips

    # -- files and plots -----------------------------------------------------------------------------------------

    def locate_errors(self, errors: Tensor, batch: Batch) -> list[str]:
        """Return the frame (from 0) with the largest mean error, and the row and column of its largest error."""
        found = []
        for clip in errors.mean(1):
            frame = int(clip.flatten(1).mean(1).argmax())
            row, column = divmod(int(clip[frame].argmax()), clip.shape[2])
            found.append(f"frame {frame}, row {row}, column {column}")
        return found

    def render(self, panels: Mapping[str, Tensor]) -> Figure:
        """Return film strips: some clips of each panel, one per row."""
        from aeframe_video.render import plot_film_strips

        return plot_film_strips({title: as_bytes(x) for title, x in panels.items()})

    def show(self, x: Tensor) -> list[list[Medium]]:
        """Return each clip as an animated GIF and as MP4, at the rate of the training data; masked values are black."""
        return [
            [Medium("image/gif", gif(clip, self._rate)), Medium("video/mp4", mp4(clip, self._rate))]
            for clip in as_bytes(x)
        ]

    def open(self, path: Path, on_error: OnError) -> FileSamples:
        """Open the clips of a file or folder, in their order.

        It is a video, a folder of the frames of one video, a folder of such videos and folders, or a NPZ or NPY file.

        Clips are sampled and resized with the options of training, and decoded by batch. Videos of another frame rate
        than that of training are sampled at the latter. `Batch.index` is the number of the clip; a skipped video counts
        as one clip, and the clips after a damaged frame are counted. ``extras["label"]`` is the label in a NPZ file, or
        the index of the class folder of the video in the class folders of training, -1 for another one.

        With ``on_error="skip"`` each video is decoded once at the beginning, to find damaged ones.

        Raises:
            AeframeError: A video that cannot be decoded or is too short; a video of another shape, whatever `on_error`
                is; no video that can be used.
        """
        if path.suffix.lower() in (".npz", ".npy"):
            return FileSamples(self._clips_of_arrays(path))
        paths = find_videos(path)
        if not paths:
            raise AeframeError(f"modality 'video' found no videos in '{path}'; choose a folder that contains some")
        if path.is_dir() and paths != [path] and (note := passed_over(path, EXTENSIONS | FRAME_EXTENSIONS, "video")):
            self.notes.add(note)
        message = f"modality 'video' found no video that can be decoded in '{path}'"
        info = read_info(path) if paths == [path] else first_opened(paths, read_info, sentence=message)
        fit = self._fit_of_training(info.shape)
        expected = fit.shape(info.shape) if self._shape is None else (self._shape[0], *self._shape[2:])
        rate = info.rate if self._shape is None else self._data_rate
        reader = Reader(fit, expected, self.sampling, on_error, rate, resample=self._shape is not None)
        skipped: list[str] = []
        # Each video from begin to end.
        files = Files(parts_of(paths, path), read_labels(path, paths, self._label_names))
        videos = reader.find_clips(files, skipped)
        if on_error == "skip":
            videos = reader.decodable_clips(videos, skipped)
        for note in reader.notes():
            self.notes.add(note)
        return FileSamples(FileClips(videos, reader, numbered=True), skipped)

    def _clips_of_arrays(self, path: Path) -> Source:
        stacks = ArrayFile(path, who="modality 'video'").stacks()
        # The splits of a file are concatenated in the order of `SPLITS`.
        present = [stacks[split] for split in SPLITS if split in stacks]
        labels = [stack.labels for stack in present if stack.labels is not None]
        pixels = present[0].pixels if len(present) == 1 else torch.cat([stack.pixels for stack in present])
        stack = Stack(pixels, torch.cat(labels) if len(labels) == len(present) else None)
        fit = self._fit_of_training(tuple(pixels.shape[2:]))
        source = clips_of_stack(stack, fit, self.sampling, f"modality 'video': '{path}'")
        self._check_clips(source.batch(torch.arange(1)), f"'{path}'")
        return source

    def _check_clips(self, batch: Batch, who: str) -> Batch:
        """Return clips if they have the shape of training; `who` names the data in error messages."""
        if self._shape is not None and tuple(batch.x.shape[1:]) != self._shape:
            raise AeframeError(
                f"modality 'video': {who} has clips of {format_shape(tuple(batch.x.shape[1:]))} (channels x frames "
                f"x height x width), expected {format_shape(self._shape)}; convert them to that shape"
            )
        return batch

    def _fit_of_training(self, shape: Shape) -> Fit:
        """Return the conversion of frames ``(C, H, W)``; colour becomes greyscale if training data were greyscale."""
        channels = self.fit.channels
        if channels is None and self._shape is not None and (self._shape[0], shape[0]) == (1, 3):
            channels = 1
        return replace(self.fit, channels=channels)

    def write_batches(self, samples: SampleBatches, path: Path) -> list[Path]:
        """Write clips ``(N, C, T, H, W)`` with 8 bits, at the rate of the training data.

        ``.mp4`` and ``.gif`` files contain all clips one after another, as `read` expects them. ``.npz`` contains the
        uint8 array ``x``, ``(N, T, H, W)`` or ``(N, T, H, W, 3)``; ``.png`` contains film strips, for which all clips
        are held in memory. Any other path is a folder with one file per clip, ``000000.mp4`` and so on. With the names
        of videos it has one file per video, with its clips one after another.

        Raises:
            AeframeError: Another suffix of a video or an image.
        """
        return write_clips(SampleBatches(map(as_bytes, samples), len(samples), samples.names), path, self._rate)


def as_bytes(x: Tensor) -> Tensor:
    """Return clips ``(N, C, T, H, W)``, clipped to [0, 1], as uint8 frames ``(N, T, C, H, W)``; NaN is 0."""
    return (x.detach().float().cpu().nan_to_num(0.0).clamp(0, 1) * 255).round().to(torch.uint8).transpose(1, 2)
