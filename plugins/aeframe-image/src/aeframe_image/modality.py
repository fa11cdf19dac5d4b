"""The modality `image`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor

from aeframe.data import Dataset, Modality, Source, Splits, TensorSource
from aeframe.data.random_split import SPLITS
from aeframe.errors import AeframeError
from aeframe.types import Batch, DataSpec, Domain, Shape
from aeframe_image.arrays import ArrayFile
from aeframe_image.augment import Augment
from aeframe_image.decode import decode
from aeframe_image.files import FileSource, OnError, Reader
from aeframe_image.fit import Fit, How
from aeframe_image.folder import images_below
from aeframe_image.pictures import Files, Place, RawSplits, Stack, shown
from aeframe_image.values import ImageDomain, Values
from aeframe_image.write import write_images

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MEGABYTE = 2**20


class Image(Modality):
    """Pictures ``(C, H, W)`` with one channel (grey) or three (red, green, blue), kept as bytes and scaled by batch.

    Args:
        domain: ``unit`` [0, 1], ``signed`` [-1, 1], or ``binary`` {0, 1}.
        binarize: With ``domain=binary``: ``threshold`` (the default there) at half brightness, or ``sample``: each
            pixel is drawn with its brightness as the probability, anew at each sight of a training image and once and
            for all for the others (Salakhutdinov & Murray 2008, ICML).
        size: Height and width, or one number for both; null keeps the size of the data.
        fit: How an image comes to that size: ``crop`` takes the largest centred part of the right aspect, ``resize``
            squeezes the whole, ``pad`` lays the whole on a field of brightness `padding`.
        padding: With ``fit=pad``: from 0 (black) to 1. What is added counts as any pixel does.
        channels: 1 turns colour into grey, 3 repeats grey; null keeps what the data have.
        random_crop: A training image is seen through a window of its size, moved by up to so many pixels each way and
            drawn anew each time; what lies beyond the image mirrors it.
        flip: Left and right of a training image change places with a chance of one half.
        on_error: Files that cannot be decoded: ``raise``, or ``skip`` and list them.
    """

    defaults: ClassVar[Mapping[str, str]] = {"encoder": "conv", "loss": "bernoulli"}
    metrics: ClassVar[tuple[str, ...]] = (*Modality.metrics, "psnr", "ssim", "bits_per_dimension")
    dataset: ClassVar[str | None] = "digits"

    def __init__(
        self,
        *,
        domain: ImageDomain = "unit",
        binarize: Literal["threshold", "sample"] | None = None,
        size: int | tuple[int, int] | None = None,
        fit: How = "crop",
        padding: float = 0.0,
        channels: Literal[1, 3] | None = None,
        random_crop: int = 0,
        flip: bool = False,
        on_error: OnError = "raise",
    ) -> None:
        if binarize is not None and domain != "binary":
            raise AeframeError(
                f"modality 'image' has binarize={binarize} but domain={domain}; set modality.domain=binary, or leave "
                "binarize out"
            )
        sides = (size, size) if isinstance(size, int) else size
        if sides is not None and min(sides) < 1:
            raise AeframeError(f"modality 'image' needs size >= 1, found {size}")
        self.domain = Domain.parse(domain)
        self.values = Values(domain, sample=binarize == "sample")
        self.fit = Fit(sides, fit, channels, padding)
        self.augment = Augment(random_crop, flip)
        self.on_error: OnError = on_error
        self._shape: Shape | None = None

    def spec(self, dataset: Dataset) -> DataSpec:
        self._shape = self.fit.shape(tuple(dataset.describe()["shape"]))
        self.augment.check(self._shape)
        return DataSpec(self._shape, self.domain)

    def learn(self, dataset: Dataset, raw: RawSplits) -> None:
        self.spec(dataset)

    def apply(self, raw: RawSplits) -> Splits:
        reader = Reader(self.fit, self._learned())
        files = [split for split in raw.values() if isinstance(split, Files)]
        needed = sum(len(split) for split in files) * torch.Size(reader.shape).numel()
        in_memory = not files or needed <= min(split.max_memory_mb for split in files) * _MEGABYTE
        skipped: list[str] = []
        train, validation, test = (
            self._source(
                raw[split],
                reader,
                self._training if split == "train" else self.values.evaluation,
                in_memory=in_memory,
                skipped=skipped,
            )
            for split in SPLITS
        )
        return Splits(train, validation, test, skipped)

    def _training(self, batch: Batch) -> Batch:
        """Make a batch to train on of stored pixels."""
        return self.values.training(batch.with_x(self.augment(batch.x)))

    def _source(
        self,
        raw: Stack | Files,
        reader: Reader,
        transform: Callable[[Batch], Batch],
        *,
        in_memory: bool,
        skipped: list[str],
    ) -> Source:
        if isinstance(raw, Files):
            if not in_memory and self.on_error == "raise":
                # Looking at each file first would cost an epoch; one that is broken stops the run when it is met.
                return FileSource(raw, reader, transform)
            kept, stack, sentences = reader.select(raw, on_error=self.on_error, keep=in_memory)
            skipped.extend(sentences)
            if not in_memory:
                return FileSource(kept, reader, transform)
        else:
            stack = Stack(self.fit(raw.pixels), raw.labels)
            self._check_shape(stack.pixels, "the data")
        extras = {} if stack.labels is None else {"label": stack.labels}
        return TensorSource(stack.pixels, extras=extras, transform=transform)

    def render(self, panels: Mapping[str, Tensor]) -> Figure:
        """Return a picture: one titled row of at most 12 images for each panel, a grid for a single one."""
        from aeframe_image.render import draw

        return draw({title: self.values.pixels(x) for title, x in panels.items()})

    def read(self, path: Path) -> Batch:
        """Read an image file, a folder of them, or a NPZ or NPY file.

        They are fitted by the options that training had, and must come to its shape.
        """
        if path.suffix.lower() in (".npz", ".npy"):
            pixels = self._read_arrays(path)
        else:
            paths: list[Place] = [*images_below(path)] if path.is_dir() else [path]
            if not paths:
                raise AeframeError(f"modality 'image' found no images in '{path}'; give a folder with some")
            first = decode(paths[0])
            reader = Reader(self.fit, self._shape or self.fit.shape(tuple(first.shape)))
            pixels = torch.stack([reader.fitted(paths[0], first), *(reader(each) for each in paths[1:])])
        return self.values.evaluation(Batch(pixels, index=torch.arange(len(pixels))))

    def read_whole(self, path: Path) -> Tensor:
        """Read one image file at its own size, ``(C, H, W)``, in the values that training had.

        Raises:
            AeframeError: A file that cannot be decoded, or other channels than training had.
        """
        pixels = Fit(channels=self.fit.channels)(decode(path).unsqueeze(0))
        if self._shape is not None and pixels.shape[1] != self._shape[0]:
            raise AeframeError(
                f"image '{path}' has {pixels.shape[1]} channel{'s' * (pixels.shape[1] > 1)} where {self._shape[0]} "
                f"{'is' if self._shape[0] == 1 else 'are'} expected; convert it"
            )
        return self.values.evaluation(Batch(pixels, index=torch.arange(1))).x[0]

    def _read_arrays(self, path: Path) -> Tensor:
        stacks = ArrayFile(path, who="modality 'image'").stacks()
        # A file with splits is read in their order, so that rows can be found again.
        pixels = self.fit(torch.cat([stacks[split].pixels for split in SPLITS if split in stacks]))
        self._check_shape(pixels, f"'{path}'")
        return pixels

    def _check_shape(self, pixels: Tensor, where: str) -> None:
        if self._shape is not None and tuple(pixels.shape[1:]) != self._shape:
            raise AeframeError(
                f"modality 'image': {where} has images of {shown(tuple(pixels.shape[1:]))} (channels x height x width)"
                f" where {shown(self._shape)} is expected; bring them to that shape"
            )

    def _learned(self) -> Shape:
        if self._shape is None:
            raise RuntimeError("modality image has learned nothing yet; call prepare or load_state first")
        return self._shape

    def write(self, x: Tensor, path: Path) -> list[Path]:
        """Write images ``(N, C, H, W)`` with 8 bits: a folder of PNG files, one PNG file, or a NPZ.

        A path that ends in ``.png`` takes a single image, one that ends in ``.npz`` gets the array ``x``, ``(N, H, W)``
        or ``(N, H, W, 3)`` of uint8, and any other is a folder, which gets ``000000.png`` and so on.

        Raises:
            AeframeError: A file that exists, or several images for one PNG.
        """
        return write_images(self.values.pixels(x), path)

    def state(self) -> dict[str, Any]:
        return {} if self._shape is None else {"shape": list(self._shape)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._shape = tuple(state["shape"]) if "shape" in state else None
