"""How well a classifier or regressor that is trained on synthetic rows predicts a column of real rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from aeframe.errors import AeframeError, did_you_mean
from aeframe_tabular.column import Column
from aeframe_tabular.quality.cells import (
    Floats,
    class_numbers_of,
    numbers_of,
    sample_rows,
    used_columns,
)

_MAX_ROWS = 20_000
"""The largest number of rows for training, and for testing."""
_MAX_CATEGORIES = 254
"""The largest number of classes of a feature that scikit-learn's trees divide, without the one for all others."""
_MAX_TARGET_CLASSES = 20
"""The largest number of classes of the target; the time of training is proportional to it."""
_MIN_ROWS = 10
"""The smallest number of rows with a present target for training, and for testing."""


@dataclass(frozen=True, slots=True)
class UtilityScores:
    """The score of predictions of a column of real rows, after training on synthetic rows and on real ones."""

    synthetic: float
    """After training on synthetic rows."""
    real: float
    """After training on as many real rows."""
    target: str
    """The name of the predicted column."""
    num_train: int
    """The number of rows of either training set."""
    num_test: int
    """The number of real rows that are predicted."""
    score: str = "AUC"
    """``AUC``: area under the ROC curve, of more than two classes the mean over one class against the others; of
    numbers ``R2``: coefficient of determination."""

    def protocol(self) -> str:
        """Return in words what was measured."""
        return (
            f"{self.score} of gradient-boosted trees that predict '{self.target}' of {self.num_test} held-out rows "
            f"from the other columns, trained on {self.num_train} rows"
        )


def utility_scores(
    real_train: pd.DataFrame,
    real_test: pd.DataFrame,
    synthetic: pd.DataFrame,
    columns: Sequence[Column],
    *,
    target: str | None = None,
    max_rows: int = _MAX_ROWS,
    seed: int = 0,
) -> UtilityScores:
    """Return how well a column of held-out rows is predicted after training on synthetic rows, and on real ones.

    Both training sets have the same number of rows, drawn at random; rows whose target is missing are left out. The
    models are scikit-learn's histogram-based gradient-boosted trees, with their native categories and missing values.
    A target of more than 20 classes has the 20 most frequent and one for all others.

    Args:
        real_train: Real rows for training.
        real_test: Other real rows, which are predicted.
        synthetic: Synthetic rows for training.
        columns: The columns of all.
        target: The name of the column that is predicted; None for the default (`default_target`).
        max_rows: The largest number of rows for training, and for testing.
        seed: Seed of the drawn rows, and of the trees.

    Raises:
        AeframeError: There is no such target, no other column, too few rows, or the target of the real rows is
            constant.
    """
    used = used_columns(columns, real_train, real_test, synthetic)
    predicted = _target(used, target)
    features = tuple(column for column in used if column.name != predicted.name)
    present = [frame[_target_present(frame, predicted)] for frame in (real_train, real_test, synthetic)]
    num_train = min(len(present[0]), len(present[2]), max_rows)
    train, test, drawn = (
        sample_rows(frame, num, seed) for frame, num in zip(present, (num_train, max_rows, num_train), strict=True)
    )
    if not features or min(num_train, len(test)) < _MIN_ROWS:
        raise AeframeError(
            f"utility requires a column besides the target '{predicted.name}' and at least {_MIN_ROWS} rows where it "
            f"is present, found {len(features)} other columns, {num_train} rows for training and {len(test)} for "
            "testing; choose another target, or more rows"
        )
    kept = {column.name: _frequent_classes(train, column, _MAX_CATEGORIES) for column in features if _unordered(column)}
    x = [_features(frame, features, kept) for frame in (train, test, drawn)]
    if predicted.is_discrete:
        frequent = _frequent_classes(train, predicted, _MAX_TARGET_CLASSES)
        y = [_grouped(class_numbers_of(frame, predicted), frequent) for frame in (train, test, drawn)]
        score = "AUC"
    else:
        y = [numbers_of(frame, predicted) for frame in (train, test, drawn)]
        score = "R2"
    if len(np.unique(y[1])) < 2:
        raise AeframeError(
            f"utility requires a target with different values in the held-out rows, found '{predicted.name}' with "
            f"one in {len(test)} rows; choose another target, or more rows"
        )
    categorical = [_unordered(column) for column in features]
    evaluate = _auc if score == "AUC" else _r2
    scores = []
    for i in (2, 0):
        # Scikit-learn refuses a feature without present cells; a constant one is never divided.
        absent = np.isnan(x[i]).all(0)
        scores.append(evaluate(np.where(absent, 0.0, x[i]), y[i], np.where(absent, 0.0, x[1]), y[1], categorical, seed))
    return UtilityScores(scores[0], scores[1], predicted.name, num_train, len(test), score)


