"""Select the cells that can be used: those with a problem are refused or left out, and what is changed is noted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from aeframe.data.file_samples import OnError
from aeframe.data.notes import Notes
from aeframe.errors import AeframeError
from aeframe_omics.cells import CellMetadata, Roles, Rows
from aeframe_omics.check_cells import CellCheck, Problem, Tables, ValueRule, check_cells
from aeframe_omics.counts import Counts
from aeframe_omics.covariates import Covariates

Origin = Literal["training", "file", "memory"]
"""Where cells come from: the data of a run, or what a trained model reads or receives. Errors name their options."""
_LIBRARY = "the library"


@dataclass(frozen=True, slots=True)
class UsableCells:
    """The cells of a table that can be used."""

    totals: NDArray[Any]
    """``(N,)`` total counts of all cells; NaN for those that cannot be used, and for those not checked."""
    rows: Rows
    """The cells that can be used, ascending."""
    problems: Sequence[Problem]
    """The problems of the others, by row."""

    @property
    def skipped(self) -> list[str]:
        """The message for each cell with a problem."""
        return [problem.message for problem in self.problems]


@dataclass(frozen=True, slots=True)
class CellSelection:
    """Check cells, and select those that can be used.

    Args:
        rule: The values that cells may have.
        roles: The columns of ``obs`` that are checked.
        covariates: Those whose missing and unseen values are problems; None if they are none.
        origin: Where the cells come from.
        notes: Receives what is changed or left out.
    """

    rule: ValueRule
    roles: Roles
    covariates: Covariates | None
    origin: Origin
    notes: Notes

    def select(
        self,
        metadata: CellMetadata,
        counts: Counts,
        views: Tables,
        rows: Rows,
        *,
        on_error: OnError,
        other_counts: Callable[[], Sequence[str]],
    ) -> UsableCells:
        """Return which of the cells `rows` can be used.

        Args:
            metadata: Metadata of all cells.
            counts: Counts of all cells, not rounded.
            views: Tables of all cells.
            rows: The cells to check, ascending.
            on_error: ``raise`` stops at the first cell with a problem.
            other_counts: See `CellTable.other_counts`.

        Raises:
            AeframeError: With ``raise``, the first cell with a problem; no cell is left.
        """
        raises = on_error == "raise"
        check = check_cells(metadata, counts, views, rows, rule=self.rule, first_only=raises)
        problems = {problem.row: problem for problem in self._column_problems(metadata, rows)}
        problems |= {problem.row: problem for problem in check.problems}
        by_row = [problems[row] for row in sorted(problems)]
        if by_row and raises:
            first = check.problems[0] if check.problems else by_row[0]
            raise AeframeError(f"{first.message}; {self.next_step(first, other_counts())}")
        if len(by_row) == len(rows):
            raise self.none_left(metadata, "", by_row, len(rows), other_counts())
        self._note(metadata, check)
        totals = np.full(len(metadata.obs), np.nan)
        totals[rows] = check.totals
        totals[list(problems)] = np.nan
        kept = rows[~np.isnan(totals[rows])]
        return UsableCells(totals, kept, by_row)

    def none_left(
        self, metadata: CellMetadata, split: str, problems: Sequence[Problem], num: int, other_counts: Sequence[str]
    ) -> AeframeError:
        """Return the error for cells or a split of which all cells have problems."""
        where = f" for the {split} split" if split else ""
        return AeframeError(
            f"{metadata.origin} has no usable cell{where}: {len(problems)} of {num} cells are left out, the first "
            f"since {problems[0].message}; {self.next_step(problems[0], other_counts, can_skip=False)}"
        )

    def next_step(self, problem: Problem, other_counts: Sequence[str], *, can_skip: bool = True) -> str:
        """Return what to do about a cell with a problem.

        Args:
            problem: The problem.
            other_counts: The other matrices that have counts.
            can_skip: Whether leaving such cells out is an option.
        """
        steps = self._remedies(problem, other_counts)
        if can_skip and self.origin != "memory":
            steps.append(
                "set modality.on_error=skip to leave such cells out of training"
                if self.origin == "training"
                else "leave such cells out by --on-error skip (in Python on_error='skip')"
            )
        return ", or ".join(steps)

    def _remedies(self, problem: Problem, other_counts: Sequence[str]) -> list[str]:
        if problem.kind == "column":
            if self.origin == "training":
                return ["correct it", *_column_options(problem)]
            return ["correct it"]
        if problem.kind == "empty" and self.origin == "training":
            return ["set data.min_counts=1 to leave out empty cells"]
        if problem.kind not in ("fraction", "negative"):
            return ["correct or remove it"]
        if other_counts:
            where = " and ".join(name if name in ("raw", "X") else f"layer '{name}'" for name in other_counts)
            choice = "leave out data.layer" if other_counts[0] == "X" else f"set data.layer={other_counts[0]}"
            step = choice if self.origin == "training" else "move them to where the counts of training were"
            return [f"take the counts that are in {where}: {step}"]
        if self.origin != "training":
            option = ["read estimates of counts with --option fractions=round"] if problem.kind == "fraction" else []
            return ["correct it: the model was trained on counts", *option]
        estimates = "keep" if self.rule.values == "log" else "round"
        steps = ["set modality.values=real loss=gaussian encoder=mlp if the values are normalised already"]
        if problem.kind == "fraction":
            steps.append(f"modality.fractions={estimates} if they are estimates of counts (SoupX, RSEM, kallisto)")
        return steps

    def _column_problems(self, metadata: CellMetadata, rows: Rows) -> list[Problem]:
        found = [] if self.covariates is None else self.covariates.problems(metadata, rows)
        if self.roles.library is not None:
            library = metadata.numbers(self.roles.library, _LIBRARY)
            for row in rows[~(library[rows] > 0)].tolist():
                message = (
                    f"{metadata.name_cell(row)} has {_LIBRARY} {library[row]:g} in column '{self.roles.library}' of "
                    "obs, expected more than 0"
                )
                found.append(Problem(row, "column", message))
        return found

    def _note(self, metadata: CellMetadata, check: CellCheck) -> None:
        if check.num_fractions:
            done = "rounded to the nearest" if self.rule.fractions == "round" else "kept"
            self.notes.add(
                f"{metadata.origin}: {check.num_fractions} of {check.num_values} values are not whole numbers; they "
                f"are {done} (modality.fractions={self.rule.fractions})"
            )


def _column_options(problem: Problem) -> list[str]:
    if f"has {_LIBRARY} " in problem.message:
        return ["leave out data.library to sum the counts"]
    options = ["set modality.unseen=unknown to use the mean of training"]
    if "has no value" in problem.message:
        options.append("set modality.missing=category to make such cells a category")
    return options
