"""Penalties on the values of the code: L1, L2, and the KL of each unit's mean activity."""

from __future__ import annotations

import math

from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.parts.activations import traits
from aeframe.parts.penalties.base import Penalty
from aeframe.parts.penalties.batch_statistic import linearized_batch_statistic
from aeframe.parts.schedules import Schedule, fixed
from aeframe.tensors import per_sample
from aeframe.types import ForwardOutput, Model

# A sigmoid in single precision reaches 0 and 1, where the divergence is infinite.
_EPSILON = 1e-6


class L1(Penalty):
    """The sum of |z| over a sample's code (Ng 2011, CS294A lecture notes)."""

    def __init__(self, *, weight: Schedule = fixed(1e-3)) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, model: Model, out: ForwardOutput) -> Tensor:
        return per_sample(out.latent.mean.abs())


class L2(Penalty):
    """Half the sum of z^2 over a sample's code (RAE: Ghosh et al. 2020, arXiv 1903.12436)."""

    def __init__(self, *, weight: Schedule = fixed(1e-2)) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, model: Model, out: ForwardOutput) -> Tensor:
        return 0.5 * per_sample(out.latent.mean.square())


class KLRate(Penalty):
    """KL(rate || mean activity), in nats and summed over units (Ng 2011, CS294A lecture notes).

    A unit is a dimension of the code, and its activity the value there, between 0 and 1. The mean activity is over the
    batch, in training over the batch of all devices. The penalty is the mean of one value for each sample (see
    `linearized_batch_statistic`); a single value may be negative.

    Args:
        rate: Target of each unit's mean activity, in (0, 1).

    Raises:
        AeframeError: The latent's activation does not bound the code to [0, 1].
    """

    batch_term = True
    requires = frozenset({"activity"})

    def __init__(self, *, weight: Schedule = fixed(1.0), rate: float = 0.05) -> None:
        super().__init__()
        if not 0 < rate < 1:
            raise AeframeError(f"penalty kl_rate needs a rate in (0, 1), found {rate}")
        self.weight, self.rate = weight, rate

    def forward(self, model: Model, out: ForwardOutput) -> Tensor:
        # The traits of an activation include the range of its outputs.
        code_range = traits(getattr(model.latent, "activation", nn.Identity()))
        if code_range.low < 0 or code_range.high > 1:
            raise AeframeError(
                f"penalty kl_rate needs codes in [0, 1], but those of {type(model.latent).__name__} lie in "
                f"[{code_range.low:g}, {code_range.high:g}]; set latent=point latent.activation=sigmoid"
            )
        return linearized_batch_statistic(self._divergence, out.latent.mean.flatten(1))

    def _divergence(self, activity: Tensor) -> Tensor:
        """Return the KL ``()`` of the mean activity ``(units,)``."""
        activity, on, off = activity.clamp(_EPSILON, 1 - _EPSILON), self.rate, 1 - self.rate
        return (on * (math.log(on) - activity.log()) + off * (math.log(off) - (1 - activity).log())).sum()
