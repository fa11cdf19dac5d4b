"""Dictionaries with a fixed number of active features: for each sample, or on average over a batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from aeframe.devices import gather_values, num_rows
from aeframe.errors import AeframeError
from aeframe.parts.latents.sparse.dictionary import Dictionary, keep_top
from aeframe.parts.schedules import Schedule, fixed
from aeframe.types import Shape


class TopK(Dictionary):
    """The k features of largest pre-activation are active for each sample (Gao et al. 2024, arXiv 2406.04093).

    The paper's equation keeps the k largest pre-activations of either sign. Like its authors' code, this class keeps
    positive ones only, so that a sample may have fewer than k active features.

    Args:
        feature_shape: ``(C, *positions)``, flattened.
        dim: Number of features.
        k: Number of active features of a sample.
        auxk: Weight of the term that revives dead features, see `Dictionary`; a number or a schedule.
        dead_after: Training samples without activity after which a feature is dead.
    """

    name = "topk"

    def __init__(
        self,
        feature_shape: Shape,
        *,
        dim: int = 1024,
        k: int = 32,
        auxk: Schedule = fixed(1 / 32),
        dead_after: int = 10_000,
    ) -> None:
        if not 1 <= k <= dim:
            raise AeframeError(f"latent {self.name} needs k from 1 to dim={dim}, found {k}; set latent.k or latent.dim")
        super().__init__(feature_shape, dim=dim, initial_density=k / dim, auxk=auxk, dead_after=dead_after)
        self.k = k

    def sparse_code(self, pre_activations: Tensor, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return keep_top(pre_activations.relu(), self.k), {}


class BatchTopK(TopK):
    """The k B largest pre-activations of a training batch of B samples are active (Bussmann, Leask & Nanda 2024, arXiv
    2412.06410).

    The number of active features varies between samples, with mean k. In evaluation a sample must not depend on its
    batch: features above a fixed threshold are active. The threshold is the moving average, over training batches, of
    the smallest active pre-activation. The batch is that of all devices.

    Args:
        feature_shape: ``(C, *positions)``, flattened.
        dim: Number of features.
        k: Number of active features of a sample, on average.
        decay: Decay per batch of the moving average of the threshold.
        auxk: Weight of the term that revives dead features, see `Dictionary`; a number or a schedule.
        dead_after: Training samples without activity after which a feature is dead.
    """

    name = "batch_topk"
    threshold: Tensor
    """``()``: the moving average that evaluation uses; -1 before the first batch."""

    def __init__(
        self,
        feature_shape: Shape,
        *,
        dim: int = 1024,
        k: int = 32,
        decay: float = 0.9,
        auxk: Schedule = fixed(1 / 32),
        dead_after: int = 10_000,
    ) -> None:
        super().__init__(feature_shape, dim=dim, k=k, auxk=auxk, dead_after=dead_after)
        if not 0 <= decay < 1:
            raise AeframeError(f"latent {self.name} needs decay in [0, 1), found {decay}")
        self.decay = decay
        self.register_buffer("threshold", torch.tensor(-1.0))

    def sparse_code(self, pre_activations: Tensor, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        positive = pre_activations.relu()
        threshold = self._batch_threshold(positive.detach()) if self.training else self.threshold
        if self.updates_buffers(positive):
            self.threshold.copy_(
                torch.where(self.threshold < 0, threshold, torch.lerp(threshold, self.threshold, self.decay))
            )
        return positive * (positive >= threshold), {}

    def _batch_threshold(self, positive: Tensor) -> Tensor:
        """Return the smallest active value of the batch of all devices, ``()``."""
        num_active = self.k * num_rows(len(positive))
        # One device may hold all active values, but no device more than that.
        largest = positive.flatten().topk(min(num_active, positive.numel())).values
        candidates = gather_values(F.pad(largest, (0, num_active - len(largest))))
        return candidates.topk(num_active).values[-1]
