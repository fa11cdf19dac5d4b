"""Dictionaries of which a given number of features speaks: for each sample, or on average over a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from aeframe.devices import gather_rows, num_devices
from aeframe.errors import AeframeError
from aeframe.parts.latents.sparse.dictionary import Dictionary, keep_top
from aeframe.parts.schedules import Schedule, fixed
from aeframe.types import Shape


class TopK(Dictionary):
    """The k loudest features speak for each sample (Gao et al. 2024, arXiv 2406.04093).

    Their equation keeps the k largest pre-activations whatever their sign; like their code, this one keeps positive
    ones only, so that a sample may have fewer than k.

    Args:
        feature_shape: ``(C, *positions)``, flattened.
        dim: How many features the dictionary has.
        k: How many of them speak.
        auxk: Weight of the term that revives dead features, see `Dictionary`; a number or a schedule.
        dead_after: A feature is dead when it was silent for so many training samples.
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
        super().__init__(feature_shape, dim=dim, speaking=k / dim, auxk=auxk, dead_after=dead_after)
        self.k = k

    def code(self, before: Tensor, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return keep_top(before.relu(), self.k), {}


class BatchTopK(TopK):
    """The k B loudest features of a training batch of B speak (Bussmann, Leask & Nanda 2024, arXiv 2412.06410).

    So a sample that needs more of them has more, and k is the average. In evaluation, where a sample shall not depend
    on its neighbours, those speak that reach a threshold: the average over training batches of the quietest that
    spoke. The batch is that of all devices.

    Args:
        feature_shape: ``(C, *positions)``, flattened.
        dim: How many features the dictionary has.
        k: How many of them speak, on average.
        decay: Of the threshold's moving average, for each batch.
        auxk: Weight of the term that revives dead features, see `Dictionary`; a number or a schedule.
        dead_after: A feature is dead when it was silent for so many training samples.
    """

    name = "batch_topk"
    threshold: Tensor
    """``()``; -1 before the first batch."""

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

    def code(self, before: Tensor, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        loud = before.relu()
        threshold = self._quietest(loud.detach()) if self.training else self.threshold
        if self.learns(loud):
            self.threshold.copy_(
                torch.where(self.threshold < 0, threshold, torch.lerp(threshold, self.threshold, self.decay))
            )
        return loud * (loud >= threshold), {}

    def _quietest(self, loud: Tensor) -> Tensor:
        """Return ``()``: the k-th loudest of a sample's on average, in the batch of all devices."""
        speaking = self.k * len(loud) * num_devices()
        # All the batch's loudest may be on one device, and no device has more than those.
        candidates = gather_rows(loud.flatten().topk(min(speaking, loud.numel())).values)
        return candidates.topk(speaking).values[-1]
