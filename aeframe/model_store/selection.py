"""New samples that fulfil comparisons of their columns: `condition_of` and `sample_where`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from aeframe.data.where import Where
from aeframe.errors import AeframeError
from aeframe.model_store.inputs import Condition, as_condition
from aeframe.model_store.trained_model import TrainedModel

_RAREST = 10_000
"""Draws of which at least one must be accepted."""
_MIN_DRAWS = 50_000
"""Draws after which a rate is low with some certainty: at twice the lowest, 97 % of runs have accepted enough."""


@dataclass(slots=True)
class Acceptance:
    """How many draws were accepted so far."""

    accepted: int = 0
    drawn: int = 0
    """Draws up to the last one that was accepted, or all while more are needed."""

    def __str__(self) -> str:
        return f"{self.accepted:,} of {self.drawn:,} draws ({100 * self.accepted / max(1, self.drawn):.3g} %)"


def condition_of(model: TrainedModel, where: Sequence[Where]) -> tuple[Any, list[Where]]:
    """Return the condition that comparisons state, and those that remain.

    Args:
        model: The model.
        where: The comparisons. Those of columns that the model was trained with as its condition are equalities.

    Returns:
        The condition of all samples, as `TrainedModel.decode` takes it; None if no comparison is about it.

    Raises:
        AeframeError: Another operator than ``=``, or a part of the columns of the condition only.
    """
    columns = _condition_columns(model)
    stated = [each for each in where if each.column in columns]
    rest = [each for each in where if each.column not in columns]
    if not stated:
        return None, rest
    who = f"model '{model.name}' was trained with {', '.join(columns)} as its condition"
    for each in stated:
        if not each.is_equality:
            raise AeframeError(f"{who}, which takes the operator = only, found '{each}'")
    values = {each.column: each.value for each in stated}
    if len(values) < len(stated):
        twice = next(each for each in reversed(stated) if values[each.column] == each.value)
        raise AeframeError(f"{who}, and column '{twice.column}' has two values; leave out '{twice}'")
    absent = next((name for name in columns if name not in values), None)
    if absent is not None:
        raise AeframeError(f"{who}, found no value for '{absent}'; add --where '{absent}=VALUE'")
    if model.labels.num_classes:
        return next(iter(values.values())), rest
    return _with_numbers(model, values), rest


def condition_numbers(model: TrainedModel, condition: Condition | None, num: int) -> Tensor | None:
    """Return the condition of `num` samples as the model receives it, ``(num, C)``; None for a model without one.

    Raises:
        AeframeError: The condition is missing, of another shape, or has an unknown label or category.
    """
    encoded = model.encoded(condition, num)
    return as_condition(f"model '{model.name}'", encoded, model.spec, num, model.labels)


def sample_where(
    model: TrainedModel,
    num: int,
    where: Sequence[Where],
    acceptance: Acceptance,
    *,
    condition: Condition | None = None,
    batch_size: int = 256,
    draw: bool = False,
) -> Iterator[Tensor]:
    """Yield `num` new samples ``(n, *shape)`` in all that fulfil all comparisons: draw, and leave out the others.

    Samples are drawn with torch's global generator.

    Args:
        model: The model.
        num: The number of samples.
        where: The comparisons.
        acceptance: Counts the draws.
        condition: One condition for all samples, for a model with one.
        batch_size: Samples that are drawn at a time.
        draw: Draw from the likelihood instead of taking its mean.

    Raises:
        AeframeError: A column or class is unknown, or fewer than 1 in 10,000 draws are accepted.
    """
    while (left := num - acceptance.accepted) > 0:
        x = model.decode(model.sample_codes(batch_size), condition=condition, batch_size=batch_size, draw=draw).cpu()
        accepted = model.modality.select(x, where).nonzero()[:, 0][:left]
        acceptance.accepted += len(accepted)
        acceptance.drawn += len(x) if acceptance.accepted < num else int(accepted[-1]) + 1
        if acceptance.drawn >= _MIN_DRAWS and acceptance.accepted * _RAREST < acceptance.drawn:
            columns = ",".join(dict.fromkeys(each.column for each in where))
            raise AeframeError(
                f"{acceptance} fulfil {' and '.join(map(str, where))}, fewer than 1 in {_RAREST:,}; allow more, or "
                f"train with the columns as the condition (data.condition=[{columns}])"
            )
        if len(accepted):
            yield x[accepted]


def _condition_columns(model: TrainedModel) -> tuple[str, ...]:
    """Return the names of the columns of the condition: those of the modality or data, or the label."""
    if model.labels.num_classes:
        label = model.config.get("data", {}).get("label")
        # A condition of covariates and labels cannot be stated by the label alone.
        return (label,) if isinstance(label, str) and model.spec.condition == model.labels.num_classes else ()
    coding = model.data.condition
    return model.modality.condition_columns or (() if coding is None else coding.columns)


def _with_numbers(model: TrainedModel, values: dict[str, str]) -> dict[str, Any]:
    """Return the values of a condition, those of columns of numbers as numbers."""
    coding = model.data.condition
    if model.modality.condition_columns or coding is None:
        return dict(values)
    numeric = {name for name, names in zip(coding.columns, coding.categories, strict=True) if names is None}
    return {name: Where(name, "=", value).number() if name in numeric else value for name, value in values.items()}
