"""The base classes of the parts of an autoencoder, which plugins subclass, and two classes about activations.

`MakeActivation` makes the activations of a network; it is the annotation of a constructor's activation option.
`ActivationTraits` are the properties of an activation, such as its range, which a registered activation can declare.
"""

from aeframe.parts.activations import ActivationTraits, MakeActivation
from aeframe.parts.corruptions import Corruption
from aeframe.parts.critics.base import Critic
from aeframe.parts.latents.base import LatentSpace
from aeframe.parts.losses.base import Likelihood, Loss
from aeframe.parts.networks.base import Decoder, Encoder
from aeframe.parts.objectives.base import Objective
from aeframe.parts.penalties.base import Penalty
from aeframe.parts.priors.base import Prior
from aeframe.parts.samplers.base import Sampler
from aeframe.parts.schedules import Schedule

__all__ = [
    "ActivationTraits",
    "Corruption",
    "Critic",
    "Decoder",
    "Encoder",
    "LatentSpace",
    "Likelihood",
    "Loss",
    "MakeActivation",
    "Objective",
    "Penalty",
    "Prior",
    "Sampler",
    "Schedule",
]
