"""The classes that a data plugin subclasses: `Modality` and `Dataset`; what they return: `Source` and `Splits`."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from aeframe.data.conditions import ConditionCoding
from aeframe.data.file_samples import FileSamples, OnError
from aeframe.data.filled_samples import FilledBatch, FilledSamples
from aeframe.data.media import Medium, figure_medium
from aeframe.data.new_output import write_new
from aeframe.data.notes import Notes
from aeframe.data.sample_batches import SampleBatches
from aeframe.data.sample_comparison import SampleComparison
from aeframe.data.scored_parts import ScoredParts
from aeframe.data.split_record import SplitRecord
from aeframe.data.where import Where
from aeframe.errors import AeframeError
from aeframe.tensors import broadcast_mask
from aeframe.types import Batch, DataSpec, Shape

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Source(Protocol):
    """Samples that are read by row index, a batch at a time.

    Three methods are optional. `columns` identifies samples wherever codes or scores are written; the other two draw
    from torch's default generator, which is seeded for each epoch:

    - ``columns(index)`` returns what identifies the samples of the rows `index` ``(n,)``, as arrays ``(n,)`` by name:
      ``name`` (file, cell or row id), ``time`` and so on. `Batch.index` need not be among them.
    - ``epoch_permutation()`` returns the rows ``(N,)`` in the order of a training epoch. It suits large files that are
      read faster in long runs of rows. Without it the order is a uniform permutation.
    - ``batch_indices(batch_size)`` returns the rows ``(n,)`` of each batch of a training epoch, two or more, on all
      devices together. It suits samples that are batched by size. All epochs must have the same number of batches.
    """

    in_memory: bool
    """True if a batch is a slice of tensors in memory; worker processes are then not used."""

    def __len__(self) -> int: ...

    def batch(self, index: Tensor) -> Batch:
        """Return the samples of the rows `index` ``(B,)``, with `Batch.index` set to their numbers in the dataset."""
        ...


@dataclass(slots=True)
class Splits:
    """Sources of the train, validation and test split."""

    train: Source
    validation: Source
    test: Source
    skipped: list[str] = field(default_factory=list)
    """One sentence for each bad file or row that was skipped at the user's request."""
    label_names: tuple[str, ...] | None = None
    """The names of the integer labels 0, 1, ... in ``Batch.extras["label"]``; None if the data have no names."""
    factor_names: tuple[str, ...] = ()
    """The names of the factors of variation in ``Batch.extras["factors"]``; empty if they are not known."""
    notes: Notes = field(default_factory=Notes)
    """One sentence for everything that was changed, left out or guessed, besides `skipped`."""


class Dataset(ABC):
    """A named source of raw data.

    The constructor takes options only, and opens no file. `describe` reads as little as it can, `load` everything.

    Annotate an option that is a file or folder with `pathlib.Path`: a run then stores it as an absolute path, with a
    fingerprint of its content.
    """

    modality: ClassVar[str]
    """Name of the modality that prepares the data."""
    condition: ConditionCoding | None = None
    """How the conditions that `attach` adds become numbers; None if it adds none."""
    label_names: tuple[str, ...] | None = None
    """The names of the integer labels 0, 1, ... of the samples, set by `load`; None if the data have no names."""
    factor_names: tuple[str, ...] = ()
    """The names of the known factors of variation (`aeframe.types.FACTORS`), set by `load`; empty without them."""

    @functools.cached_property
    def split_record(self) -> SplitRecord:
        """Record of the samples of each split: stores a split drawn at random, or returns that of an earlier run.

        Pass it to the function that draws the split, such as `RandomSplit.complete`. Resumed and evaluated runs then
        use the same split.
        """
        return SplitRecord()

    @functools.cached_property
    def notes(self) -> Notes:
        """Sentences about what `describe`, `load` and `attach` change, leave out or guess, which a run prints."""
        return Notes()

    def files(self) -> Sequence[Path] | None:
        """Return the files of the dataset, if they are not those that its `Path` options name."""
        return None

    @abstractmethod
    def describe(self) -> Mapping[str, Any]:
        """Return what `Modality.spec` needs before loading, such as the shape, from a header or one sample.

        Raises:
            AeframeError: A file is missing, empty, or has another format.
        """

    @abstractmethod
    def load(self) -> Any:
        """Return the raw train, validation and test split, of the type that the modality expects."""

    def content(self) -> Mapping[str, dict[str, Any]]:
        """Return entries of the fingerprint (see `aeframe.data.fingerprint`) for data that no file has."""
        return {}

    def extend_spec(self, spec: DataSpec) -> DataSpec:
        """Return the spec with what `attach` adds to the samples, such as a condition; unchanged by default."""
        return spec

    def attach(self, splits: Splits) -> Splits:
        """Return prepared splits with what belongs to each sample besides x; unchanged by default.

        Called after `load`.
        """
        return splits


