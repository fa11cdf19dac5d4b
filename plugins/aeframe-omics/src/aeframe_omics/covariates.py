"""Encode the covariates of cells that condition the decoder: one-hot categories and standardised numbers.

The covariates are columns of ``obs``, the table of the cells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.errors import AeframeError, did_you_mean
from aeframe_omics.cells import CellMetadata, Roles, Rows, recode
from aeframe_omics.check_cells import Problem

Unseen = Literal["refuse", "unknown"]
Missing = Literal["refuse", "category"]
MISSING_CATEGORY = "(missing)"
"""The category of cells without a value, with ``missing=category``."""


@dataclass(frozen=True, slots=True)
class Covariates:
    """Statistics of the covariates over the training cells, with which the covariates of all cells are encoded."""

    shares: dict[str, dict[str, float]]
    """By categorical column: the fraction of the training cells in each category."""
    scales: dict[str, tuple[float, float]]
    """By continuous column: mean and standard deviation over the training cells."""
    missing: Missing = "refuse"
    """Whether cells without a value of a categorical column have a category of their own."""

    @classmethod
    def learn(
        cls, metadata: CellMetadata, roles: Roles, train: Rows, *, missing: Missing = "refuse", kept: Rows | None = None
    ) -> Covariates:
        """Compute the statistics of the training cells; those without a value have no part in them.

        Args:
            metadata: Metadata of all cells.
            roles: The columns.
            train: The training cells, whose categories are those of the model.
            missing: See `Covariates.missing`.
            kept: The training cells that can be used, of which the statistics are; None for all.

        Raises:
            AeframeError: A column that is missing, not numeric, or without a value in any training cell.
        """
        kept = train if kept is None else kept
        shares: dict[str, dict[str, float]] = {}
        for name in roles.categorical:
            codes, categories = _categories(metadata, name, missing)
            present = np.unique(codes[train][codes[train] >= 0])
            if not len(present):
                raise AeframeError(f"{metadata.origin}: column '{name}' in obs has no value in any training cell")
            counts = np.bincount(codes[kept][codes[kept] >= 0], minlength=len(categories))
            shares[name] = {categories[k]: float(counts[k] / max(counts.sum(), 1)) for k in present.tolist()}
        scales = {}
        for name in roles.continuous:
            values = metadata.numbers(name, "a continuous covariate")[kept]
            values = values[np.isfinite(values)]
            if not len(values):
                raise AeframeError(f"{metadata.origin}: column '{name}' in obs has no value in any training cell")
            # With deviation 1, a constant column is encoded as 0.
            scales[name] = float(values.mean()), float(values.std()) or 1.0
        return cls(shares, scales, missing)

    @property
    def width(self) -> int:
        """The number of columns of the encoded covariates."""
        return sum(len(shares) for shares in self.shares.values()) + len(self.scales)

    def problems(self, metadata: CellMetadata, rows: Rows) -> list[Problem]:
        """Return the cells without a value, or with a category without training cells, by row.

        Args:
            metadata: Metadata of all cells.
            rows: The cells to check.

        Raises:
            AeframeError: A column is missing.
        """
        found: dict[int, Problem] = {}
        for name in self.shares:
            codes, categories = _categories(metadata, name, self.missing)
            known = list(self.shares[name])
            for row in rows[recode(codes, categories, known)[rows] < 0].tolist():
                category = None if codes[row] < 0 else categories[codes[row]]
                near = "" if category is None else did_you_mean(category, known)
                value = "no value" if category is None else f"'{category}'"
                message = (
                    f"{metadata.name_cell(row)} has {value} in column '{name}' of obs{near}, expected one of the "
                    f"categories of the training cells ({', '.join(known)})"
                )
                found.setdefault(row, Problem(row, "column", message))
        for name in self.scales:
            values = metadata.numbers(name, "a continuous covariate")[rows]
            for row in rows[~np.isfinite(values)].tolist():
                message = f"{metadata.name_cell(row)} has no finite '{name}' in obs"
                found.setdefault(row, Problem(row, "column", message))
        return [found[row] for row in sorted(found)]

    def encode(self, metadata: CellMetadata, rows: Rows) -> Tensor | None:
        """Return the encoded covariates ``(rows, width)``, or None if there are none.

        Missing values and categories without training cells (see `problems`) are encoded as the mean over the training
        cells, and so is a categorical column that is missing.

        Args:
            metadata: Metadata of all cells.
            rows: The cells to encode.

        Raises:
            AeframeError: A continuous column is missing.
        """
        if not self.width:
            return None
        blocks = [self._one_hot(metadata, rows, name) for name in self.shares]
        for name, (mean, deviation) in self.scales.items():
            values = (metadata.numbers(name, "a continuous covariate")[rows] - mean) / deviation
            blocks.append(np.where(np.isfinite(values), values, 0.0)[:, None])
        return torch.from_numpy(np.concatenate(blocks, 1).astype(np.float32))

    def _one_hot(self, metadata: CellMetadata, rows: Rows, name: str) -> NDArray[np.float64]:
        shares = self.shares[name]
        mean = np.array(list(shares.values()))
        if not metadata.has_column(name):
            return np.tile(mean, (len(rows), 1))
        codes, categories = _categories(metadata, name, self.missing)
        # Code -1 selects the last row, the mean.
        return np.concatenate([np.eye(len(shares)), mean[None]])[recode(codes, categories, list(shares))[rows]]

    def num_missing(self, metadata: CellMetadata, rows: Rows) -> dict[str, int]:
        """Return the number of the cells `rows` without a value, by categorical column with such cells."""
        found = {}
        for name in self.shares:
            if metadata.has_column(name):
                codes, _ = metadata.categories(name, "a categorical covariate")
                found[name] = int((codes[rows] < 0).sum())
        return {name: num for name, num in found.items() if num}

    def state(self) -> dict[str, Any]:
        """Return the statistics as plain values."""
        return {"shares": self.shares, "scales": {name: list(scale) for name, scale in self.scales.items()}}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], missing: Missing = "refuse") -> Covariates:
        """Return the covariates with the statistics that `state` returned."""
        scales = {name: (mean, std) for name, (mean, std) in state["scales"].items()}
        return cls(dict(state["shares"]), scales, missing)


def _categories(metadata: CellMetadata, name: str, missing: Missing) -> tuple[Rows, tuple[str, ...]]:
    """Return a column as codes and names of categories; with ``missing=category``, no code is -1."""
    codes, categories = metadata.categories(name, "a categorical covariate")
    if missing == "refuse" or not (codes < 0).any():
        return codes, categories
    return np.where(codes < 0, len(categories), codes), (*categories, MISSING_CATEGORY)
