"""The modality `video`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor

from aeframe.data import Dataset, Modality, Source, Splits
from aeframe.data.random_split import SPLITS
from aeframe.errors import AeframeError
from aeframe.types import Batch, DataSpec, Domain, Shape
from aeframe_image.fit import Fit, FitMode
from aeframe_image.pictures import Stack, format_shape
from aeframe_video.arrays import ArrayFile
from aeframe_video.clips import Files, Part, RawSplits
from aeframe_video.decode import find_track
from aeframe_video.files import Cut, FileClips, OnError, Reader, stacked
from aeframe_video.folder import videos_below
from aeframe_video.sampling import Sampling
from aeframe_video.write import write_clips

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MEGABYTE = 2**20
_FRAMES = 16
"""Frames of a clip where neither the data nor the user say."""
_RATE = 10.0
"""Frames per second of clips that do not say."""


class Video(Modality):
    """Clips ``(C, T, H, W)`` with one channel (grey) or three, kept as bytes and scaled to [0, 1] by batch.

    Args:
        frames: Of a clip; null takes whole videos of an array, and 16 frames of files.
        stride: Each so many-th frame is taken.
        fps: Frames per second at which files are looked at, before the stride; null takes their own frames.
        every: Frames from the start of one clip to the start of the next; null lays them end to end, and what does not
            fill a clip is left over.
        random_start: In training as many clips of a video begin anywhere in it, each at a place that is drawn anew
            every time it is seen; those of validation and test stay where they are.
        size: Height and width, or one number for both; null keeps the size of the data.
        fit: How a frame comes to that size: ``crop`` takes the largest centred part of the right aspect, ``resize``
            squeezes the whole, ``pad`` lays the whole on a field of brightness `padding`.
        padding: With ``fit=pad``: from 0 (black) to 1. What is added counts as any pixel does.
        channels: 1 turns colour into grey, 3 repeats grey; null keeps what the data have.
        on_error: Videos that cannot be decoded or are too short: ``raise``, or ``skip`` and list them. Of a video that
            breaks off, the clips before the damage are kept.
    """

    defaults: ClassVar[Mapping[str, str]] = {"encoder": "video_conv", "loss": "bernoulli"}
    metrics: ClassVar[tuple[str, ...]] = (*Modality.metrics, "clip_psnr", "frame_psnr", "frame_mse", "flicker")
    dataset: ClassVar[str | None] = "moving_shapes"

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
                raise AeframeError(f"modality 'video' needs {name} >= 1, found {number}")
        if fps is not None and not 0 < fps < math.inf:
            raise AeframeError(f"modality 'video' needs fps > 0, found {fps:g}")
        self.frames, self.random_start, self.on_error = frames, random_start, on_error
        self.sampling = Sampling(frames or _FRAMES, stride, fps, every)
        self.fit = Fit(sides, fit, channels, padding)
        self._shape: Shape | None = None
        self._rate = _RATE

    # -- training ------------------------------------------------------------------------------------------------

    def spec(self, dataset: Dataset) -> DataSpec:
        found = dataset.describe()
        length = found.get("frames")
        if self.frames is None and length is not None:
            # As many as fit, of those that the stride leaves.
            self.sampling = replace(self.sampling, frames=-(-length // self.sampling.stride))
        if self.sampling.fps is not None and length is not None:
            raise AeframeError(
                "modality 'video' takes files at modality.fps, and these data are arrays, whose frames have no time; "
                "set modality.stride instead"
            )
        channels, *sides = self.fit.shape(tuple(found["shape"]))
        self._shape = (channels, self.sampling.frames, *sides)
        self._rate = self.sampling.rate(found.get("rate") or _RATE)
        return DataSpec(self._shape, Domain("unit"))

    def learn(self, dataset: Dataset, raw: RawSplits) -> None:
        self.spec(dataset)

    def apply(self, raw: RawSplits) -> Splits:
        if self._shape is None:
            raise RuntimeError("modality video has learned nothing yet; call prepare or load_state first")
        channels, _, *sides = self._shape
        reader = Reader(self.fit, (channels, *sides), self.sampling, self.on_error)
        skipped: list[str] = []
        random = {split: self.random_start and split == "train" for split in SPLITS}
        cuts = {
            split: reader.cuts(videos, skipped, random=random[split])
            for split, videos in raw.items()
            if isinstance(videos, Files)
        }
        limit = min((videos.max_memory_mb for videos in raw.values() if isinstance(videos, Files)), default=0)
        frames = sum(len(cut.numbers) for found in cuts.values() for cut in found)
        in_memory = frames * math.prod(reader.shape) <= limit * _MEGABYTE

        def source(split: str) -> Source:
            videos = raw[split]
            if isinstance(videos, Stack):
                who = "modality 'video': the array"
                reader.check_shape(who, self.fit.shape(tuple(videos.pixels.shape[2:])))
                return stacked(videos, self.fit, self.sampling, who, random=random[split])
            return reader.load(cuts[split], skipped) if in_memory else self._backed(cuts[split], reader, skipped)

        train, validation, test = (source(split) for split in SPLITS)
        return Splits(train, validation, test, skipped)

    def _backed(self, cuts: list[Cut], reader: Reader, skipped: list[str]) -> FileClips:
        # Looking at each frame first costs an epoch; without skip, what is broken stops the run when it is met.
        return FileClips(reader.checked(cuts, skipped) if self.on_error == "skip" else cuts, reader)

    def state(self) -> dict[str, Any]:
        return {} if self._shape is None else {"shape": list(self._shape), "rate": self._rate}

    def load_state(self, state: Mapping[str, Any]) -> None:
        if "shape" in state:
            self._shape, self._rate = tuple(state["shape"]), float(state["rate"])
            self.sampling = replace(self.sampling, frames=self._shape[1])

    # -- files and pictures --------------------------------------------------------------------------------------

    def render(self, panels: Mapping[str, Tensor]) -> Figure:
        """Return film strips: for each panel some of its clips, one a row, time from left to right."""
        from aeframe_video.render import draw

        return draw({title: as_bytes(x) for title, x in panels.items()})

    def read(self, path: Path) -> Batch:
        """Read the clips of a video, a folder of frames, a folder of either, or a NPZ or NPY file.

        They are cut and fitted by the options that training had, in the order of the file, and must come to its shape.

        Raises:
            AeframeError: What training would refuse, whatever `on_error` says.
        """
        if path.suffix.lower() in (".npz", ".npy"):
            stacks = ArrayFile(path, who="modality 'video'").stacks()
            # A file with splits is read in their order, so that rows can be found again.
            pixels = torch.cat([stacks[split].pixels for split in SPLITS if split in stacks])
            fit = self._known_fit(tuple(pixels.shape[2:]))
            source: Source = stacked(Stack(pixels), fit, self.sampling, f"modality 'video': '{path}'")
        else:
            paths = videos_below(path)
            if not paths:
                raise AeframeError(f"modality 'video' found no videos in '{path}'; give a folder with some")
            shape = find_track(paths[0]).shape
            fit = self._known_fit(shape)
            expected = fit.shape(shape) if self._shape is None else (self._shape[0], *self._shape[2:])
            reader = Reader(fit, expected, self.sampling)
            source = reader.load(reader.cuts(Files([Part(each) for each in paths]), []), [])
        batch = source.batch(torch.arange(len(source)))
        if self._shape is not None and tuple(batch.x.shape[1:]) != self._shape:
            raise AeframeError(
                f"modality 'video': '{path}' has clips of {format_shape(tuple(batch.x.shape[1:]))} (channels x frames "
                f"x height x width) where {format_shape(self._shape)} is expected; bring them to that shape"
            )
        return batch

    def _known_fit(self, shape: Shape) -> Fit:
        """Return how frames are fitted; what was grey in training is grey, however its file stores it."""
        channels = self.fit.channels
        if channels is None and self._shape is not None and (self._shape[0], shape[0]) == (1, 3):
            channels = 1
        return replace(self.fit, channels=channels)

    def write(self, x: Tensor, path: Path) -> list[Path]:
        """Write clips ``(N, C, T, H, W)`` with 8 bits, at the rate of the training data.

        A path that ends in ``.mp4`` or ``.gif`` gets all clips one after the other, as `read` takes them apart;
        ``.npz`` gets the array ``x``, ``(N, T, H, W)`` or ``(N, T, H, W, 3)`` of uint8; ``.png`` gets film strips, to
        be looked at; and any other is a folder, which gets ``000000.mp4`` and so on.

        Raises:
            AeframeError: Another suffix of a video or picture, or a file that exists.
        """
        return write_clips(as_bytes(x), path, self._rate)


def as_bytes(x: Tensor) -> Tensor:
    """Return clips ``(N, C, T, H, W)`` in [0, 1] as uint8 frames ``(N, T, C, H, W)``; what is outside is clipped."""
    return (x.detach().float().cpu().clamp(0, 1) * 255).round().to(torch.uint8).transpose(1, 2)
