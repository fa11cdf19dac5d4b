"""How realistic decoded midpoints between pairs of held-out samples are."""

from __future__ import annotations

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.evaluation.metrics.base import SUM_DTYPE
from aeframe.evaluation.metrics.subset import SubsetMetric
from aeframe.evaluation.report.interpolation import interpolate_codes
from aeframe.evaluation.step import evaluation_mode
from aeframe.model.autoencoder import Autoencoder
from aeframe.types import ForwardOutput


class Interpolation(SubsetMetric):
    """Distance of decoded midpoints to the nearest held-out sample, beside two references.

    Held-out samples form random pairs. ``interpolation`` is the mean distance of the midpoint of each pair, decoded
    from the middle of the shortest path between both codes, to the closest held-out sample outside the pair (the mean
    distance of Berthelot et al. 2018, arXiv 1807.07543). ``interpolation_ends`` is the same for the reconstructions of
    both samples of each pair: a floor, where midpoints are as realistic as reconstructions. ``interpolation_mean`` is
    that of the mean of the two samples, a path in the space of the data; a latent space that is worth its name is
    below it. All three are divided by the mean distance of the samples themselves to their closest one, so that 1 is
    the distance between neighbouring samples.

    Distances are Euclidean over the elements. For complete data of numbers at fixed positions, whose codes can be
    decoded without the sample: not for categories, unordered elements or a hierarchy of codes. Samples
    with missing elements are left out; of fewer than 4 others nothing is returned.

    Args:
        model: The model that is evaluated.
        samples: Maximum number of samples, a random subset.
        seed: Seed of the subset and the pairs.
    """

    higher_is_better = False

    def __init__(self, model: Autoencoder, *, samples: int = 500, seed: int = 0) -> None:
        if samples < 4:
            raise AeframeError(f"metric interpolation takes samples of at least 4, found {samples}")
        self._conditions = ["condition"] * (model.spec.condition > 0)
        super().__init__(samples, seed, "x", "codes", "reconstructions", *self._conditions)
        # In a list, so that it is no submodule of the metric.
        self._model: list[Autoencoder] = []

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        spec = model.spec
        has_codes = "hierarchy" not in model.latent.provides and "codes" not in model.latent.provides
        return has_codes and not spec.domain.has_classes and not spec.unordered and not spec.views

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        self._model = [model]
        batch = out.batch
        complete = torch.ones(len(batch), dtype=torch.bool, device=batch.x.device)
        if batch.mask is not None:
            complete = batch.mask.flatten(1).all(1)
        if not complete.any():
            return
        self.store(
            batch.rows(complete),
            x=batch.x[complete].float(),
            codes=out.latent.mean[complete].float(),
            reconstructions=model.loss.mean(out.output)[complete].flatten(1).float(),
            **({} if batch.condition is None else {"condition": batch.condition[complete]}),
        )

    def compute(self) -> dict[str, Tensor]:
        if not len(self.keys):
            raise AeframeError(
                "metric interpolation is for complete samples, and all samples of the split have missing elements or "
                "padding; leave it out with metrics.interpolation=null"
            )
        # In a random order that depends neither on batches nor on devices: each of the first half is paired with one
        # of the second.
        stored = self.stored()
        num = len(stored["x"]) // 2
        if num < 2:
            return {}
        (model,) = self._model
        first, second = ({name: value[at : at + num] for name, value in stored.items()} for at in (0, num))
        codes = _midpoints(model, first["codes"], second["codes"])
        condition = (first["condition"] + second["condition"]) / 2 if self._conditions else None
        with evaluation_mode(model):
            middle = model.generate(codes, condition=condition).flatten(1).float()
        x = stored["x"][: 2 * num].flatten(1).to(SUM_DTYPE)
        pair = torch.arange(2 * num, device=x.device) % num
        values = {
            "interpolation": _nearest(middle, x, pair[:num], pair),
            "interpolation_ends": _nearest(stored["reconstructions"][: 2 * num], x, pair, pair),
            "interpolation_mean": _nearest((x[:num] + x[num:]) / 2, x, pair[:num], pair),
        }
        unit = _nearest(x, x, pair, pair)
        return {name: value / unit for name, value in values.items()}


def _midpoints(model: Autoencoder, a: Tensor, b: Tensor) -> Tensor:
    """Return the codes ``(N, *z_shape)`` in the middle of the shortest path between those of pairs."""
    return interpolate_codes(model.latent, a, b, 3)[:, 1]


def _nearest(points: Tensor, x: Tensor, pair_of_points: Tensor, pair_of_x: Tensor) -> Tensor:
    """Return the mean distance of points ``(M, E)`` to the closest sample ``(N, E)`` that is not of the same pair."""
    distances = torch.cdist(points.to(SUM_DTYPE), x, compute_mode="donot_use_mm_for_euclid_dist")
    same = pair_of_points.unsqueeze(1) == pair_of_x.unsqueeze(0)
    return distances.masked_fill(same, torch.inf).amin(1).mean()
