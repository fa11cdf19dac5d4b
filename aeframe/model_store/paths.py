"""Codes and conditions on the paths between samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from aeframe.evaluation.report.interpolation import check_pairs, interpolate
from aeframe.model_store.inputs import Condition, Data

if TYPE_CHECKING:
    from aeframe.model_store.trained_model import TrainedModel


def path_between(
    model: TrainedModel, a: Data, b: Data, steps: int, *, condition: Condition | None = None, batch_size: int = 256
) -> tuple[Tensor, Tensor | None]:
    """Return the codes ``(N * steps, *z_shape)`` and conditions ``(N * steps, C)`` on the paths from a to b.

    Args:
        model: The model.
        a: The N first samples; see `TrainedModel.interpolate`.
        b: The N last samples.
        steps: Number of samples on a path, both ends included.
        condition: One condition for a and b.
        batch_size: Samples that are encoded at a time.

    Returns:
        The codes, path after path, and the conditions, None for a model without one.

    Raises:
        AeframeError: Another number of samples in `b` than in `a`, or fewer than two steps.
    """
    start, end = model.batch_of(a, condition), model.batch_of(b, condition)
    check_pairs(f"model '{model.name}'", len(start), len(end), steps)
    codes = [model.encode(batch, batch_size=batch_size) for batch in (start, end.to(start.x.device))]
    return interpolate(model.model.latent, (codes[0], codes[1]), (start.condition, end.condition), steps)
