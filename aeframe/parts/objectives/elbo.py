"""The evidence lower bound, with the weights and constraints of its family."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from aeframe.batch import Clock, Pass, Terms, per_sample
from aeframe.devices import mean_over_devices
from aeframe.errors import AeframeError
from aeframe.parts.objectives.base import Objective, reconstruction_terms
from aeframe.parts.schedules import Constant, Schedule, fixed

if TYPE_CHECKING:
    from aeframe.autoencoder import Autoencoder


class Elbo(Objective):
    """Minimise reconstruction + beta * KL(q(z|x) || p(z)), in nats (Kingma & Welling 2014, arXiv 1312.6114).

    Args:
        beta: The KL's weight (Higgins et al. 2017); a number or a schedule.
        free_bits: Nats of each latent dimension that cost nothing, by the mean over the batch (Kingma et al. 2016,
            arXiv 1606.04934); the gradient stops below it. The paper's floor is on the batch mean of a group of
            dimensions, here each dimension is a group.
        capacity: The KL is pulled to this many nats, ``|KL - C|`` instead of KL (Burgess et al. 2018,
            arXiv 1804.03599); a number or a schedule. Null leaves it out.
    """

    needs = frozenset({"posterior"})

    def __init__(
        self, *, beta: Schedule = fixed(1.0), free_bits: Schedule = fixed(0.0), capacity: Schedule | None = None
    ) -> None:
        super().__init__()
        if capacity is not None and not (isinstance(free_bits, Constant) and free_bits.value == 0):
            raise AeframeError("objective elbo takes free_bits or capacity, not both; leave one at its default")
        self.beta, self.free_bits, self.capacity = beta, free_bits, capacity

    def forward(self, model: Autoencoder, p: Pass, clock: Clock) -> Terms:
        terms = reconstruction_terms(model, p, clock)
        by_dimension = model.prior.kl(p.latent)
        kl = per_sample(by_dimension)
        terms.bound = p.reconstruction + kl
        beta, floor = self.beta(clock), self.free_bits(clock)
        if self.capacity is not None:
            # The raw KL is logged beside what is minimised in its place.
            terms.add("kl", kl, 0.0)
            return terms.add("kl_from_capacity", (kl - self.capacity(clock)).abs(), beta)
        if floor > 0:
            terms.add("kl", kl, 0.0)
            return terms.add("kl_free_bits", _above_floor(by_dimension, floor, training=model.training), beta)
        return terms.add("kl", kl, beta)


def _above_floor(by_dimension: Tensor, floor: float, *, training: bool) -> Tensor:
    """Return ``(B,)``: each dimension's KL, or `floor` where its mean over the batch lies below.

    Each sample carries its own KL in the dimensions above the floor, so the batch mean is the paper's sum of maxima.
    In training the batch is that of all devices together, lest their number decide what is free.
    """
    mean = by_dimension.detach().mean(0, keepdim=True)
    free = (mean_over_devices(mean) if training else mean) < floor
    return per_sample(by_dimension.masked_fill(free, floor))
