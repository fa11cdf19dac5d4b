"""`Element` and `ColumnCoding`: how one column becomes elements of x."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from aeframe.errors import AeframeError
from aeframe_tabular.column import Column


@dataclass(frozen=True, slots=True)
class Element:
    """One element of x: a real number or a class number."""

    name: str
    """The name of the column, and what the element is if the column has several: ``age (mode)``."""
    classes: int
    """Number of classes; 0 for a real element."""
    column: int
    """Index of its column among the used columns."""


class ColumnCoding(ABC):
    """The coding of one column: `encode` maps its values to k elements of x, `decode` maps them back.

    `elements` depends on the column and the options only, so that the shape of a model is defined before the data are
    split. `learn` estimates the rest from the training split. `encode` and `decode` are deterministic.
    """

    elements: tuple[Element, ...]
    class_element: int | None = None
    """Which of the elements is the class of a category, or mode, spike and missing of a number; None without one."""
    missing_class: int | None = None
    """The number of the class of missing cells; None if the column has none."""
    spike_class: int | None = None
    """The number of the class of the spike; None if the column has none."""

    def __init__(self, column: Column) -> None:
        self.column = column

    @abstractmethod
    def learn(self, values: pd.Series[Any]) -> None:
        """Estimate the coding from the values of the training split."""

    @abstractmethod
    def encode(self, values: pd.Series[Any]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the elements (N, k) and their mask (N, k).

        The mask is False, and the element 0, where a cell has no value for the element. All elements of a missing
        cell are masked if the column has no class for missing cells.
        """

    @abstractmethod
    def decode(self, x: NDArray[np.float32], seed: int = 0) -> pd.Series[Any]:
        """Return values (N,) in the type of the typed frame, from elements (N, k).

        Class numbers are rounded to the nearest class. A NaN is decoded to a missing cell.

        Args:
            x: Elements.
            seed: Seed of the draws among grouped classes.
        """

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return what `learn` estimated, as values that JSON can represent."""

    @abstractmethod
    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned."""

    def _not_learned(self) -> AeframeError:
        return AeframeError(
            f"the coding of column '{self.column.name}' was not estimated yet; call learn with the training split, "
            "or load_state"
        )


def nearest_class(x: NDArray[np.float32], classes: int) -> NDArray[np.int64]:
    """Return class numbers (N,) in 0..classes-1 from elements (N,); -1 where x is NaN."""
    numbers = np.clip(np.rint(x), 0, classes - 1)
    numbers[np.isnan(x)] = -1
    return numbers.astype(np.int64)
