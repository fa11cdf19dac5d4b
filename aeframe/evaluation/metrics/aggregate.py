"""The posteriors of many samples together: what z says of x, and how far the codes as a whole are from the prior."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Normal

from aeframe.errors import AeframeError
from aeframe.evaluation.metrics.base import ModelMetric
from aeframe.model.autoencoder import Autoencoder
from aeframe.noise import EVALUATION, noise_of
from aeframe.parts.networks.unowned import Unowned
from aeframe.types import ForwardOutput

# Densities of one comparison of all with all: a quarter of a second, and as much memory at a time as a batch.
_MOST = 1 << 24


class AggregatePosterior(ModelMetric):
    """Split the KL into what z says of x and what keeps the codes from the prior (Hoffman & Johnson 2016, NIPS
    workshop).

    ``mutual_information``: between x and z, in nats, log q(z|x) - log q(z) where q(z) is the mean of the posteriors
    that are compared; it cannot come out above the logarithm of their number. ``marginal_kl``: KL(q(z) || p(z)), the
    rest of the KL, which says how well draws from the prior stand for codes. ``kl_dimensions``: the share of latent
    dimensions with a KL above 0.01 nats, and ``kl/1``, ``kl/2``, ...: each one's KL to the standard normal, of flat
    codes with up to `named` dimensions.

    Args:
        model: Says the shape of z.
        samples: How many posteriors are compared with each other at most: the first of the split, fewer of large codes.
        named: Codes with more dimensions have no names for them.
    """

    means: list[Tensor]
    scales: list[Tensor]
    by_dimension: Tensor
    count: Tensor

    def __init__(self, model: Autoencoder, *, samples: int = 1024, named: int = 64) -> None:
        super().__init__()
        if samples < 2:
            raise AeframeError(f"metric aggregate_posterior compares at least 2 samples, found samples={samples}")
        self._model = Unowned(model)
        dim = math.prod(model.latent.shape)
        self.samples, self.named = max(2, min(samples, math.isqrt(_MOST // dim))), named
        self.add_state("means", [], dist_reduce_fx="cat")
        self.add_state("scales", [], dist_reduce_fx="cat")
        self.add_state("by_dimension", torch.zeros(dim, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    @classmethod
    def applies(cls, model: Autoencoder) -> bool:
        return "normal" in model.latent.provides and model.latent.space == "euclidean"

    def update(self, model: Autoencoder, out: ForwardOutput) -> None:
        q = out.latent.posterior
        if not isinstance(q, Normal):
            raise AeframeError(f"latent {type(model.latent).__name__} promises a normal posterior and gave {q}")
        mean, scale = q.loc.flatten(1), q.scale.flatten(1)
        kl = 0.5 * (mean.square() + scale.square() - 1.0) - scale.log()
        self.by_dimension = self.by_dimension + kl.sum(0, dtype=torch.float64)
        self.count = self.count + len(mean)
        held = sum(len(each) for each in self.means)
        if held < self.samples:
            self.means.append(mean[: self.samples - held])
            self.scales.append(scale[: self.samples - held])

    def compute(self) -> dict[str, Tensor]:
        kl = self.by_dimension / self.count
        found = {"kl_dimensions": (kl > 0.01).double().mean()}
        if len(kl) <= self.named:
            found |= {f"kl/{number}": value for number, value in enumerate(kl, start=1)}
        means, scales = _joined(self.means), _joined(self.scales)
        model = self._model.module
        with noise_of(means.device, 0, EVALUATION):
            z = means + scales * torch.randn_like(means)
        own = Normal(means, scales).log_prob(z).sum(1)
        every = torch.stack([torch.logsumexp(Normal(means, scales).log_prob(one).sum(1), 0) for one in z])
        aggregate = every - math.log(len(means))
        prior = model.prior.log_prob(z.unflatten(1, model.latent.shape))
        return found | {
            "mutual_information": (own - aggregate).mean().double(),
            "marginal_kl": (aggregate - prior).mean().double(),
        }


def _joined(rows: list[Tensor] | Tensor) -> Tensor:
    # After devices have met, torchmetrics has made one tensor of the list.
    return rows if isinstance(rows, Tensor) else torch.cat(rows)
