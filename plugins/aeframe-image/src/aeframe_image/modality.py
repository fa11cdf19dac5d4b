"""The modality `image`: grey and colour images of one size."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.data import Dataset, FileSamples, Modality, OnError, Source, Splits, TensorSource
from aeframe.data.folders import read_labels
from aeframe.data.media import Medium
from aeframe.data.random_split import SPLITS
from aeframe.data.sample_batches import SampleBatches
from aeframe.errors import AeframeError
from aeframe.types import Batch, DataSpec, Domain, Shape
from aeframe_image.arrays import ArrayFile
from aeframe_image.augment import Augment
from aeframe_image.decode import decode_values
from aeframe_image.files import FileSource, Reader, SharedSource, converted, extents, name_columns, stacked
from aeframe_image.fit import Fit, FitMode
from aeframe_image.in_memory import raw_images
from aeframe_image.listing import list_images, list_pages
from aeframe_image.pictures import Files, RawSplits, SharedStack, Stack, format_shape
from aeframe_image.ranges import Kind, Levels, clip_note, dark_note, kind_of
from aeframe_image.survey import Survey, first_converted_shape, survey, survey_notes
from aeframe_image.values import Binarization, ImageDomain, Values, to_unit
from aeframe_image.write import channels_last, write_images

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MEGABYTE = 2**20
MAX_COPIED_BYTES = 2048 * _MEGABYTE
"""Up to this size, images of an array that must be resized are kept in memory after that."""


class Image(Modality):
    """Images ``(C, H, W)`` with one channel (grey), three (RGB) or any number of bands.

    Those of 8 bits are stored as uint8 and converted by batch; others are stored as floats from 0 (black) to 1 (white).

    Args:
        domain: ``unit`` [0, 1], ``signed`` [-1, 1], or ``binary`` {0, 1}.
        binarize: With ``domain=binary``: ``threshold`` at half brightness (the default), or ``sample`` each pixel with
            its brightness as the probability of 1 (Salakhutdinov & Murray 2008, ICML). Training images are sampled anew
            in each epoch, held-out images only once; with ``fixed`` training images are sampled only once too.
        binarize_seed: Seed of the images that are sampled once.
        size: Height and width, or one number for both; null keeps the size of the data.
        fit: How images get this size: ``crop`` scales the largest centred part with the right aspect ratio, ``resize``
            scales the full image and may distort it, ``pad`` scales the full image and pads it.
        padding: Brightness of the pixels that ``fit=pad`` adds, from 0 (black) to 1. The loss includes them.
        channels: 1 converts to grey, 3 to RGB; null keeps the channels of the data. Of images of more bands than
            three, such as those of satellites, any number keeps the first ones.
        range: The values of black and white, such as ``[0, 4095]`` for 12 bits; values outside are cut off. Null infers
            them: 0 and 255 for 8 bits, and 0 and 1 for floats. For more bits, white is what the files state, or else
            the largest value of the fewest bits that hold all values of the training images.
        random_crop: Pad training images by this many pixels on each side with their reflection, and crop a random
            window of the original size.
        flip: Mirror training images left to right with probability 1/2.
        on_error: Files that cannot be decoded: ``raise`` stops, ``skip`` leaves them out and lists them.

    Raises:
        AeframeError: Invalid options.
    """

    defaults: ClassVar[Mapping[str, str]] = {"encoder": "conv", "loss": "bernoulli"}
    metrics: ClassVar[tuple[str, ...]] = (*Modality.metrics, "psnr", "ssim", "bits_per_dimension")
    feature_spaces: ClassVar[tuple[str, ...]] = ("classifier", "pca")
    dataset: ClassVar[str | None] = "digits"
    in_memory: ClassVar[str | None] = "image_in_memory"

    def __init__(
        self,
        *,
        domain: ImageDomain = "unit",
        binarize: Binarization | None = None,
        binarize_seed: int = 0,
        size: int | tuple[int, int] | None = None,
        fit: FitMode = "crop",
        padding: float = 0.0,
        channels: int | None = None,
        range: tuple[float, float] | None = None,
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
        if channels is not None and channels < 1:
            raise AeframeError(f"modality 'image' needs channels >= 1, found {channels}")
        self.domain = Domain.parse(domain)
        self.levels = Levels(range)
        self.values = Values(domain, binarize or "threshold", seed=binarize_seed)
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
        train = raw["train"]
        if isinstance(train, Files):
            kinds: set[Kind] = set(survey(train.files).kinds)
        else:
            kinds = {kind_of(train.pixels.dtype)}
            self._check_unit_floats(train)
        self.levels.set_kind(kinds)
        if kinds - {"bytes"} and self.levels.chosen is None:
            for note in self.levels.learn(extents(train, self.on_error)):
                self.notes.add(f"modality 'image': {note}")

    def apply(self, raw: RawSplits) -> Splits:
        files = [split for split in raw.values() if isinstance(split, Files)]
        value_bytes = 1 if self.levels.keeps_bytes else 4
        num_bytes = sum(len(split) for split in files) * math.prod(self._known_shape()) * value_bytes
        in_memory = not files or num_bytes <= min(split.max_memory_mb for split in files) * _MEGABYTE
        skipped: list[str] = []
        train, validation, test = (
            self._source(split, raw[split], in_memory=in_memory, skipped=skipped) for split in SPLITS
        )
        return Splits(train, validation, test, skipped)

    def _training(self, batch: Batch) -> Batch:
        """Augment and convert a batch of stored pixels for training."""
        return self.values.training(batch.with_x(self.augment(batch.x)))

    def _source(self, split: str, raw: Stack | SharedStack | Files, *, in_memory: bool, skipped: list[str]) -> Source:
        transform = self._training if split == "train" else self.values.evaluation
        if isinstance(raw, Files):
            if not in_memory and self.on_error == "raise":
                # Checking all files first would take an epoch; a broken file stops the run when its batch is decoded.
                return FileSource(raw, self._reader(refuses_clipping=True), transform)
            reader = self._reader(refuses_clipping=not in_memory)
            selected = reader.select(raw, on_error=self.on_error, keep=in_memory)
            reader.add_clipped(self.notes, len(selected.files), f"{split} images")
            skipped.extend(selected.skipped)
            if not in_memory:
                return FileSource(selected.files, reader, transform)
            stack = selected.stack
        else:
            shape = self.fit.shape(tuple(raw.pixels.shape[1:]))
            self._check_shape(shape, "x" if isinstance(raw, SharedStack) else "the data")
            self._check_unit_floats(raw)
            self._note_clipping(raw, f"{split} images")
            if isinstance(raw, SharedStack):
                value_bytes = 1 if raw.pixels.dtype == torch.uint8 else 4
                if shape == raw.shape or len(raw) * math.prod(shape) * value_bytes > MAX_COPIED_BYTES:
                    return SharedSource(raw, self.fit, self.levels, transform)
            stack = converted(raw, self.fit, self.levels)
        if split == "train":
            self._note_darkness(stack)
        columns = name_columns(stack.names)
        return TensorSource(stack.pixels, extras=stack.extras(), transform=transform, columns=columns)

    def _reader(self, *, is_trained: bool = False, refuses_clipping: bool = False) -> Reader:
        return Reader(self.fit, self._known_shape(), self.levels, is_trained, refuses_clipping)

    def _check_unit_floats(self, raw: Stack | SharedStack, *, is_trained: bool = False) -> None:
        """Raise AeframeError for floats outside [0, 1], unless their range is chosen."""
        if raw.outside_unit is not None and self.levels.chosen is None:
            problem, step = raw.outside_unit
            raise AeframeError(f"{problem}; {'scale them as those of training' if is_trained else step}")

    def _note_clipping(self, raw: Stack | SharedStack, what: str) -> None:
        if kind_of(raw.pixels.dtype) != "bytes" or self.levels.chosen is not None:
            levels = self.levels.range_of(kind_of(raw.pixels.dtype))
            note = clip_note(extents(raw, "raise"), len(raw), levels, what)
            if note is not None:
                self.notes.add(f"modality 'image': {note}")

    def _note_darkness(self, train: Stack) -> None:
        levels = self.levels.range_of(self.levels.kind)
        note = dark_note(float(to_unit(train.pixels.max())), levels)
        if note is not None:
            self.notes.add(f"modality 'image': {note}")

    def prepare_samples(self, x: Any) -> Batch:
        raw, shape = raw_images(x), self._known_shape()
        if isinstance(raw, Files):
            reader = self._reader(is_trained=True)
            pixels = stacked([reader(file) for file in raw.files])
            reader.add_clipped(self.notes, len(pixels), "images")
        else:
            self._check_unit_floats(raw, is_trained=True)
            self._check_shape(self.fit.shape(raw.shape), "x")
            self._note_clipping(raw, "images")
            pixels = converted(raw, self.fit, self.levels).pixels
        assert tuple(pixels.shape[1:]) == shape
        return self.values.evaluation(Batch(pixels, index=torch.arange(len(pixels))))

    def restore_samples(self, x: Tensor) -> NDArray[Any]:
        """Return images as an array ``(N, H, W)`` if they are grey integers, otherwise ``(N, H, W, C)``.

        Values have the type and range of the training images: uint8, integers of more bits, or float32. NumPy,
        matplotlib and ``PIL.Image.fromarray`` take them in this layout. Values outside the domain are clipped.
        """
        images = self._restored(x)
        # Floats (N, H, W) are taken for rows of numbers, not for images.
        return images[..., None] if images.ndim == 3 and images.dtype.kind == "f" else images

    def _restored(self, x: Tensor) -> NDArray[Any]:
        """Return images ``(N, H, W)`` or ``(N, H, W, C)`` in the type and range of the training images."""
        return channels_last(self.levels.values(self.values.unit(x)))

    def locate_errors(self, errors: Tensor, batch: Batch) -> list[str]:
        """Return the row and the column, from 0, of the pixel with the largest error."""
        places, width = errors.mean(1).flatten(1).argmax(1).tolist(), errors.shape[3]
        return [f"row {place // width}, column {place % width}" for place in places]

    def render_errors(self, x: Tensor, x_hat: Tensor, errors: Tensor | None) -> Figure:
        """Return rows of images, reconstructions and heat maps of the errors, the same scale for all."""
        from aeframe_image.render import draw, heat_maps

        panels = {"original": self.values.pixels(x), "reconstruction": self.values.pixels(x_hat)}
        return draw(panels if errors is None else {**panels, "error, dark to bright": heat_maps(errors)})

    def render(self, panels: Mapping[str, Tensor]) -> Figure:
        """Return a figure: one titled row of at most 12 images for each panel, or a grid for a single panel.

        Of images of more than three bands the first three are shown as red, green and blue, of two bands the first.
        """
        from aeframe_image.render import draw

        return draw({title: self.values.pixels(x) for title, x in panels.items()})

    def show(self, x: Tensor) -> list[list[Medium]]:
        """Return each image in its own size; of more than three bands the first three, of two the first."""
        from aeframe_image.render import png

        return [[Medium("image/png", png(pixels))] for pixels in self.values.pixels(x.detach().cpu())]

    def open(self, path: Path, on_error: OnError) -> FileSamples:
        """Open an image file, a folder of them, or a NPZ or NPY file.

        Images are converted with the options of training. Files are decoded by batch, except those of more than 8 bits
        that fit into 2 GiB, and with ``on_error=skip``. The pages of a TIFF file are samples. The column ``name`` is
        the path of a file relative to the folder, with the number of the page. ``extras["label"]`` is the label in an
        NPZ file, or the index of the class folder of an image in the class folders of training, -1 for another one.

        Raises:
            AeframeError: No images, a file that cannot be decoded, or images of another shape than in training.
        """
        if path.suffix.lower() in (".npz", ".npy"):
            return self._open_arrays(path)
        listing = list_images(path) if path.is_dir() else list_pages(path)
        if not listing.files:
            raise AeframeError(f"modality 'image' found no images in '{path}'; choose a folder with images")
        labels = read_labels(path, listing.paths(), self._label_names) if path.is_dir() else None
        files = Files(listing.files, labels, names=listing.names)
        shape = self._shape or first_converted_shape(self.fit, files)
        found = survey(files.files)
        for note in (*listing.notes, *survey_notes(found, shape[0]), *self._note_kinds(found)):
            self.notes.add(f"'{path}': {note}")
        # Training has options that convert images of another shape, so that it does not skip them.
        reader = Reader(self.fit, shape, self.levels, is_trained=self._shape is not None, skips_unfit=True)
        in_memory = len(files) * math.prod(shape) * 4 <= files.max_memory_mb * _MEGABYTE
        # Whether values are cut off is known, and noted, only after all files were decoded.
        may_clip = self.levels.chosen is not None or bool(found.kinds.keys() - {"bytes"})
        if on_error == "raise" and not (may_clip and in_memory):
            return FileSamples(FileSource(files, reader, self.values.evaluation, notes=self.notes))
        selected = reader.select(files, on_error=on_error, keep=in_memory)
        reader.add_clipped(self.notes, len(selected.files), f"images of '{path}'")
        if not in_memory:
            source: Source = FileSource(
                selected.files, reader, self.values.evaluation, numbers=selected.rows, notes=self.notes
            )
        else:
            source = TensorSource(
                selected.stack.pixels,
                extras={} if selected.files.labels is None else {"label": selected.files.labels},
                transform=self.values.evaluation,
                index=selected.rows,
                columns=name_columns(selected.files.names),
            )
        return FileSamples(source, selected.skipped)

    def _note_kinds(self, found: Survey) -> Iterator[str]:
        """Yield a note about images of more than 8 bits if training had none, so that their range is unknown."""
        num = found.kinds["integer"]
        if num and self.levels.chosen is None and "integer" not in self.levels.learned:
            yield (
                f"{num} of {found.num_files} images have more than 8 bits, and those of training had not; white is the "
                "value that their files state, or 65535"
            )

    def read_full_size(self, path: Path) -> Tensor:
        """Read one image file at its full size, ``(C, H, W)``, with values in the model's domain.

        Raises:
            AeframeError: A file that cannot be decoded, or another number of channels than in training.
        """
        decoded = decode_values(path)
        channels = self.fit.channels or (3 if self._shape is not None and self._shape[0] == 3 else None)
        fit = Fit(channels=channels)
        shape = fit.shape(tuple(decoded.pixels.shape))
        reader = Reader(fit, shape, self.levels, is_trained=True)
        pixels = reader.convert(path, decoded).unsqueeze(0)
        reader.add_clipped(self.notes, 1, "images")
        if self._shape is not None and pixels.shape[1] != self._shape[0]:
            raise AeframeError(
                f"image '{path}' has {pixels.shape[1]} channel{'s' * (pixels.shape[1] > 1)}, expected {self._shape[0]} "
                "as in training; convert it"
            )
        return self.values.evaluation(Batch(pixels, index=torch.arange(1))).x[0]

    def _open_arrays(self, path: Path) -> FileSamples:
        """Return the images of all splits, with their labels if every image has one."""
        stacks = ArrayFile(path, who="modality 'image'").stacks()
        # Splits are concatenated in their order, so that row numbers are defined.
        present = [stacks[split] for split in SPLITS if split in stacks]
        for stack in present:
            self._check_unit_floats(stack, is_trained=self._shape is not None)
            self._check_shape(self.fit.shape(tuple(stack.pixels.shape[1:])), f"'{path}'")
            self._note_clipping(stack, f"images of '{path}'")
        pixels = torch.cat([converted(stack, self.fit, self.levels).pixels for stack in present])
        labels = [stack.labels for stack in present if stack.labels is not None]
        extras = {"label": torch.cat(labels)} if len(labels) == len(present) else {}
        return FileSamples(TensorSource(pixels, extras=extras, transform=self.values.evaluation))

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

    def write_batches(self, samples: SampleBatches, path: Path) -> list[Path]:
        """Write images ``(N, C, H, W)`` with the type and range of the training images; return the files.

        A path that ends in ``.png`` holds a single image, one in ``.tif`` has a page for each. One that ends in
        ``.npz`` holds the array ``x``, ``(N, H, W)`` or ``(N, H, W, C)``, and the names. Any other path is a folder for
        ``000000.png``, ``000001.png``, ..., or for files with the names of the images, which are PNG unless an image is
        a TIFF or has more than three bands.

        Raises:
            AeframeError: Several images for one PNG, or another image format.
        """
        return write_images(map(self._restored, samples), path, len(samples), samples.names, self.levels.is_unit)

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = {} if self._shape is None else {"shape": list(self._shape)}
        if self._label_names is not None:
            state["label_names"] = list(self._label_names)
        levels = self.levels.state()
        return {**state, "levels": levels} if levels else state

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._shape = tuple(state["shape"]) if "shape" in state else None
        self._label_names = tuple(state["label_names"]) if "label_names" in state else None
        self.levels.load_state(state.get("levels", {}))
