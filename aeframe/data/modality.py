"""What a modality, a dataset and a source are: how one kind of data becomes batches and comes back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from torch import Tensor

from aeframe.batch import Batch, DataSpec

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

    `modality` is the name of the modality whose data these are.
    """

    modality: ClassVar[str]

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
    metrics: ClassVar[tuple[str, ...]] = ("mse", "mae", "explained_variance")
    dataset: ClassVar[str | None] = None

    @abstractmethod
    def spec(self, dataset: Dataset) -> DataSpec:
        """Return shape and domain, without loading the data."""

    @abstractmethod
    def prepare(self, dataset: Dataset) -> Splits:
        """Load and check the data, and learn from the training split what must be learned (a scaler, a vocabulary).

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
        """Write samples ``(N, *shape)`` in the field's own format, undoing `prepare`; return the files written."""

    def calibrate(self, reconstruct: Callable[[Batch], Tensor], validation: Source) -> None:
        """Learn what only a trained model can tell, such as how large its errors are on samples it has not seen.

        Called once, before the model is saved, and kept by `state`. `reconstruct` returns what the model makes of a
        batch, ``(B, *shape)``, with nothing drawn. A modality without such a thing has nothing to do.
        """

    def state(self) -> dict[str, Any]:
        """Return what `prepare` and `calibrate` learned: tensors, and plain values that JSON can hold."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave; a modality that learns nothing has nothing to do."""
