"""What a modality, a dataset and a source are: how one kind of data becomes batches and comes back."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from torch import Tensor

from aeframe.data.split_record import SplitRecord
from aeframe.types import Batch, DataSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Source(Protocol):
    """Some samples that can be asked for by row, many at a time.

    A source of a large file may have a method ``order()``, which returns the rows ``(N,)`` in the order of a training
    epoch, drawn from torch's generator: one in which it can read them by the stretch. Without one, any order is as
    likely as any other. One whose samples differ in size may have ``groups(batch_size, world)`` instead, which returns
    the rows ``(n,)`` of each batch of a training epoch, drawn likewise: always as many batches, each with two rows or
    more for each of `world` devices, and as many for one as for another.
    """

    in_memory: bool
    """True where a batch is a slice of tensors, so that no worker process would help."""

    def __len__(self) -> int: ...

    def batch(self, index: Tensor) -> Batch:
        """Return the samples of the rows `index` ``(B,)``, with ``Batch.index`` set."""
        ...


@dataclass(slots=True)
class Splits:
    """The three sources of a run, and what was left out on the way."""

    train: Source
    validation: Source
    test: Source
    skipped: list[str] = field(default_factory=list)
    """One sentence for each bad file or row that was skipped because the user asked for it."""


class Dataset(ABC):
    """A named source of raw data. Constructors take options only, and open nothing.

    `modality` is the name of the modality whose data these are. An option that is the place of a file or folder is
    annotated as `pathlib.Path`: a run stores it as an absolute path and hashes what is there.
    """

    modality: ClassVar[str]

    @functools.cached_property
    def split_record(self) -> SplitRecord:
        """Which samples each split has; pass it to what draws the split, such as `RandomSplit.complete`."""
        return SplitRecord()

    def files(self) -> Sequence[Path] | None:
        """Return the files that the data are read from, where the options of type `Path` are not these files."""
        return None

    @abstractmethod
    def describe(self) -> Mapping[str, Any]:
        """Return what the modality must know before loading (shape, values), from a header or one sample.

        Raises:
            AeframeError: A file that is missing, empty or of another form.
        """

    @abstractmethod
    def load(self) -> Any:
        """Load the raw splits, in whatever form the modality reads."""


class Modality(ABC):
    """One kind of data.

    `defaults` names the parts that fit it, by kind: ``{"encoder": "conv", "loss": "bernoulli"}``; a model's recipe, an
    experiment and the command line win over them. `metrics` names what is measured on held-out data. `dataset` is
    what ``data=`` is when nothing is asked for.
    """

    defaults: ClassVar[Mapping[str, str]] = {}
    metrics: ClassVar[tuple[str, ...]] = ("mse", "mae", "r2")
    dataset: ClassVar[str | None] = None

    @abstractmethod
    def spec(self, dataset: Dataset) -> DataSpec:
        """Return shape and domain, without loading the data."""

    def prepare(self, dataset: Dataset, *, learn: bool = True) -> Splits:
        """Load the data and return its splits: `Dataset.load`, `learn`, `apply`.

        With ``learn=False`` the state that is there is used, as `load_state` set it: so a saved model is evaluated.

        Raises:
            AeframeError: A value outside the domain, a file that cannot be read: named, with its row.
        """
        raw = dataset.load()
        if learn:
            self.learn(dataset, raw)
        return self.apply(raw)

    def learn(self, dataset: Dataset, raw: Any) -> None:
        """Compute what `state` returns (a scaler, a vocabulary) from the training split of `raw`.

        A modality that learns nothing has nothing to do. `raw` is what `Dataset.load` returned.

        Raises:
            AeframeError: Data of another modality.
        """

    @abstractmethod
    def apply(self, raw: Any) -> Splits:
        """Check what `Dataset.load` returned, and return its splits, prepared by the state of this modality.

        Raises:
            AeframeError: A value outside the domain, a file that cannot be read: named, with its row.
        """

    @abstractmethod
    def render(self, panels: Mapping[str, Tensor]) -> Figure:
        """Return a picture for a person: one titled row for each panel, ``(N, *shape)`` in the data's own values.

        A single panel is laid out as a grid.
        """

    @abstractmethod
    def read(self, path: Path) -> Batch:
        """Read samples from a file in the field's own format, prepared as in training."""

    @abstractmethod
    def write(self, x: Tensor, path: Path) -> list[Path]:
        """Write samples ``(N, *shape)`` in the field's own format, undoing `apply`; return the files written."""

    def calibrate(self, reconstruct: Callable[[Batch], Tensor], validation: Source) -> None:
        """Learn what only a trained model can tell, such as how large its errors are on samples it has not seen.

        Called once, before the model is saved, and kept by `state`. `reconstruct` returns what the model makes of a
        batch, ``(B, *shape)``, with nothing drawn. A modality without such a thing has nothing to do.
        """

    def state(self) -> dict[str, Any]:
        """Return what `learn` and `calibrate` computed: tensors, and plain values that JSON can hold."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Set the state to what `state` returned; a modality that learns nothing has nothing to do."""
