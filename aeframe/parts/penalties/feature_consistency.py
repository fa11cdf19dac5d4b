"""Feature consistency: the distance between x and its reconstruction in the features of the model's encoder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Literal

import torch
from torch import Tensor, nn

from aeframe.parts.penalties.base import Penalty, with_reconstruction
from aeframe.parts.schedules import Schedule, fixed
from aeframe.tensors import at_least_float32, per_sample
from aeframe.types import ForwardOutput, Model


class FeatureConsistency(Penalty):
    """The distance between the encoder's features of x and of its reconstruction.

    It trains the decoder to return data with the same features, which matters for an encoder that was trained for
    other tasks. The features of x are a fixed target: gradients flow through the reconstruction only.

    Args:
        distance: ``absolute``: the sum of |f(x) - f(x_hat)| over the features; ``cosine``: 1 - cos of the angle between
            both along the channels, summed over positions.
        detach: Whether the encoder's parameters receive no gradient. Without it, an encoder that is trained could
            reduce the penalty by features that do not depend on x.
    """

    feeds_reconstruction = True

    def __init__(
        self,
        *,
        weight: Schedule = fixed(0.1),
        distance: Literal["absolute", "cosine"] = "absolute",
        detach: bool = True,
    ) -> None:
        super().__init__()
        self.weight, self.distance, self.detach = weight, distance, detach

    def forward(self, model: Model, out: ForwardOutput) -> Tensor:
        with torch.no_grad():
            # The encoder's input is corrupted, or it is the batch itself.
            of_x = out.features if out.encoder_input is out.batch else None
            of_x = at_least_float32(model.encode_features(out.batch) if of_x is None else of_x.detach())
        x_hat = with_reconstruction(model, out.output, out.batch)
        with _frozen(model.encoder) if self.detach else nullcontext():
            of_x_hat = at_least_float32(model.encode_features(x_hat))
        if self.distance == "absolute":
            return per_sample((of_x - of_x_hat).abs())
        return per_sample(1 - torch.cosine_similarity(of_x, of_x_hat, dim=1, eps=1e-6))


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """Exclude the parameters of a module from the graphs that are recorded inside the context."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
