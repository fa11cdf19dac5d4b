"""`PenalisedDictionary`: a dictionary with a term ``sparsity``, whose weight is set or reaches a target L0."""

from __future__ import annotations

from aeframe.errors import AeframeError
from aeframe.parts.latents.sparse.dictionary import Dictionary
from aeframe.parts.latents.sparse.l0_controller import L0Controller
from aeframe.parts.schedules import Schedule
from aeframe.types import Shape


class PenalisedDictionary(Dictionary):
    """A dictionary whose number of active features depends on a penalty.

    Args:
        feature_shape: ``(C, *positions)``, flattened.
        dim: Number of features.
        target_l0: L0 that the controller reaches; None for a weight in `sparsity`.
        sparsity: The weight, a number or a schedule; None with `target_l0`.
        rate: Change of the controller's level per batch, for an error of 1.
        auxk: Weight of the term that revives dead features, see `Dictionary`.
        dead_after: Training samples without activity after which a feature is dead.
    """

    controller: L0Controller | None
    """The controller of L0; None with a weight of the user's own."""

    def __init__(
        self,
        feature_shape: Shape,
        *,
        dim: int,
        target_l0: float | None,
        sparsity: Schedule | None,
        rate: float,
        auxk: Schedule,
        dead_after: int,
    ) -> None:
        _check_sparsity(self.name, target_l0, sparsity, dim)
        density = 0.5 if target_l0 is None else target_l0 / dim
        super().__init__(feature_shape, dim=dim, initial_density=density, auxk=auxk, dead_after=dead_after)
        self.controller = None if target_l0 is None else L0Controller(target_l0, rate)
        if sparsity is not None:
            self.weights["sparsity"] = sparsity


def _check_sparsity(latent: str, target_l0: float | None, sparsity: Schedule | None, dim: int) -> None:
    """Raise an error unless exactly one of the options `target_l0` and `sparsity` is set, and can be reached.

    Args:
        latent: The registered name of the latent.
        target_l0: The option, or None.
        sparsity: The option, or None.
        dim: Number of features.
    """
    if target_l0 is None and sparsity is None:
        raise AeframeError(f"latent {latent} needs target_l0 or sparsity, found neither; set latent.target_l0=32")
    if target_l0 is not None and sparsity is not None:
        raise AeframeError(
            f"latent {latent} has target_l0={target_l0:g}, which sets the weight of its term sparsity, and also the "
            "option sparsity; set latent.target_l0=null to use latent.sparsity"
        )
    if target_l0 is not None and not 0 < target_l0 < dim:
        raise AeframeError(
            f"latent {latent} needs target_l0 above 0 and below dim={dim}, found {target_l0:g}; set latent.target_l0 "
            "or latent.dim"
        )
