"""`encode`, `decode` and `score` of a model as modules with tensors as arguments, for export.

Shapes: B samples, `shape` of one sample, `z_shape` of one code z, C numbers of a condition.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from aeframe.evaluation.anomalies import reconstruction_errors
from aeframe.model.autoencoder import Autoencoder
from aeframe.types import Batch

FUNCTIONS = ("encode", "decode", "score")
"""The functions of a model that can be exported."""


class ExportedFunction(nn.Module):
    """A function of a model in evaluation mode. Its arguments are tensors by name, and `extras` a mapping of them.

    Args:
        model: The model.
    """

    outputs: tuple[str, ...]
    """The names of the results."""

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.model = model


class Encode(ExportedFunction):
    """Return z ``(B, *z_shape)``, the mean of the posterior where there is one, and integer codes of a quantiser."""

    def __init__(self, model: Autoencoder) -> None:
        super().__init__(model)
        self.outputs = ("z", "codes") if "codes" in model.latent.provides else ("z",)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        condition: Tensor | None = None,
        extras: Mapping[str, Tensor] | None = None,
    ) -> tuple[Tensor, ...]:
        latent = self.model.embed(Batch(x, mask=mask, condition=condition, extras=dict(extras or {})))
        return (latent.mean,) if latent.codes is None else (latent.mean, latent.codes)


class Decode(ExportedFunction):
    """Return data ``(B, *shape)`` of z ``(B, *z_shape)``: the mean of the likelihood."""

    outputs = ("x",)

    def forward(self, z: Tensor, condition: Tensor | None = None) -> tuple[Tensor, ...]:
        return (self.model.generate(z, condition=condition),)


class Score(ExportedFunction):
    """Return the anomaly score ``(B,)`` by reconstruction, see `aeframe.evaluation.anomalies.reconstruction_errors`.

    It is the loss of the reconstruction from the mean of z, divided by the number of observed elements. Unlike the
    bound of the model it has no random draws.
    """

    outputs = ("score",)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        condition: Tensor | None = None,
        extras: Mapping[str, Tensor] | None = None,
    ) -> tuple[Tensor, ...]:
        batch = Batch(x, mask=mask, condition=condition, extras=dict(extras or {}))
        return (reconstruction_errors(self.model, batch)[0],)


_CLASSES: dict[str, type[ExportedFunction]] = {"encode": Encode, "decode": Decode, "score": Score}


def make_function(name: str, model: Autoencoder) -> ExportedFunction:
    """Return one of `FUNCTIONS` of a model in evaluation mode, without its penalties and critics."""
    own = Autoencoder(
        model.spec,
        corruption=model.corruption,
        encoder=model.encoder,
        latent=model.latent,
        prior=model.prior,
        decoder=model.decoder,
        loss=model.loss,
        objective=model.objective,
        condition_encoder=model.condition_encoder,
    )
    return _CLASSES[name](own).eval()
