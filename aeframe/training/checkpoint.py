"""Whether a checkpoint is one of this model."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from aeframe.errors import AeframeError


def check_fits(own: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Compare the tensors of a checkpoint with those of the model that its run's config describes.

    Args:
        own: The model's state by name.
        found: The checkpoint's.

    Raises:
        AeframeError: The first tensor that is missing, too many or of another shape.
    """
    for name in [*own, *(name for name in found if name not in own)]:
        here, there = _shape(own, name), _shape(found, name)
        if here != there:
            raise AeframeError(
                f"this checkpoint is of another model: '{name.removeprefix('model.')}' is {there} in it and {here} in "
                "the model of this run's config; resume the run that it belongs to"
            )


def _shape(state: Mapping[str, Tensor], name: str) -> str:
    return str(tuple(state[name].shape)) if name in state else "not there"
