"""`freeze`: exclude parts of a model from training."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from aeframe.model.autoencoder import Autoencoder
from aeframe.model.part_names import selected_parts


def freeze(model: Autoencoder, names: Sequence[str]) -> dict[str, nn.Module]:
    """Freeze parts of a model, and return them by name.

    Their parameters require no gradient, and the parts are in evaluation mode: dropout is off, and statistics of
    batches and codebooks in buffers do not change. Gradients still flow through them to other parts.

    Args:
        model: The model.
        names: ``encoder``, ``latent``, ..., ``penalties.LABEL``, ``critics.LABEL``.

    Raises:
        AeframeError: The model has no part of this name.
    """
    parts = selected_parts(model, names, "freeze")
    for part in parts.values():
        part.requires_grad_(False).eval()
    return parts
