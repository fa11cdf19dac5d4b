"""The types that the parts of a model exchange.

Training builds a `Model` for a `DataSpec`. Each step maps a `Batch` to a `Latent` and a `ForwardOutput`, from which the
objective computes `LossTerms` at the present `TrainingProgress`.

Shapes: B samples in a batch, C channels, ``positions`` in time or space such as (T,) or (H, W), ``outputs`` parameters
of the likelihood for each element of x. Channels come before positions: data ``(B, *shape)``, features of the encoder
``(B, C, *positions)``, codes z ``(B, *z_shape)``, output of the decoder ``(B, outputs, *shape)``.
"""

from aeframe.types.batch import FACTORS, TRUE_CODE, WEIGHT, Batch
from aeframe.types.loss_terms import LossTerms
from aeframe.types.model import Model
from aeframe.types.output import ForwardOutput, Latent
from aeframe.types.progress import TrainingProgress
from aeframe.types.spec import DataSpec, Domain, DomainKind, Shape

__all__ = [
    "FACTORS",
    "TRUE_CODE",
    "WEIGHT",
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
