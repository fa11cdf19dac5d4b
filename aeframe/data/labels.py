"""One-hot labels as the condition of a conditional model (setting ``label_classes``)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from aeframe.data.modality import Source, Splits
from aeframe.data.source_wrapper import SourceWrapper
from aeframe.errors import AeframeError
from aeframe.types import Batch

_CHUNK = 4096
"""Number of rows whose labels are checked at a time."""


class LabelConditioned(SourceWrapper):
    """A source that appends the label of each sample to its condition.

    The integer label ``extras["label"]`` is encoded as a one-hot vector of length `classes`.

    Args:
        source: The samples.
        classes: The number of classes.
        encoding: ``(L,)``, the class of each label of the source; -1 for a label without a class. By default label and
            class are the same.
    """

    def __init__(self, source: Source, classes: int, encoding: Tensor | None = None) -> None:
        super().__init__(source)
        self.classes, self.encoding = classes, encoding

    def batch(self, index: Tensor) -> Batch:
        """Return the samples of the rows `index` ``(B,)``.

        Raises:
            AeframeError: The samples have no integer labels, or a label is not in [0, `classes`).
        """
        batch = self.source.batch(index)
        label = batch.extras.get("label")
        if label is None or label.ndim > 1 or label.is_floating_point():
            found = "none" if label is None else f"{label.dtype} of shape {tuple(label.shape[1:])} for each"
            raise AeframeError(
                f"setting 'label_classes' needs samples with labels that are whole numbers, found {found}; "
                "set label_classes=0, or name the labels in the data's options"
            )
        if self.encoding is not None:
            # Index -1, a missing label, would be the last class.
            label = torch.where(label < 0, label, self.encoding[label.long().clamp(min=0)])
        wrong = (label < 0) | (label >= self.classes)
        if wrong.any():
            row = int(wrong.nonzero()[0])
            hint = (
                "-1 stands for a missing label, and for one that training did not have; correct it or leave the row out"
                if label[row] == -1
                else "set label_classes to one more than the largest label"
            )
            raise AeframeError(
                f"setting 'label_classes' is {self.classes}, but row {int(index[row])} has the label "
                f"{int(label[row])}; {hint}"
            )
        encoded = one_hot(label.long(), self.classes).to(torch.get_default_dtype())
        condition = encoded if batch.condition is None else torch.cat([batch.condition, encoded], 1)
        return replace(batch, condition=condition)


def condition_on_labels(splits: Splits, classes: int, names: tuple[str, ...] | None = None) -> Splits:
    """Return the splits with `LabelConditioned` sources; unchanged if `classes` is 0.

    Args:
        splits: The splits.
        classes: The number of classes.
        names: The names of the classes of a saved model: labels of the splits with the same names have these classes.
            None if label and class are the same.
    """
    if not classes:
        return splits
    encoding = None
    if names is not None and splits.label_names is not None and splits.label_names != names:
        encoding = torch.tensor([names.index(name) if name in names else -1 for name in splits.label_names])
    sources = (splits.train, splits.validation, splits.test)
    train, validation, test = (LabelConditioned(source, classes, encoding) for source in sources)
    return replace(splits, train=train, validation=validation, test=test)


def check_labels(splits: Splits) -> None:
    """Check labels before training, by reading samples of the sources that `condition_on_labels` returned.

    Every sample of a split in memory is read. Of a split that is read from files, only the first sample is.

    Raises:
        AeframeError: See `LabelConditioned.batch`.
    """
    for source in (splits.train, splits.validation, splits.test):
        if source.in_memory:
            for index in torch.arange(len(source)).split(_CHUNK):
                # Read for its checks; the batch is discarded.
                source.batch(index)
        elif len(source):
            source.batch(torch.arange(1))
