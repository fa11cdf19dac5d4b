"""What the decoder is told of a cell beside z: categories as one-hot vectors, numbers standardised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe_omics.cells import Known, Roles, Rows

Unseen = Literal["refuse", "unknown"]


@dataclass(frozen=True, slots=True)
class Covariates:
    """The categories that training cells have, and how their numbers lie."""

    shares: dict[str, dict[str, float]]
    """By column: each category and the fraction of the training cells that have it."""
    scales: dict[str, tuple[float, float]]
    """By column: mean and standard deviation over the training cells."""

    @classmethod
    def learn(cls, known: Known, roles: Roles, train: Rows) -> Covariates:
        """Learn them from the training cells."""
        shares: dict[str, dict[str, float]] = {}
        for name in roles.categorical:
            codes, words = known.words(name, "a categorical covariate")
            counts = np.bincount(codes[train][codes[train] >= 0], minlength=len(words))
            if not counts.any():
                raise AeframeError(f"{known.origin}: column '{name}' in obs has no value in any training cell")
            shares[name] = {words[k]: float(counts[k] / counts.sum()) for k in np.flatnonzero(counts)}
        scales = {}
        for name in roles.continuous:
            values = known.numbers(name, "a continuous covariate")[train]
            if not np.isfinite(values).all():
                row = int(train[np.flatnonzero(~np.isfinite(values))[0]])
                raise AeframeError(f"{known.cell(row)} has no finite '{name}' in obs; fill it in or drop the cell")
            # A column that does not vary says nothing: it comes as 0.
            scales[name] = float(values.mean()), float(values.std()) or 1.0
        return cls(shares, scales)

    @property
    def width(self) -> int:
        """How many numbers they are together."""
        return sum(len(shares) for shares in self.shares.values()) + len(self.scales)

    def encode(self, known: Known, rows: Rows, unseen: Unseen) -> Tensor | None:
        """Return ``(rows, width)``; None where there are none.

        A category that no training cell has, or none at all, is refused or ``unknown``: it comes as the mean of the
        training cells' one-hot vectors, the mixture that the decoder has learned the parts of.

        Raises:
            AeframeError: A category that is refused, a column or a number that is missing.
        """
        if not self.width:
            return None
        blocks = [self._one_hot(known, rows, name, unseen) for name in self.shares]
        for name, (mean, deviation) in self.scales.items():
            values = (known.numbers(name, "a continuous covariate")[rows] - mean) / deviation
            missing = ~np.isfinite(values)
            if missing.any() and unseen == "refuse":
                raise AeframeError(
                    f"{known.cell(int(rows[np.flatnonzero(missing)[0]]))} has no finite '{name}' in obs; fill it in, "
                    "or set modality.unseen=unknown to take the mean"
                )
            blocks.append(np.where(missing, 0.0, values)[:, None])
        return torch.from_numpy(np.concatenate(blocks, 1).astype(np.float32))

    def _one_hot(self, known: Known, rows: Rows, name: str, unseen: Unseen) -> NDArray[np.float64]:
        shares = self.shares[name]
        learned = list(shares)
        mixture = np.array(list(shares.values()))
        if unseen == "unknown" and not known.has(name):
            return np.tile(mixture, (len(rows), 1))
        codes, words = known.words(name, "a categorical covariate")
        place = np.array([learned.index(word) if word in shares else -1 for word in words] + [-1])
        found = place[codes[rows]]
        if (found < 0).any() and unseen == "refuse":
            row = int(rows[np.flatnonzero(found < 0)[0]])
            what = "no value" if codes[row] < 0 else f"'{words[codes[row]]}'"
            raise AeframeError(
                f"{known.cell(row)} has {what} in column '{name}' of obs, which no training cell has (they have "
                f"{', '.join(learned)}); correct it, or set modality.unseen=unknown to take the mean of those"
            )
        return np.concatenate([np.eye(len(learned)), mixture[None]])[found]

    def state(self) -> dict[str, Any]:
        """Return them as plain values."""
        return {"shares": self.shares, "scales": {name: list(scale) for name, scale in self.scales.items()}}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Covariates:
        """Take back what `state` gave."""
        return cls(dict(state["shares"]), {name: (mean, std) for name, (mean, std) in state["scales"].items()})
