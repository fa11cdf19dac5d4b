"""Encode the covariates of cells that condition the decoder: one-hot categories and standardised numbers.

The covariates are columns of ``obs``, the table of the cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.errors import AeframeError, did_you_mean
from aeframe_omics.cells import CellMetadata, Roles, Rows

Unseen = Literal["refuse", "unknown"]


@dataclass(frozen=True, slots=True)
class Covariates:
    """Statistics of the covariates over the training cells, with which the covariates of all cells are encoded."""

    shares: dict[str, dict[str, float]]
    """By categorical column: the fraction of the training cells in each category."""
    scales: dict[str, tuple[float, float]]
    """By continuous column: mean and standard deviation over the training cells."""

    @classmethod
    def learn(cls, metadata: CellMetadata, roles: Roles, train: Rows) -> Covariates:
        """Compute the statistics of the training cells.

        Raises:
            AeframeError: A column that is missing, not numeric or empty, or a number that is not finite.
        """
        shares: dict[str, dict[str, float]] = {}
        for name in roles.categorical:
            codes, categories = metadata.categories(name, "a categorical covariate")
            counts = np.bincount(codes[train][codes[train] >= 0], minlength=len(categories))
            if not counts.any():
                raise AeframeError(f"{metadata.origin}: column '{name}' in obs has no value in any training cell")
            shares[name] = {categories[k]: float(counts[k] / counts.sum()) for k in np.flatnonzero(counts)}
        scales = {}
        for name in roles.continuous:
            values = metadata.numbers(name, "a continuous covariate")[train]
            if not np.isfinite(values).all():
                row = int(train[np.flatnonzero(~np.isfinite(values))[0]])
                raise AeframeError(
                    f"{metadata.name_cell(row)} has no finite '{name}' in obs; fill it in or remove the cell"
                )
            # With deviation 1, a constant column is encoded as 0.
            scales[name] = float(values.mean()), float(values.std()) or 1.0
        return cls(shares, scales)

    @property
    def width(self) -> int:
        """The number of columns of the encoded covariates."""
        return sum(len(shares) for shares in self.shares.values()) + len(self.scales)

    def encode(self, metadata: CellMetadata, rows: Rows, unseen: Unseen) -> Tensor | None:
        """Return the encoded covariates ``(rows, width)``, or None if there are none.

        Args:
            metadata: Metadata of all cells.
            rows: The cells to encode.
            unseen: Missing values and categories without training cells: ``refuse`` raises an error, ``unknown``
                encodes them as the mean over the training cells.

        Raises:
            AeframeError: A missing column; with ``refuse``, a missing value or an unseen category.
        """
        if not self.width:
            return None
        blocks = [self._one_hot(metadata, rows, name, unseen) for name in self.shares]
        for name, (mean, deviation) in self.scales.items():
            values = (metadata.numbers(name, "a continuous covariate")[rows] - mean) / deviation
            missing = ~np.isfinite(values)
            if missing.any() and unseen == "refuse":
                cell = metadata.name_cell(int(rows[np.flatnonzero(missing)[0]]))
                raise AeframeError(
                    f"{cell} has no finite '{name}' in obs; fill it in, or set modality.unseen=unknown to use the mean"
                )
            blocks.append(np.where(missing, 0.0, values)[:, None])
        return torch.from_numpy(np.concatenate(blocks, 1).astype(np.float32))

    def _one_hot(self, metadata: CellMetadata, rows: Rows, name: str, unseen: Unseen) -> NDArray[np.float64]:
        shares = self.shares[name]
        training_categories = list(shares)
        mean = np.array(list(shares.values()))
        if unseen == "unknown" and not metadata.has_column(name):
            return np.tile(mean, (len(rows), 1))
        codes, categories = metadata.categories(name, "a categorical covariate")
        new_codes = recode(codes, categories, training_categories)[rows]
        if (new_codes < 0).any() and unseen == "refuse":
            row = int(rows[np.flatnonzero(new_codes < 0)[0]])
            category = None if codes[row] < 0 else categories[codes[row]]
            near = "" if category is None else did_you_mean(category, training_categories)
            found = "no value" if category is None else f"'{category}'"
            raise AeframeError(
                f"{metadata.name_cell(row)} has {found} in column '{name}' of obs{near}, expected one of the "
                f"categories of the training cells ({', '.join(training_categories)}); correct it, or set "
                "modality.unseen=unknown to use their mean"
            )
        # Code -1 selects the last row, the mean.
        return np.concatenate([np.eye(len(training_categories)), mean[None]])[new_codes]

    def state(self) -> dict[str, Any]:
        """Return the statistics as plain values."""
        return {"shares": self.shares, "scales": {name: list(scale) for name, scale in self.scales.items()}}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Covariates:
        """Return the covariates with the statistics that `state` returned."""
        return cls(dict(state["shares"]), {name: (mean, std) for name, (mean, std) in state["scales"].items()})


def recode(codes: Rows, categories: Sequence[str], new_categories: Sequence[str]) -> Rows:
    """Return codes of `categories` as codes of `new_categories`; -1 for missing values and other categories."""
    new_code = {category: code for code, category in enumerate(new_categories)}
    # Code -1 (missing) selects the last entry.
    table = np.array([new_code.get(category, -1) for category in categories] + [-1], np.int64)
    return table[codes]
