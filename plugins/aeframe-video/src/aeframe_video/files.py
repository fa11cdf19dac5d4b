"""Cut videos into clips: all of them in memory, or decoded batch by batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.data.random_offsets import random_offsets
from aeframe.errors import AeframeError
from aeframe.types import Batch, Shape
from aeframe_image.fit import Fit
from aeframe_image.pictures import Stack, format_shape
from aeframe_video.clips import Files, Part
from aeframe_video.decode import Track, find_track, read_frames
from aeframe_video.sampling import Sampling

OnError = Literal["raise", "skip"]


@dataclass(slots=True)
class Cut:
    """The clips of one stretch of a video."""

    track: Track
    rows: NDArray[np.int64]
    """``(N, T)``: which of its frames."""
    label: int | None = None
    free: int = 1
    """At how many places each clip may begin, from that of `rows` on: a new one is drawn each time it is seen."""

    @property
    def numbers(self) -> NDArray[np.int64]:
        """The frames that clips may have, none twice, ascending."""
        return np.unique(self.rows) if self.free == 1 else np.arange(self.rows.min(), self.rows.max() + self.free)


class MemoryClips:
    """Clips whose frames stand in memory as bytes, each frame once however many clips share it.

    Args:
        frames: ``(F, C, H, W)`` uint8.
        rows: ``(N, T)``: which frames make each clip.
        labels: ``(N,)``.
        free: ``(N,)`` at how many places each may begin, from that of `rows` on; None where all are fixed.
    """

    in_memory = True

    def __init__(self, frames: Tensor, rows: Tensor, labels: Tensor | None, free: Tensor | None = None) -> None:
        self._frames, self._rows, self._labels, self._free = frames, rows, labels, free

    def __len__(self) -> int:
        return len(self._rows)

    def batch(self, index: Tensor) -> Batch:
        """Return the clips `index` ``(B,)`` as floats in [0, 1]."""
        rows = self._rows.index_select(0, index)
        if self._free is not None:
            rows = rows + random_offsets(self._free[index]).unsqueeze(1)
        frames = self._frames.index_select(0, rows.flatten()).unflatten(0, tuple(rows.shape))
        return _batch(frames, index, self._labels)


class FileClips:
    """Clips that are decoded when their batch is asked for: for videos that do not fit in memory."""

    in_memory = False

    def __init__(self, cuts: list[Cut], reader: Reader) -> None:
        self._cuts, self._reader = cuts, reader
        counts = [len(cut.rows) for cut in cuts]
        self._cut = np.repeat(np.arange(len(cuts)), counts)
        self._first = np.cumsum([0, *counts])
        self._labels, self._free = _labels(cuts), _free(cuts)

    def __len__(self) -> int:
        return len(self._cut)

    def batch(self, index: Tensor) -> Batch:
        """Decode the clips `index` ``(B,)``, to floats in [0, 1]."""
        begin = torch.zeros_like(index) if self._free is None else random_offsets(self._free[index])
        clips = [self._clip(clip, place) for clip, place in zip(index.tolist(), begin.tolist(), strict=True)]
        return _batch(torch.stack(clips), index, self._labels)

    def _clip(self, clip: int, begin: int) -> Tensor:
        cut = self._cuts[self._cut[clip]]
        rows = cut.rows[clip - self._first[self._cut[clip]]] + begin
        numbers, place = np.unique(rows, return_inverse=True)
        frames, broken = read_frames(cut.track, numbers)
        if broken is not None:
            raise AeframeError(broken)
        return self._reader.fitted(cut.track, frames)[torch.from_numpy(place)]


def stacked(stack: Stack, fit: Fit, sampling: Sampling, who: str, *, random: bool = False) -> MemoryClips:
    """Cut videos that are in memory already; with `random` clips begin anywhere."""
    num, length = stack.pixels.shape[:2]
    within, free = sampling.loose(0, length, None) if random else (sampling.rows(0, length, None), 1)
    if not len(within):
        raise AeframeError(f"{who} has videos of {length} frames, {_needs(sampling, None)}; lower modality.frames")
    rows = torch.from_numpy((np.arange(num)[:, None, None] * length + within).reshape(-1, within.shape[1]))
    labels = None if stack.labels is None else stack.labels.repeat_interleave(len(within))
    places = None if free == 1 else torch.full((len(rows),), free)
    return MemoryClips(fit(stack.pixels.flatten(0, 1)), rows, labels, places)


@dataclass(frozen=True, slots=True)
class Reader:
    """Decode videos to clips of one size and colour."""

    fit: Fit
    shape: Shape
    """``(C, H, W)`` of every frame."""
    sampling: Sampling
    on_error: OnError = "raise"

    def cuts(self, files: Files, skipped: list[str], *, random: bool = False) -> list[Cut]:
        """Look at each video, and say which of its frames make clips.

        Args:
            files: Those to look at.
            skipped: Gets a sentence for each that is left out because `on_error` is ``skip``.
            random: Let clips begin anywhere in their video.

        Raises:
            AeframeError: A video that cannot be opened, is too short for a clip, or has another shape; or none is left.
        """
        found: list[Cut] = []
        labels: list[int | None] = [None] * len(files) if files.labels is None else files.labels.tolist()
        before = len(skipped)
        for part, label in zip(files.parts, labels, strict=True):
            try:
                track = find_track(part.path)
                cut = self._cut(track, part, label, random=random)
            except AeframeError as error:
                self._left_out(str(error), skipped)
                continue
            self.check_shape(f"video '{track.path}'", self.fit.shape(track.shape))
            found.append(cut)
        if not found:
            raise AeframeError(f"none of {len(files)} videos can be used; the first: {skipped[before]}")
        return found

    def load(self, cuts: list[Cut], skipped: list[str]) -> MemoryClips:
        """Decode all clips into memory; those that a damaged video breaks off before are left out, or raised."""
        kept, frames = self._decoded(cuts, skipped, keep=True)
        rows, start = [], 0
        for cut, own in zip(kept, frames, strict=True):
            numbers = cut.numbers
            rows.append(np.searchsorted(numbers, cut.rows) + start)
            start += len(own)
        return MemoryClips(torch.cat(frames), torch.from_numpy(np.concatenate(rows)), _labels(kept), _free(kept))

    def checked(self, cuts: list[Cut], skipped: list[str]) -> list[Cut]:
        """Decode everything once, and return the clips that can be read."""
        return self._decoded(cuts, skipped, keep=False)[0]

    def _decoded(self, cuts: list[Cut], skipped: list[str], *, keep: bool) -> tuple[list[Cut], list[Tensor]]:
        kept: list[Cut] = []
        pixels: list[Tensor] = []
        for cut in cuts:
            numbers = cut.numbers
            frames, broken = read_frames(cut.track, numbers)
            if broken is not None:
                self._left_out(broken, skipped)
                # Clips that are whole before the damage are as good as any.
                stretch = int(cut.rows[0, 0]), int(numbers[len(frames)])
                cut = self._within(cut.track, *stretch, cut.label, random=cut.free > 1)
                if not len(cut.rows):
                    continue
                frames = frames[: len(cut.numbers)]
            kept.append(cut)
            if keep:
                pixels.append(self.fitted(cut.track, frames))
        if not kept:
            raise AeframeError(f"none of {len(cuts)} videos can be used; the first: {skipped[-len(cuts)]}")
        return kept, pixels

    def fitted(self, track: Track, frames: list[Tensor]) -> Tensor:
        """Bring frames ``(C, H, W)`` of one video to the one shape: ``(N, C, H, W)``."""
        for number, frame in enumerate(frames):
            if frame.shape != frames[0].shape:
                raise AeframeError(
                    f"video '{track.path}' has frames of {format_shape(tuple(frames[0].shape))} and, {number} later, "
                    f"of {format_shape(tuple(frame.shape))} (channels x height x width); bring them to one size"
                )
        fitted = self.fit(torch.stack(frames))
        self.check_shape(f"video '{track.path}'", tuple(fitted.shape[1:]))
        return fitted

    def _within(self, track: Track, first: int, last: int, label: int | None, *, random: bool) -> Cut:
        stretch = first, last, track.rate
        rows, free = self.sampling.loose(*stretch) if random else (self.sampling.rows(*stretch), 1)
        return Cut(track, rows, label, free)

    def _cut(self, track: Track, part: Part, label: int | None, *, random: bool) -> Cut:
        first, last = (round(share * track.num_frames) for share in (part.begin, part.end))
        try:
            cut = self._within(track, first, last, label, random=random)
        except AeframeError as error:
            raise AeframeError(f"video '{track.path}': {error}") from error
        if not len(cut.rows):
            within = "" if (first, last) == (0, track.num_frames) else f" in the stretch from {first} to {last}"
            raise AeframeError(
                f"video '{track.path}' has {last - first} frames{within}, {_needs(self.sampling, track.rate)}; lower "
                "modality.frames, or leave such videos out of training with modality.on_error=skip"
            )
        return cut

    def _left_out(self, sentence: str, skipped: list[str]) -> None:
        if self.on_error == "raise":
            raise AeframeError(sentence)
        skipped.append(sentence)

    def check_shape(self, who: str, shape: Shape) -> None:
        """Refuse frames of another shape than those of all videos.

        Args:
            who: The video, for messages.
            shape: ``(C, H, W)`` of its frames, once they are fitted.
        """
        if shape == self.shape:
            return
        options = []
        if shape[0] != self.shape[0]:
            options.append(f"modality.channels={self.shape[0]}")
        if shape[1:] != self.shape[1:]:
            options.append(f"modality.size=[{self.shape[1]},{self.shape[2]}]")
        raise AeframeError(
            f"{who} is {format_shape(shape)} (channels x height x width) where {format_shape(self.shape)} is expected;"
            f" bring all videos to one shape with {' '.join(options)}"
        )


def _needs(sampling: Sampling, rate: float | None) -> str:
    needed = int(sampling.offsets(rate)[-2]) + 1
    return f"and a clip of {sampling.frames} needs {needed}"


def _batch(frames: Tensor, index: Tensor, labels: Tensor | None) -> Batch:
    """Return uint8 frames ``(B, T, C, H, W)`` as a batch of clips ``(B, C, T, H, W)``."""
    x = frames.transpose(1, 2).to(torch.float32, memory_format=torch.contiguous_format).div_(255)
    return Batch(x, index=index, extras={} if labels is None else {"label": labels.index_select(0, index)})


def _free(cuts: list[Cut]) -> Tensor | None:
    if all(cut.free == 1 for cut in cuts):
        return None
    return torch.cat([torch.full((len(cut.rows),), cut.free) for cut in cuts])


def _labels(cuts: list[Cut]) -> Tensor | None:
    if any(cut.label is None for cut in cuts):
        return None
    return torch.cat([torch.full((len(cut.rows),), int(cut.label or 0)) for cut in cuts])