class Modality(ABC):
    """A kind of data, such as images: maps files to batches of tensors, and tensors back to files and figures.

    A run calls `prepare`, which calls `Dataset.load`, `learn` and `apply`. Whatever `learn` computes from the training
    split belongs to the state of the modality: it is saved with the model, and a saved model prepares new data with it.
    """

    defaults: ClassVar[Mapping[str, str]] = {}
    """Default parts of the model by kind: ``{"encoder": "conv", "loss": "bernoulli"}``. Recipes (``model=NAME``) and
    overrides take precedence.
    """
    substitutes: ClassVar[Mapping[str, Mapping[str, str]]] = {}
    """By kind, the parts that replace those of recipes that exclude the data: ``{"loss": {"mse": "mixed"}}``.
    What overrides and experiments choose stays.
    """
    metrics: ClassVar[tuple[str, ...]] = ("mse", "mae", "r2")
    """Names of the metrics that are computed on held-out data."""
    feature_spaces: ClassVar[tuple[str, ...]] = ("pca",)
    """Names of the feature spaces in which new samples are compared with held-out ones, those of the field first."""
    dataset: ClassVar[str | None] = None
    """Name of the default dataset."""
    in_memory: ClassVar[str | None] = None
    """Name of the dataset that takes samples in memory (`aeframe.data.in_memory.MemoryDataset`); None without one."""
    reading_options: ClassVar[tuple[str, ...]] = ()
    """Constructor options that may differ from training when a trained model reads a file: how unusual samples are
    treated, not what the model receives."""
    imputation_options: ClassVar[Mapping[str, Any]] = {}
    """Constructor options with which samples with missing values are read to be filled, whatever they were in training:
    ``{"missing": "mask"}``."""
    on_error: OnError = "raise"
    """What happens to bad files and rows. A modality with an option of this name stores it here."""

    @functools.cached_property
    def notes(self) -> Notes:
        """Sentences about what `apply`, `open` and `prepare_samples` change, leave out or guess."""
        return Notes()

    @abstractmethod
    def spec(self, dataset: Dataset) -> DataSpec:
        """Return the shape of a sample and its domain (the set of values, such as real or binary), without loading the
        data.
        """

    def mask_shape(self, spec: DataSpec) -> Shape | None:
        """Return the shape of the mask of one prepared sample; None if the masks of all batches are None.

        It is `spec.shape`, or its leading sizes. A model that is exported takes a mask if this is not None. By default
        samples of unordered elements have a mask, and others have none.
        """
        return spec.shape[:1] if spec.unordered else None

    def prepare(self, dataset: Dataset, *, learn: bool = True) -> Splits:
        """Load a dataset and return its splits.

        Args:
            dataset: The data.
            learn: Compute the state from the training split. False for a saved model, which sets it by `load_state`.

        Raises:
            AeframeError: A value is outside the domain, or a file cannot be read; the message names the file and row.
        """
        raw = dataset.load()
        if learn:
            self.learn(dataset, raw)
        splits = self.apply(raw)
        if splits.label_names is None:
            splits.label_names = dataset.label_names
        splits.factor_names = dataset.factor_names
        splits.notes = Notes([*dataset.notes, *self.notes, *splits.notes])
        return splits

    def learn(self, dataset: Dataset, raw: Any) -> None:
        """Compute the state, such as a scaler or a vocabulary, from the training split.

        The default does nothing.

        Args:
            dataset: The data.
            raw: What `Dataset.load` returned.

        Raises:
            AeframeError: The data are of another modality.
        """

    @abstractmethod
    def apply(self, raw: Any) -> Splits:
        """Validate what `Dataset.load` returned, and return its splits, prepared with the state.

        Raises:
            AeframeError: A value is outside the domain, or a file cannot be read; the message names the file and row.
        """

    @abstractmethod
    def render(self, panels: Mapping[str, Tensor]) -> Figure:
        """Return a figure of samples, with one titled row for each panel.

        Args:
            panels: Samples ``(N, *shape)`` in the range of prepared data, by title. A single panel is laid out as a
                grid.
        """

    def show(self, x: Tensor) -> list[list[Medium]]:
        """Return how a browser shows each of the samples: pictures, sounds, texts.

        The default returns a picture of each sample, drawn by `render`. Samples of one call are shown beside one
        another, such as a sample and its reconstruction: draw them with the same scales.

        Args:
            x: Samples ``(N, *shape)`` in the range of prepared data; masked values are NaN.

        Returns:
            At least one medium for each sample, the most telling first.
        """
        return [[figure_medium(self.render({"": sample.unsqueeze(0)}))] for sample in x]

    @abstractmethod
    def open(self, path: Path, on_error: OnError) -> FileSamples:
        """Open a file in a common format of the field, or a folder; the samples are prepared as in training.

        Args:
            path: The file or folder.
            on_error: ``raise`` stops at a bad file or row, ``skip`` leaves it out and lists it.

        Raises:
            AeframeError: A file cannot be read, or no sample is left; the message names the file and row.
        """

    def read(self, path: Path, *, on_error: OnError | None = None) -> Batch:
        """Return all samples of a file or folder as one batch, see `open`.

        Args:
            path: The file or folder.
            on_error: What happens to a bad file or row; None for the option of training.
        """
        return self.open(Path(path), self.on_error if on_error is None else on_error).batch()

    def prepare_samples(self, x: Any) -> Batch:
        """Prepare samples in memory, as `in_memory` takes them, as in training.

        Raises:
            AeframeError: The modality takes nothing in memory, or a sample is refused as in a file.
        """
        raise AeframeError(
            f"modality {type(self).__name__} prepares files only, found {type(x).__name__} in memory; write it to a "
            "file, and use modality.read(path)"
        )

    def restore_samples(self, x: Tensor) -> Any:
        """Return samples ``(N, *shape)`` in the unit and form of the training data; undoes `prepare_samples`.

        The default returns an array of the values themselves.
        """
        return x.detach().cpu().numpy()

    def encode_condition(self, who: str, condition: Any) -> Tensor | None:
        """Return the condition of N samples as numbers ``(N, C)``, float32; categories may be given by their names.

        For modalities whose own state has the categories. The default returns None: the condition is then encoded by
        `Dataset.condition`, if the dataset has one.

        Args:
            who: How error messages name the model.
            condition: Numbers ``(N, C)`` as batches have them, or the values of each sample.

        Raises:
            AeframeError: A category that was not in training, or another number of columns.
        """
        return None

    @abstractmethod
    def write_batches(self, samples: SampleBatches, path: Path) -> list[Path]:
        """Write samples in a common format of the field, undoing `apply`, while they are computed; return the files.

        Called by `write`, with a path that does not exist in a folder that does: it may be a file or a folder. A format
        that needs all samples at once takes `SampleBatches.tensor`.

        Args:
            samples: The samples, by batch, and their names, which are kept where the format has a place for them.
            path: The new file or folder.

        Raises:
            AeframeError: The modality does not write the format of the suffix.
        """

    def write(self, x: Tensor | SampleBatches, path: Path, *, names: Sequence[str] | None = None) -> list[Path]:
        """Write samples as a new file or folder, completely or not at all; return the files.

        Args:
            x: Samples ``(N, *shape)``, or `SampleBatches` that are computed while they are written.
            path: The new file or folder.
            names: The name of each sample of a tensor, from `Source.columns`: file names, cells or row ids are kept.
                None for samples without names.

        Raises:
            AeframeError: The path exists, or the modality does not write the format of the suffix.
        """
        samples = x if isinstance(x, SampleBatches) else SampleBatches.of(x, names)
        return write_new(path, functools.partial(self.write_batches, samples))

    # -- missing values ------------------------------------------------------------------------------------------

    def missing_elements(self, batch: Batch) -> Tensor:
        """Return ``(B, *shape)``: True for the elements that imputation is to fill.

        Raises:
            AeframeError: The modality does not state it, which is the default.
        """
        raise AeframeError(
            f"modality {type(self).__name__} has no elements to fill; imputation is for modalities that state which "
            "elements are missing, such as vector and table"
        )

    def filled(self, batch: Batch, values: Tensor) -> Batch:
        """Return the batch with `values` ``(B, *shape)`` where `missing_elements` is True; they are valid then.

        Args:
            batch: The samples with their missing elements, as `missing_elements` receives them.
            values: Decoded samples, in the range of prepared data.
        """
        missing = self.missing_elements(batch)
        mask = None if batch.mask is None else broadcast_mask(batch.mask, missing.ndim) | missing
        return replace(batch, x=torch.where(missing, values.to(batch.x.dtype), batch.x), mask=mask)

    def without_missing(self, output: Tensor) -> Tensor:
        """Return what the decoder returned with probability 0 for values that mean "missing".

        For modalities in which that is a class of its own. The default returns the output unchanged.

        Args:
            output: ``(B, outputs, *shape)``, as `Loss.mean` and `Loss.sample` receive it.
        """
        return output

    def count_missing(self, missing: Tensor) -> Mapping[str, int]:
        """Return the number of cells to fill by column, for those that have any; by default elements of any column.

        Args:
            missing: ``(B, *shape)``, see `missing_elements`.
        """
        return {"x": int(missing.sum())}

    def write_filled(self, samples: FilledSamples, original: Path, path: Path) -> list[Path]:
        """Write samples of a file whose missing values were filled, as a new file or folder; return the files.

        The default writes the samples alone, as `write`. Modalities whose files have other content keep that.

        Args:
            samples: The filled samples.
            original: The file that they were read from.
            path: The new file or folder.

        Raises:
            AeframeError: The path exists, or the modality does not write the format of the suffix.
        """
        return self.write(samples.samples(), path)

    def restore_filled(self, batch: FilledBatch, original: Any) -> Any:
        """Return samples in memory whose missing values were filled, in the form of `restore_samples`.

        Args:
            batch: The filled samples.
            original: What `prepare_samples` received.
        """
        return self.restore_samples(batch.x)

    # -- comparisons ---------------------------------------------------------------------------------------------

    @property
    def condition_columns(self) -> tuple[str, ...]:
        """The names of the columns that `encode_condition` takes; empty if it takes none."""
        return ()

    def select(self, x: Tensor, where: Sequence[Where]) -> Tensor:
        """Return ``(N,)``: whether each of the samples x ``(N, *shape)`` fulfils all comparisons.

        Raises:
            AeframeError: The samples have no columns with names, which is the default; a column or class is unknown.
        """
        raise AeframeError(
            f"modality {type(self).__name__} has no columns with names, found the comparison '{where[0]}'; generate "
            "samples without comparisons"
        )

    # -- after training ------------------------------------------------------------------------------------------

    def calibrate(self, reconstruct: Callable[[Batch], Tensor], validation: Source) -> None:
        """Compute state that needs the trained model, such as the distribution of its errors on held-out samples.

        Called once, before the model is saved. The default does nothing.

        Args:
            reconstruct: Returns the deterministic reconstructions ``(B, *shape)`` of a batch.
            validation: The validation split.
        """

    def locate_errors(self, errors: Tensor, batch: Batch) -> list[str]:
        """Return for each sample, in words, the elements with the largest errors: columns, genes, seconds.

        The default returns the position of the largest error, such as ``element 3, 7``.

        Args:
            errors: ``(B, *shape)``, 0 where an element is masked.
            batch: The samples, on the CPU.
        """
        positions = np.stack(np.unravel_index(errors.flatten(1).argmax(1).numpy(), errors.shape[1:]), 1)
        return [f"element {', '.join(map(str, position))}" for position in positions.tolist()]

    def render_errors(self, x: Tensor, x_hat: Tensor, errors: Tensor | None) -> Figure:
        """Return a figure of samples with their reconstructions, and with where their errors are.

        The default draws samples and reconstructions with `render`.

        Args:
            x: Samples ``(N, *shape)`` in the range of prepared data.
            x_hat: Their reconstructions.
            errors: The error of each element ``(N, *shape)``; None for a loss that does not compare by position.
        """
        return self.render({"original": x, "reconstruction": x_hat})

    def score_parts(self, reconstruct: Callable[[Batch], Tensor], path: Path, on_error: OnError) -> ScoredParts | None:
        """Return anomaly scores of parts of the samples in a file, such as time steps; None for scores of samples only.

        Args:
            reconstruct: Returns the deterministic reconstructions ``(B, *shape)`` of a batch.
            path: The file.
            on_error: What happens to a bad row, as in `open`.

        Raises:
            AeframeError: A file cannot be read, or the distribution of scores is not known.
        """
        return None

    def compare_samples(
        self,
        samples: Tensor,
        held_out: Tensor,
        train: Tensor,
        *,
        reconstructions: Tensor | None = None,
        seed: int = 0,
    ) -> SampleComparison | None:
        """Return how new samples compare with held-out ones, by measures of the field; None, the default, without any.

        A run calls it for its report and card. All samples are ``(N, *shape)`` in the range of prepared data; masked
        values are NaN.

        Args:
            samples: New samples of the model, with the conditions of `held_out` if it has conditions.
            held_out: As many real samples.
            train: At most 50,000 samples that the model was trained on.
            reconstructions: The deterministic reconstructions of `held_out`, for figures; None without them.
            seed: Seed of everything random in the comparison.
        """
        return None

    def state(self) -> dict[str, Any]:
        """Return what `learn` and `calibrate` computed: tensors, and values that JSON can represent."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Set the state that `state` returned. The default does nothing."""
