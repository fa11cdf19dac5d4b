"""Cut videos into clips: all of them in memory, or decoded batch by batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.batch import Batch, Shape
from aeframe.errors import AeframeError
from aeframe_image.fit import Fit
from aeframe_video.clips import Files, Part, Stack, shown
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


class MemoryClips:
    """Clips whose frames stand in memory as bytes, each frame once however many clips share it.

    Args:
        frames: ``(F, C, H, W)`` uint8.
        rows: ``(N, T)``: which frames make each clip.
        labels: ``(N,)``.
    """

    in_memory = True

    def __init__(self, frames: Tensor, rows: Tensor, labels: Tensor | None) -> None:
        self._frames, self._rows, self._labels = frames, rows, labels

    def __len__(self) -> int:
        return len(self._rows)

    def batch(self, index: Tensor) -> Batch:
        """Return the clips `index` ``(B,)`` as floats in [0, 1]."""
        rows = self._rows.index_select(0, index)
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
        self._labels = _labels(cuts)

    def __len__(self) -> int:
        return len(self._cut)

    def batch(self, index: Tensor) -> Batch:
        """Decode the clips `index` ``(B,)``, to floats in [0, 1]."""
        return _batch(torch.stack([self._clip(clip) for clip in index.tolist()]), index, self._labels)

    def _clip(self, clip: int) -> Tensor:
        cut = self._cuts[self._cut[clip]]
        numbers, place = np.unique(cut.rows[clip - self._first[self._cut[clip]]], return_inverse=True)
        frames, broken = read_frames(cut.track, numbers)
        if broken is not None:
            raise AeframeError(broken)
        return self._reader.fitted(cut.track, frames)[torch.from_numpy(place)]


def stacked(stack: Stack, fit: Fit, sampling: Sampling, who: str) -> MemoryClips:
    """Cut videos that are in memory already."""
    num, length = stack.pixels.shape[:2]
    within = sampling.rows(0, length, None)
    if not len(within):
        raise AeframeError(f"{who} has videos of {length} frames, {_needs(sampling, None)}; lower modality.frames")
    rows = torch.from_numpy((np.arange(num)[:, None, None] * length + within).reshape(-1, within.shape[1]))
    labels = None if stack.labels is None else stack.labels.repeat_interleave(len(within))
    return MemoryClips(fit(stack.pixels.flatten(0, 1)), rows, labels)


@dataclass(frozen=True, slots=True)
class Reader:
    """Decode videos to clips of one size and colour."""

    fit: Fit
    shape: Shape
    """``(C, H, W)`` of every frame."""
    sampling: Sampling
    on_error: OnError = "raise"

    def cuts(self, files: Files, skipped: list[str]) -> list[Cut]:
        """Look at each video, and say which of its frames make clips.

        Args:
            files: Those to look at.
            skipped: Gets a sentence for each that is left out because `on_error` is ``skip``.

        Raises:
            AeframeError: A video that cannot be opened, is too short for a clip, or has another shape; or none is left.
        """
        found: list[Cut] = []
        labels: list[int | None] = [None] * len(files) if files.labels is None else files.labels.tolist()
        before = len(skipped)
        for part, label in zip(files.parts, labels, strict=True):
            try:
                track = find_track(part.path)
                cut = Cut(track, self._rows(track, part), label)
            except AeframeError as error:
                self._left_out(str(error), skipped)
                continue
            self._check_shape(track, self.fit.shape(track.shape))
            found.append(cut)
        if not found:
            raise AeframeError(f"none of {len(files)} videos can be used; the first: {skipped[before]}")
        return found

    def load(self, cuts: list[Cut], skipped: list[str]) -> MemoryClips:
        """Decode all clips into memory; those that a damaged video breaks off before are left out, or raised."""
        kept, frames = self._decoded(cuts, skipped, keep=True)
        rows, start = [], 0
        for cut, own in zip(kept, frames, strict=True):
            numbers = np.unique(cut.rows)
            rows.append(np.searchsorted(numbers, cut.rows) + start)
            start += len(own)
        return MemoryClips(torch.cat(frames), torch.from_numpy(np.concatenate(rows)), _labels(kept))

    def checked(self, cuts: list[Cut], skipped: list[str]) -> list[Cut]:
        """Decode everything once, and return the clips that can be read."""
        return self._decoded(cuts, skipped, keep=False)[0]

    def _decoded(self, cuts: list[Cut], skipped: list[str], *, keep: bool) -> tuple[list[Cut], list[Tensor]]:
        kept: list[Cut] = []
        pixels: list[Tensor] = []
        for cut in cuts:
            numbers = np.unique(cut.rows)
            frames, broken = read_frames(cut.track, numbers)
            if broken is not None:
                self._left_out(broken, skipped)
                # Clips that are whole before the damage are as good as any.
                whole = cut.rows.max(1) < numbers[len(frames)]
                cut = Cut(cut.track, cut.rows[whole], cut.label)
                if not whole.any():
                    continue
                frames = frames[: len(np.unique(cut.rows))]
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
                    f"video '{track.path}' has frames of {shown(tuple(frames[0].shape))} and, {number} later, of "
                    f"{shown(tuple(frame.shape))} (channels x height x width); bring them to one size"
                )
        fitted = self.fit(torch.stack(frames))
        self._check_shape(track, tuple(fitted.shape[1:]))
        return fitted

    def _rows(self, track: Track, part: Part) -> NDArray[np.int64]:
        first, last = (round(share * track.num_frames) for share in (part.begin, part.end))
        try:
            rows = self.sampling.rows(first, last, track.rate)
        except AeframeError as error:
            raise AeframeError(f"video '{track.path}': {error}") from error
        if not len(rows):
            within = "" if (first, last) == (0, track.num_frames) else f" in the stretch from {first} to {last}"
            raise AeframeError(
                f"video '{track.path}' has {last - first} frames{within}, {_needs(self.sampling, track.rate)}; lower "
                "modality.frames, or leave such videos out with modality.on_error=skip"
            )
        return rows

    def _left_out(self, sentence: str, skipped: list[str]) -> None:
        if self.on_error == "raise":
            raise AeframeError(sentence)
        skipped.append(sentence)

    def _check_shape(self, track: Track, shape: Shape) -> None:
        if shape == self.shape:
            return
        options = []
        if shape[0] != self.shape[0]:
            options.append(f"modality.channels={self.shape[0]}")
        if shape[1:] != self.shape[1:]:
            options.append(f"modality.size=[{self.shape[1]},{self.shape[2]}]")
        raise AeframeError(
            f"video '{track.path}' is {shown(shape)} (channels x height x width) where {shown(self.shape)} is expected;"
            f" bring all videos to one shape with {' '.join(options)}"
        )


def _needs(sampling: Sampling, rate: float | None) -> str:
    needed = int(sampling.offsets(rate)[-2]) + 1
    return f"and a clip of {sampling.frames} needs {needed}"


def _batch(frames: Tensor, index: Tensor, labels: Tensor | None) -> Batch:
    """Return uint8 frames ``(B, T, C, H, W)`` as a batch of clips ``(B, C, T, H, W)``."""
    x = frames.transpose(1, 2).to(torch.float32, memory_format=torch.contiguous_format).div_(255)
    return Batch(x, index=index, extras={} if labels is None else {"label": labels.index_select(0, index)})


def _labels(cuts: list[Cut]) -> Tensor | None:
    if any(cut.label is None for cut in cuts):
        return None
    return torch.cat([torch.full((len(cut.rows),), int(cut.label or 0)) for cut in cuts])
