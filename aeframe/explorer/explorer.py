"""`Explorer`: what the page of the latent explorer requests, computed from a trained model and an embedding."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from aeframe.data.media import Medium
from aeframe.data.modality import Source
from aeframe.errors import AeframeError
from aeframe.evaluation.report.interpolation import interpolate_codes, interpolate_condition
from aeframe.explorer.embedding import Directions, Embedding, project
from aeframe.model_store.inputs import Condition, FarFromTrainingWarning
from aeframe.model_store.trained_model import TrainedModel
from aeframe.noise import LOADING, noise_of
from aeframe.types import Batch

MAX_NEIGHBOURS, MAX_STEPS, MAX_SAMPLES = 12, 64, 32
"""How many samples one request may decode and draw."""


def _no_condition(num: int) -> Condition | None:
    return None


@dataclass(slots=True)
class Explorer:
    """Reads samples, decodes codes and finds neighbours, one request at a time.

    Positions are those of the points of the map, from 0.
    """

    model: TrainedModel
    source: Source
    embedding: Embedding
    condition: Callable[[int], Condition | None] = _no_condition
    """Returns the condition of so many samples that the user set for all; None takes those of the samples."""
    num_samples: int = 0
    """The number of samples of which those on the map are a random subset; 0 if it is not known."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def why_no_sliders(self) -> str | None:
        """Why codes cannot be moved along straight lines; None if they can."""
        latent = self.model.model.latent
        if "codes" in latent.provides:
            return "The latent has integer codes, which are not moved along straight lines; use a path."
        if latent.space != "euclidean":
            return f"The codes are in {latent.space} space, where straight lines leave it; use a path."
        return None

    @property
    def has_condition(self) -> bool:
        """Whether the decoder takes a condition, so that new samples need one."""
        return bool(self.model.spec.condition)

    def show(self, positions: Tensor) -> list[list[Medium]]:
        """Return how the modality shows the samples at positions ``(n,)``."""
        with self._lock:
            return self._shown(self._batch(positions).nan_masked_x())

    def show_with_reconstruction(self, position: int) -> tuple[list[Medium], list[Medium]]:
        """Return how the modality shows a sample, and its reconstruction, with the same scales."""
        with self._lock:
            batch = self._batch(self.positions([position]))
            with _Quiet():
                x_hat = self.model.reconstruct(batch, condition=self.condition(1))
            original, reconstruction = self._shown_together(batch.nan_masked_x(), x_hat.cpu())
            return original, reconstruction

    def neighbours(self, position: int, num: int = 6) -> list[tuple[int, float]]:
        """Return positions and distances of the samples with the nearest codes, without the sample itself.

        Distances are those of the latent space, as in ``aeframe neighbours``.
        """
        codes = self.embedding.codes
        (at,) = self.positions([position]).tolist()
        distances = self.model.model.latent.distances(codes[at : at + 1], codes)[0]
        # Another sample may have the same code.
        distances[at] = torch.inf
        found = distances.topk(min(num, MAX_NEIGHBOURS, len(codes) - 1), largest=False)
        return list(zip(found.indices.tolist(), found.values.tolist(), strict=True))

    def directions(self, along: str) -> Directions:
        """Return the principal directions, or single numbers of the code."""
        known = {"principal": self.embedding.principal, "numbers": self.embedding.numbers}
        if along not in known:
            raise AeframeError(f"the explorer moves codes along principal or numbers, found '{along}'; choose one")
        return known[along]

    def decode(self, base: int | None, along: str, offsets: Sequence[float]) -> list[Medium]:
        """Return how the modality shows a decoded code, which is moved along directions.

        Args:
            base: The position of the sample whose code is moved; None for the mean of all codes.
            along: ``principal`` or ``numbers``.
            offsets: So many standard deviations along each direction.

        Raises:
            AeframeError: The codes are not moved along straight lines, or there are not so many directions.
        """
        if self.why_no_sliders:
            raise AeframeError(self.why_no_sliders)
        directions = self.directions(along)
        if len(offsets) > len(directions.scales) or not np.isfinite(offsets).all():
            raise AeframeError(
                f"the code moves along {len(directions.scales)} directions by finite numbers, found {list(offsets)}"
            )
        start = directions.mean if base is None else self.embedding.codes[self.positions([base])[0]].flatten()
        z = directions.move(start, dict(enumerate(offsets)))
        z = z.reshape(1, *self.embedding.codes.shape[1:])
        with self._lock, _Quiet():
            x = self.model.decode(z, condition=self._condition_like([base])).cpu()
            if base is None:
                return self._shown(x)[0]
            return self._shown_together(self._batch(self.positions([base])).nan_masked_x(), x)[1]

    def path(self, start: int, end: int, steps: int) -> tuple[list[list[Medium]], list[list[float]] | None]:
        """Return the decoded path between the codes of two samples, and its points on the map.

        The path is that of ``aeframe interpolate``. Points are None where the map has none for new codes (UMAP).
        """
        steps = max(2, min(steps, MAX_STEPS))
        ends = self.embedding.codes[self.positions([start, end])]
        latent = self.model.model.latent
        with self._lock, torch.no_grad():
            z = interpolate_codes(latent, ends[:1], ends[1:], steps)[0]
            condition = self.condition(steps)
            if condition is None and (own := self._conditions([start, end])) is not None:
                between = interpolate_condition(own[:1], own[1:], steps)
                condition = None if between is None else between[0]
            return self._decoded(z, condition), self._points(z)

    def new_samples(self, num: int, seed: int, like: int | None) -> list[list[Medium]]:
        """Return new samples: codes are drawn from the model's sampler.

        A model with a condition takes that of the sample at position `like`, or those of random samples for None.
        """
        num = max(1, min(num, MAX_SAMPLES))
        generator = np.random.default_rng(seed)
        chosen = generator.integers(0, len(self.embedding), num).tolist() if like is None else [like] * num
        with self._lock, _Quiet():
            x = self.model.sample(num, seed=seed, condition=self._condition_like(chosen))
            return self._shown(x.cpu())

    def positions(self, positions: Sequence[int]) -> Tensor:
        """Return positions ``(n,)`` after checking that the map has them."""
        num = len(self.embedding)
        wrong = [position for position in positions if not 0 <= position < num]
        if wrong:
            raise AeframeError(f"the map has the points 0 to {num - 1}, found {wrong[0]}")
        return torch.tensor(positions)

    def _batch(self, positions: Tensor) -> Batch:
        """Read samples; those of a training split may draw random numbers, which are then the same each time."""
        rows = torch.from_numpy(self.embedding.rows)[positions]
        seed = int(self.model.config.get("seed", 0))
        with noise_of(torch.device("cpu"), seed, LOADING, int(rows[0])):
            return self.source.batch(rows)

    def _condition_like(self, positions: Sequence[int | None]) -> Condition | None:
        """Return the condition that the user set, or else those of samples, see `_conditions`."""
        given = self.condition(len(positions))
        return self._conditions(positions) if given is None else given

    def _conditions(self, positions: Sequence[int | None]) -> Tensor | None:
        """Return the conditions ``(n, C)`` of samples, the first of the map for None; None without a condition."""
        if not self.has_condition:
            return None
        return self._batch(self.positions([position or 0 for position in positions])).condition

    def _decoded(self, z: Tensor, condition: Condition | None) -> list[list[Medium]]:
        with _Quiet():
            return self._shown(self.model.decode(z, condition=condition).cpu())

    def _shown(self, x: Tensor) -> list[list[Medium]]:
        return self.model.modality.show(x)

    def _shown_together(self, *parts: Tensor) -> list[list[Medium]]:
        """Return how samples are shown with the same scales, if they have the same number of elements."""
        if len({part.shape[1:] for part in parts}) == 1:
            return self._shown(torch.cat([part.to(parts[0].dtype) for part in parts]))
        # Samples of unordered elements may be decoded to another number of them.
        return [shown for part in parts for shown in self._shown(part)]

    def _points(self, z: Tensor) -> list[list[float]] | None:
        flat = z.flatten(1)
        if self.embedding.axes[0].startswith("UMAP"):
            return None
        if flat.shape[1] == 1:
            return [[value, 0.5] for value in flat[:, 0].tolist()]
        points: list[list[float]] = (
            flat.tolist() if flat.shape[1] == 2 else project(flat, self.embedding.principal).tolist()
        )
        return points


class _Quiet(warnings.catch_warnings):
    """Hide the warning of samples far from training: it was printed when they were encoded."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore", FarFromTrainingWarning)