def default_target(columns: Sequence[Column]) -> Column | None:
    """Return the last column of classes, without any the last one of numbers; None for a table of dates only."""
    discrete = [column for column in columns if column.is_discrete]
    numbers = [column for column in columns if column.kind in ("number", "integer")]
    return next(iter(discrete[-1:] + numbers[-1:]), None)


def _target(columns: Sequence[Column], name: str | None) -> Column:
    by_name = {column.name: column for column in columns}
    found = default_target(columns) if name is None else by_name.get(name)
    if found is None:
        what = "a column of classes or numbers" if name is None else f"one of the columns of the model, found '{name}'"
        raise AeframeError(
            f"the target of utility is {what}{'' if name is None else did_you_mean(name, by_name)}; columns: "
            f"{', '.join(list(by_name)[:20])}"
        )
    return found


def _target_present(frame: pd.DataFrame, column: Column) -> Any:
    if column.is_numeric:
        return ~np.isnan(numbers_of(frame, column))
    return class_numbers_of(frame, column) < len(column.classes)


def _unordered(column: Column) -> bool:
    """Return whether the trees divide the classes of a feature into any two sets."""
    return column.kind in ("boolean", "category")


def _frequent_classes(frame: pd.DataFrame, column: Column, num: int) -> Any:
    """Return the numbers of the `num` most frequent classes of a column, ascending."""
    counts = np.bincount(class_numbers_of(frame, column), minlength=len(column.classes))[: len(column.classes)]
    return np.sort(np.argsort(-counts, kind="stable")[:num])


def _grouped(classes: Any, kept: Any) -> Any:
    """Return the position in `kept` of each class number ``(N,)``; of all others the number of kept classes."""
    positions = np.searchsorted(kept, classes)
    return np.where(np.isin(classes, kept), positions, len(kept))


def _features(frame: pd.DataFrame, columns: Sequence[Column], kept: dict[str, Any]) -> Floats:
    """Return the features ``(N, D)``, NaN where missing: numbers, and the positions of classes."""
    features = []
    for column in columns:
        if column.is_numeric:
            features.append(numbers_of(frame, column))
            continue
        classes = class_numbers_of(frame, column)
        values = _grouped(classes, kept[column.name]) if column.name in kept else classes
        features.append(np.where(classes >= len(column.classes), np.nan, values))
    return np.stack(features, axis=1)


def _auc(x: Floats, y: Any, x_test: Floats, y_test: Any, categorical: list[bool], seed: int) -> float:
    """Return the AUC of each class of the test rows against the others, averaged; of two classes both are the same.

    A class that does not occur in training has probability 0, so its AUC is 0.5.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score

    classes = np.unique(y_test)
    probabilities = np.zeros((len(x_test), int(max(y.max(), y_test.max())) + 1))
    if len(np.unique(y)) > 1:
        model = HistGradientBoostingClassifier(
            categorical_features=categorical, early_stopping=False, random_state=seed
        ).fit(x, y)
        probabilities[:, model.classes_.astype(np.int64)] = model.predict_proba(x_test)
    return float(np.mean([roc_auc_score(y_test == each, probabilities[:, each]) for each in classes]))


def _r2(x: Floats, y: Any, x_test: Floats, y_test: Any, categorical: list[bool], seed: int) -> float:
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(categorical_features=categorical, early_stopping=False, random_state=seed)
    return float(model.fit(x, y).score(x_test, y_test))
