"""`compare_tables`: every score of synthetic rows, with that of held-out real rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from aeframe.data import SampleComparison
from aeframe.errors import AeframeError
from aeframe_tabular.column import Column
from aeframe_tabular.quality.cells import sample_rows, used_columns
from aeframe_tabular.quality.pairs import PairTrends, pair_trends
from aeframe_tabular.quality.privacy import PrivacyScores, privacy_scores
from aeframe_tabular.quality.shapes import ColumnShapes, column_shapes
from aeframe_tabular.quality.utility import UtilityScores, utility_scores
from aeframe_tabular.quality.validity import Validity, row_validity

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NUM_WORST = 3
"""The number of columns and pairs with the lowest scores that are named."""


@dataclass(frozen=True, slots=True)
class TableQuality:
    """The scores of synthetic rows, and those of as many held-out rows: what the true distribution reaches."""

    shapes: ColumnShapes
    pairs: PairTrends
    validity: Validity
    privacy: PrivacyScores
    utility: UtilityScores | None
    """None if no target was named and the default one cannot be predicted; `notes` has the reason."""
    held_out_shapes: ColumnShapes
    held_out_pairs: PairTrends
    held_out_validity: Validity
    num: int
    """The number of synthetic rows, and of held-out ones, whose shapes and pairs were compared."""
    num_train: int
    """The number of training rows that they were compared with."""
    notes: tuple[str, ...] = ()

    def rows(self) -> list[tuple[str, float, float]]:
        """Return the name of each score, its value for synthetic rows, and that for held-out rows."""
        scores = [
            ("column shapes", self.shapes.mean, self.held_out_shapes.mean),
            ("pair trends", self.pairs.mean, self.held_out_pairs.mean),
            ("valid rows", self.validity.rows, self.held_out_validity.rows),
        ]
        if self.utility is not None:
            # The second value: after training on real rows.
            scores.append((f"{self.utility.score} of {self.utility.target}", self.utility.synthetic, self.utility.real))
        synthetic, held_out = self.privacy.synthetic, self.privacy.held_out
        return [
            *scores,
            ("copies of training rows", synthetic.copies, held_out.copies),
            ("distance to training rows, median", synthetic.median, held_out.median),
            ("distance to training rows, 5 %", synthetic.low, held_out.low),
        ]

    def worst(self) -> dict[str, float]:
        """Return the lowest scores by the name of their column, or of both columns of a pair."""
        columns = {name: score for name, score in self.shapes.scores.items() if score < 1.0}
        pairs = {f"{a}, {b}": score for (a, b), score in self.pairs.scores.items() if score < 1.0}
        lowest = [sorted(scores.items(), key=lambda item: item[1])[:_NUM_WORST] for scores in (columns, pairs)]
        return dict(lowest[0] + lowest[1])

    def protocol(self) -> list[str]:
        """Return in words what was compared, a sentence for each kind of score."""
        return [
            f"shapes and pairs: {self.num} synthetic and as many held-out rows, each with {self.num_train} training "
            f"rows; {self.pairs.protocol()}",
            *([] if self.utility is None else [f"utility: {self.utility.protocol()}"]),
            f"privacy: {self.privacy.protocol()}",
            *self.notes,
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {
            "scores": {name: {"synthetic": synthetic, "held_out": real} for name, synthetic, real in self.rows()},
            "shapes": self.shapes.scores,
            "pairs": [{"columns": list(names), "score": score} for names, score in self.pairs.scores.items()],
            "valid": self.validity.columns,
            "protocol": self.protocol(),
        }


def compare_tables(
    real_train: pd.DataFrame,
    real_test: pd.DataFrame,
    synthetic: pd.DataFrame,
    columns: Sequence[Column],
    *,
    target: str | None = None,
    seed: int = 0,
) -> TableQuality:
    """Return every score of synthetic rows, with that of held-out rows.

    Shapes and pairs depend on the number of rows. As many synthetic as held-out rows are therefore compared with the
    training rows; of the larger table they are drawn at random.

    Args:
        real_train: Typed frame of the rows that the model was trained on.
        real_test: Typed frame of real rows that it was not trained on.
        synthetic: Typed frame of its samples.
        columns: The columns of all.
        target: The column that utility predicts; None for the last column of classes, without any the last of numbers.
        seed: Seed of all rows and pairs that are drawn, and of the trees of utility.

    Raises:
        AeframeError: A column or all rows are missing from a frame, or `target` cannot be predicted.
    """
    used_columns(columns, real_train, real_test, synthetic)
    num = min(len(real_test), len(synthetic))
    drawn, held_out = (sample_rows(frame, num, seed) for frame in (synthetic, real_test))
    notes = []
    try:
        utility = utility_scores(real_train, real_test, synthetic, columns, target=target, seed=seed)
    except AeframeError as error:
        if target is not None:
            raise
        utility = None
        notes.append(f"no utility: {error}")
    return TableQuality(
        shapes=column_shapes(real_train, drawn, columns),
        pairs=pair_trends(real_train, drawn, columns, seed=seed),
        validity=row_validity(real_train, synthetic, columns),
        privacy=privacy_scores(real_train, real_test, synthetic, columns, seed=seed),
        utility=utility,
        held_out_shapes=column_shapes(real_train, held_out, columns),
        held_out_pairs=pair_trends(real_train, held_out, columns, seed=seed),
        held_out_validity=row_validity(real_train, real_test, columns),
        num=num,
        num_train=len(real_train),
        notes=tuple(notes),
    )


def sample_comparison(
    real_train: pd.DataFrame,
    real_test: pd.DataFrame,
    synthetic: pd.DataFrame,
    columns: Sequence[Column],
    *,
    reconstructed: pd.DataFrame | None = None,
    target: str | None = None,
    seed: int = 0,
) -> SampleComparison:
    """Return what `Modality.compare_samples` returns for tables: the scores of `compare_tables`, and figures.

    The arguments are those of `compare_tables`; figures have the training rows, and those of `reconstructed`, if any.
    """
    quality = compare_tables(real_train, real_test, synthetic, columns, target=target, seed=seed)

    def draw() -> dict[str, Figure]:
        from aeframe_tabular.quality.figures import draw_tables

        return draw_tables(real_train, synthetic, columns, reconstructed=reconstructed, seed=seed)

    rows = quality.rows()
    return SampleComparison(
        samples={name: score for name, score, _ in rows},
        real={name: score for name, _, score in rows},
        protocol=[*quality.protocol(), f"lowest scores: {_in_words(quality.worst())}"],
        draw=draw,
    )


def _in_words(scores: dict[str, float]) -> str:
    return "; ".join(f"{name} {score:.3f}" for name, score in scores.items()) or "none below 1"
