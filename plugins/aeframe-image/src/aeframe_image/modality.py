"""The modality `image`: grey and colour images of one size."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.data import Dataset, FileSamples, Modality, OnError, Source, Splits, TensorSource
from aeframe.data.folders import read_labels
from aeframe.data.random_split import SPLITS
from aeframe.errors import AeframeError
from aeframe.types import Batch, DataSpec, Domain, Shape
from aeframe_image.arrays import ArrayFile
from aeframe_image.augment import Augment
from aeframe_image.decode import decode
from aeframe_image.files import FileSource, Reader, SharedSource, converted
from aeframe_image.fit import Fit, FitMode
from aeframe_image.folder import images_below
from aeframe_image.in_memory import raw_images
from aeframe_image.pictures import Files, ImageFile, RawSplits, SharedStack, Stack, format_shape
from aeframe_image.values import ImageDomain, Values
from aeframe_image.write import as_numpy, write_images

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MEGABYTE = 2**20
MAX_COPIED_BYTES = 2048 * _MEGABYTE
"""Up to this size, images of an array that must be resized are kept in memory after that."""


class Image(Modality):
    """Images ``(C, H, W)`` with one channel (grey) or three (RGB), stored as uint8 and converted by batch.

    Args:
        domain: ``unit`` [0, 1], ``signed`` [-1, 1], or ``binary`` {0, 1}.
        binarize: With ``domain=binary``: ``threshold`` at half brightness (the default), or ``sample`` each pixel with
            its brightness as the probability of 1 (Salakhutdinov & Murray 2008, ICML). Training images are sampled anew
            in each epoch, held-out images only once.
        size: Height and width, or one number for both; null keeps the size of the data.
        fit: How images get this size: ``crop`` scales the largest centred part with the right aspect ratio, ``resize``
            scales the full image and may distort it, ``pad`` scales the full image and pads it.
        padding: Brightness of the pixels that ``fit=pad`` adds, from 0 (black) to 1. The loss includes them.
        channels: 1 converts to grey, 3 to RGB; null keeps the channels of the data.
        random_crop: Pad training images by this many pixels on each side with their reflection, and crop a random
            window of the original size.
        flip: Mirror training images left to right with probability 1/2.
        on_error: Files that cannot be decoded: ``raise`` stops, ``skip`` leaves them out and lists them.

    Raises:
        AeframeError: Invalid options.
    """

    defaults: ClassVar[Mapping[str, str]] = {"encoder": "conv", "loss": "bernoulli"}
    metrics: ClassVar[tuple[str, ...]] = (*Modality.metrics, "psnr", "ssim", "bits_per_dimension")
    dataset: ClassVar[str | None] = "digits"
    in_memory: ClassVar[str | None] = "image_in_memory"

    def __init__(
        self,
        *,
        domain: ImageDomain = "unit",
        binarize: Literal["threshold", "sample"] | None = None,
        size: int | tuple[int, int] | None = None,
        fit: FitMode = "crop",
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
        self.fit = Fit(sides, how=fit, channels=channels, padding=padding)
        self.augment = Augment(crop=random_crop, flip=flip)
        self.on_error: OnError = on_error
        self._shape: Shape | None = None
        """``(C, H, W)`` of every image after conversion; None before the data are known."""
        self._label_names: tuple[str, ...] | None = None

    def spec(self, dataset: Dataset) -> DataSpec:
        self._shape = self.fit.shape(tuple(dataset.describe()["shape"]))
        self.augment.check(self._shape)
        return DataSpec(self._shape, self.domain)

    def learn(self, dataset: Dataset, raw: RawSplits) -> None:
        self.spec(dataset)
        self._label_names = dataset.label_names

    def apply(self, raw: RawSplits) -> Splits:
        reader = Reader(self.fit, self._known_shape())
        files = [split for split in raw.values() if isinstance(split, Files)]
        num_bytes = sum(len(split) for split in files) * torch.Size(reader.shape).numel()
        in_memory = not files or num_bytes <= min(split.max_memory_mb for split in files) * _MEGABYTE
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
        """Augment and convert a batch of stored pixels for training."""
        return self.values.training(batch.with_x(self.augment(batch.x)))

    def _source(
        self,
        raw: Stack | SharedStack | Files,
        reader: Reader,
        transform: Callable[[Batch], Batch],
        *,
        in_memory: bool,
        skipped: list[str],
    ) -> Source:
        if isinstance(raw, Files):
            if not in_memory and self.on_error == "raise":
                # Checking all files first would take an epoch; a broken file stops the run when its batch is decoded.
                return FileSource(raw, reader, transform)
            readable, stack, messages = reader.select(raw, on_error=self.on_error, keep=in_memory)
            skipped.extend(messages)
            if not in_memory:
                return FileSource(readable, reader, transform)
        elif isinstance(raw, SharedStack):
            shape = self.fit.shape(raw.shape)
            self._check_shape(shape, "x")
            value_bytes = 1 if raw.pixels.dtype == torch.uint8 else 4
            if shape == raw.shape or len(raw) * math.prod(shape) * value_bytes > MAX_COPIED_BYTES:
                return SharedSource(raw, self.fit, transform)
            stack = converted(raw, self.fit)
        else:
            stack = Stack(self.fit(raw.pixels), raw.labels)
            self._check_shape(tuple(stack.pixels.shape[1:]), "the data")
        extras = {} if stack.labels is None else {"label": stack.labels}
        return TensorSource(stack.pixels, extras=extras, transform=transform)

    def prepare_samples(self, x: Any) -> Batch:
        raw = raw_images(x)
        if isinstance(raw, Files):
            reader = Reader(self.fit, self._known_shape())
            pixels = torch.stack([reader(file) for file in raw.files])
        else:
            self._known_shape()
            self._check_shape(self.fit.shape(raw.shape), "x")
            pixels = converted(raw, self.fit).pixels
        return self.values.evaluation(Batch(pixels, index=torch.arange(len(pixels))))

    def restore_samples(self, x: Tensor) -> NDArray[np.uint8]:
        """Return images as a uint8 array ``(N, H, W)`` if they are grey, otherwise ``(N, H, W, 3)``.

        NumPy, matplotlib and ``PIL.Image.fromarray`` take them in this layout. Values outside the domain are clipped.
        """
        return as_numpy(self.values.pixels(x))

    def render(self, panels: Mapping[str, Tensor]) -> Figure:
        """Return a figure: one titled row of at most 12 images for each panel, or a grid for a single panel."""
        from aeframe_image.render import draw

        return draw({title: self.values.pixels(x) for title, x in panels.items()})

    def open(self, path: Path, on_error: OnError) -> FileSamples:
        """Read an image file, a folder of them, or a NPZ or NPY file.

        Images are converted with the options of training. ``extras["label"]`` is the label in an NPZ file, or the
        index of the class folder of an image in the class folders of training, -1 for another one.

        Raises:
            AeframeError: No images, a file that cannot be decoded, or images of another shape than in training.
        """
        labels: Tensor | None = None
        if path.suffix.lower() in (".npz", ".npy"):
            pixels, labels = self._read_arrays(path)
        else:
            files: list[ImageFile] = [*images_below(path)] if path.is_dir() else [path]
            if not files:
                raise AeframeError(f"modality 'image' found no images in '{path}'; choose a folder with images")
            first = decode(files[0])
            reader = Reader(self.fit, self._shape or self.fit.shape(tuple(first.shape)))
            pixels = torch.stack([reader.convert(files[0], first), *(reader(file) for file in files[1:])])
            labels = read_labels(path, images_below(path), self._label_names) if path.is_dir() else None
        extras = {} if labels is None else {"label": labels}
        return FileSamples(TensorSource(pixels, extras=extras, transform=self.values.evaluation))

    def read_full_size(self, path: Path) -> Tensor:
        """Read one image file at its full size, ``(C, H, W)``, with values in the model's domain.

        Raises:
            AeframeError: A file that cannot be decoded, or another number of channels than in training.
        """
        pixels = Fit(channels=self.fit.channels)(decode(path).unsqueeze(0))
        if self._shape is not None and pixels.shape[1] != self._shape[0]:
            raise AeframeError(
                f"image '{path}' has {pixels.shape[1]} channel{'s' * (pixels.shape[1] > 1)}, expected {self._shape[0]} "
                "as in training; convert it"
            )
        return self.values.evaluation(Batch(pixels, index=torch.arange(1))).x[0]

    def _read_arrays(self, path: Path) -> tuple[Tensor, Tensor | None]:
        """Return the images of all splits, and their labels if every image has one."""
        stacks = ArrayFile(path, who="modality 'image'").stacks()
        # Splits are concatenated in their order, so that row numbers are defined.
        present = [stacks[split] for split in SPLITS if split in stacks]
        pixels = self.fit(torch.cat([stack.pixels for stack in present]))
        self._check_shape(tuple(pixels.shape[1:]), f"'{path}'")
        labels = [stack.labels for stack in present if stack.labels is not None]
        return pixels, torch.cat(labels) if len(labels) == len(present) else None

    def _check_shape(self, shape: Shape, where: str) -> None:
        if self._shape is not None and shape != self._shape:
            raise AeframeError(
                f"modality 'image': {where} has images of {format_shape(shape)} (channels x height x width), expected "
                f"{format_shape(self._shape)}; convert them to that shape"
            )

    def _known_shape(self) -> Shape:
        """Return `_shape`, which must be known."""
        if self._shape is None:
            raise RuntimeError("modality image has no shape yet; call prepare or load_state first")
        return self._shape

    def write(self, x: Tensor, path: Path, *, names: Sequence[str] | None = None) -> list[Path]:
        """Write images ``(N, C, H, W)`` with 8 bits; return the files.

        A path that ends in ``.png`` holds a single image. One that ends in ``.npz`` holds the array ``x``, uint8 ``(N,
        H, W)`` or ``(N, H, W, 3)``. Any other path is a folder for ``000000.png``, ``000001.png``, ...

        Raises:
            AeframeError: A file that exists, several images for one PNG, or another image format.
        """
        return write_images(self.values.pixels(x), path)

    def state(self) -> dict[str, Any]:
        shape = {} if self._shape is None else {"shape": list(self._shape)}
        return shape if self._label_names is None else {**shape, "label_names": list(self._label_names)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._shape = tuple(state["shape"]) if "shape" in state else None
        self._label_names = tuple(state["label_names"]) if "label_names" in state else None
