"""The dataset ``table_simulated``: simulated customers, with columns of all kinds and known dependencies."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from aeframe.data import Dataset
from aeframe.data.random_split import RandomSplit
from aeframe.errors import AeframeError
from aeframe_tabular.column import Column
from aeframe_tabular.inference import infer_columns
from aeframe_tabular.reading import TableOptions
from aeframe_tabular.roles import Roles
from aeframe_tabular.rows import TableRows, TableSplits
from aeframe_tabular.typed import typed_frame

_CITIES = ("Bergen", "Delft", "Ghent", "Porto", "Turku")
_LEVELS = ("low", "medium", "high")
_PLANS = ("basic", "plus", "family")


class TableSimulated(Dataset):
    """Simulated customers: numbers with two modes, amounts that are often 0, categories, a date, missing cells.

    Each customer belongs to one of three segments, which is the column ``plan``; all others depend on it and on age.

    Args:
        rows: The number of customers.
        seed: Seed of the simulation.
        validation: Fraction of the rows for validation.
        test: Fraction of the rows for testing.
        split_seed: Seed of the random split.
    """

    modality: ClassVar[str] = "table"

    def __init__(
        self, *, rows: int = 1000, seed: int = 0, validation: float = 0.1, test: float = 0.1, split_seed: int = 0
    ) -> None:
        if rows < 20:
            raise AeframeError(f"dataset 'table_simulated' needs at least 20 rows, found {rows}")
        self.rows, self.seed = rows, seed
        who = "dataset 'table_simulated'"
        self.split = RandomSplit(who, "rows", validation=validation, test=test, seed=split_seed)

    def describe(self) -> Mapping[str, Any]:
        return {"columns": self.columns, "roles": Roles()}

    @functools.cached_property
    def columns(self) -> tuple[Column, ...]:
        """The columns of the table."""
        return infer_columns(self.frame())

    def load(self) -> TableSplits:
        typed = typed_frame(self.frame(), self.columns)
        rows = self.split.complete({"train": TableRows(typed)}, self.split_record)
        return TableSplits(rows["train"], rows["validation"], rows["test"], self.columns, Roles(), TableOptions())

    def frame(self) -> pd.DataFrame:
        """Return the customers as a data frame."""
        generator = np.random.default_rng(self.seed)
        num = self.rows
        plan = generator.choice(3, num, p=[0.5, 0.3, 0.2])
        age = np.clip(generator.normal(np.array([28, 44, 52])[plan], 7), 18, 90).round().astype(np.int64)
        income = np.exp(generator.normal(np.array([10.2, 10.7, 11.1])[plan], 0.25)).round(2)
        visits = generator.poisson(np.array([2, 6, 11])[plan])
        spend = np.where(visits * generator.random(num) < 1.5, 0.0, income * generator.beta(2, 40, num)).round(2)
        satisfaction = np.clip((generator.normal(0, 1, num) + plan).round(), 0, 2).astype(int)
        days = (age - 18) * 60 + generator.integers(0, 300, num)
        frame = pd.DataFrame(
            {
                "age": age,
                "income": np.where(generator.random(num) < 0.08, np.nan, income),
                "visits": visits,
                "spend": spend,
                "city": np.array(_CITIES)[(plan + generator.integers(0, 3, num)) % len(_CITIES)],
                "plan": np.array(_PLANS)[plan],
                "newsletter": generator.random(num) < np.array([0.2, 0.5, 0.8])[plan],
                "satisfaction": pd.Categorical(np.array(_LEVELS)[satisfaction], categories=list(_LEVELS), ordered=True),
                "joined": pd.Timestamp("2024-06-30") - pd.to_timedelta(days, unit="D"),
            }
        )
        frame["city"] = frame["city"].where(generator.random(num) >= 0.05)
        return frame
