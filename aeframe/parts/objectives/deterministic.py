"""The deterministic objective: the reconstruction and the loss terms of the latent, without a prior."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from aeframe.parts.objectives.base import Objective, reconstruction_terms
from aeframe.tensors import broadcast_mask
from aeframe.types import ForwardOutput, LossTerms, Model, TrainingProgress


class Deterministic(Objective):
    """Minimise the reconstruction and the loss terms of the latent (commitment, ...).

    Args:
        counts: The elements that the reconstruction term sums over: ``all``, or only those ``hidden`` by the
            corruption, as in a masked autoencoder (He et al. 2022, arXiv 2111.06377). Where nothing was hidden, such as
            in held-out samples without corruption, it sums over all.
    """

    def __init__(self, *, counts: Literal["all", "hidden"] = "all") -> None:
        super().__init__()
        self.counts = counts

    def forward(self, model: Model, out: ForwardOutput, progress: TrainingProgress) -> LossTerms:
        # True for the elements that the corruption has hidden from the encoder; absent if it hides none.
        hidden = out.encoder_input.extras.get("hidden")
        if self.counts == "hidden" and hidden is not None:
            mask = hidden if out.batch.mask is None else hidden & broadcast_mask(out.batch.mask, hidden.ndim)
            out = replace(out, reconstruction=model.loss(out.output, replace(out.batch, mask=mask)))
        return reconstruction_terms(model, out, progress)
