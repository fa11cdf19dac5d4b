"""Labels as a condition, for a model that is told the class of a sample."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from aeframe.data.modality import Source, Splits
from aeframe.data.wrapped import Wrapped
from aeframe.errors import AeframeError
from aeframe.types import Batch

_AT_ONCE = 4096


class Labelled(Wrapped):
    """A source whose samples bring ``extras["label"]``, one-hot, as the last `classes` numbers of their condition."""

    def __init__(self, source: Source, classes: int) -> None:
        super().__init__(source)
        self.classes = classes

    def batch(self, index: Tensor) -> Batch:
        """Return the samples of the rows `index` ``(B,)``.

        Raises:
            AeframeError: Samples without labels, or a label that is no number from 0 to `classes` - 1.
        """
        batch = self.source.batch(index)
        label = batch.extras.get("label")
        if label is None or label.ndim > 1 or label.is_floating_point():
            found = "none" if label is None else f"{label.dtype} of shape {tuple(label.shape[1:])} for each"
            raise AeframeError(
                f"setting 'label_classes' needs samples with labels that are whole numbers, found {found}; "
                "set label_classes=0, or name the labels in the data's options"
            )
        wrong = (label < 0) | (label >= self.classes)
        if wrong.any():
            row = int(wrong.nonzero()[0])
            raise AeframeError(
                f"setting 'label_classes' is {self.classes}, but row {int(index[row])} has the label "
                f"{int(label[row])}; set label_classes to one more than the largest label"
            )
        told = one_hot(label.long(), self.classes).to(torch.get_default_dtype())
        return replace(batch, condition=told if batch.condition is None else torch.cat([batch.condition, told], 1))


def check_labels(splits: Splits) -> None:
    """Read every label of the splits that are in memory, so that a wrong one is refused before training.

    Raises:
        AeframeError: See `Labelled.batch`.
    """
    for source in (splits.train, splits.validation, splits.test):
        if source.in_memory:
            for index in torch.arange(len(source)).split(_AT_ONCE):
                source.batch(index)
        elif len(source):
            source.batch(torch.arange(1))


def labelled(splits: Splits, classes: int) -> Splits:
    """Return splits whose every sample brings its label as a condition; as they are where `classes` is 0."""
    if not classes:
        return splits
    train, validation, test = (Labelled(each, classes) for each in (splits.train, splits.validation, splits.test))
    return Splits(train, validation, test, splits.skipped)
