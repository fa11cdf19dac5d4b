"""The types that flow between the parts of a model.

Shapes: B samples in a batch, C channels. Channels come first everywhere: data ``(B, *shape)``,
features ``(B, C, *positions)``, latents ``(B, *z)``, the decoder's output ``(B, outputs, *shape)``.
"""

from aeframe.types.batch import Batch
from aeframe.types.loss_terms import LossTerms
from aeframe.types.model import Model
from aeframe.types.output import ForwardOutput, Latent
from aeframe.types.progress import TrainingProgress
from aeframe.types.spec import DataSpec, Domain, DomainKind, Shape

__all__ = [
    "Batch",
    "DataSpec",
    "Domain",
    "DomainKind",
    "ForwardOutput",
    "Latent",
    "LossTerms",
    "Model",
    "Shape",
    "TrainingProgress",
]
