"""The Matryoshka dictionary: nested dictionaries, of which each prefix of the features also reconstructs alone."""

from __future__ import annotations

import itertools

from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.parts.latents.sparse.dictionary import squared_error
from aeframe.parts.latents.sparse.topk import BatchTopK
from aeframe.parts.schedules import Schedule, fixed
from aeframe.types import Shape


class Matryoshka(BatchTopK):
    """A `BatchTopK` whose prefixes of features also reconstruct alone (Bussmann, Nabeshima, Karvonen & Nanda 2025,
    arXiv 2503.17547).

    The first features therefore represent general concepts and the later ones details, instead of a general concept
    being split among many features. Each prefix of m features adds its squared error as the term ``prefix_<m>``, of
    weight 1 like the full reconstruction.

    Args:
        feature_shape: ``(C, *positions)``, flattened.
        dim: Number of features.
        k: Number of active features of a sample, on average.
        prefixes: Sizes of the nested dictionaries as increasing fractions of `dim`, below 1; the reconstruction loss
            covers the full dictionary.
        decay: Decay per batch of the moving average of the threshold, see `BatchTopK`.
        auxk: Weight of the term that revives dead features, see `Dictionary`; a number or a schedule.
        dead_after: Training samples without activity after which a feature is dead.
    """

    name = "matryoshka"

    def __init__(
        self,
        feature_shape: Shape,
        *,
        dim: int = 1024,
        k: int = 32,
        prefixes: tuple[float, ...] = (1 / 16, 1 / 8, 1 / 4, 1 / 2),
        decay: float = 0.9,
        auxk: Schedule = fixed(1 / 32),
        dead_after: int = 10_000,
    ) -> None:
        super().__init__(feature_shape, dim=dim, k=k, decay=decay, auxk=auxk, dead_after=dead_after)
        # The ends of the prefixes, with 0 before them and the full dictionary after them.
        self.ends = (0, *(round(fraction * dim) for fraction in prefixes), dim)
        if any(start >= end for start, end in itertools.pairwise(self.ends)):
            raise AeframeError(
                f"latent matryoshka needs prefixes as increasing fractions of dim={dim} between 0 and 1, each at least "
                f"one feature longer than the one before, found {list(prefixes)}"
            )

    def sparse_code(self, pre_activations: Tensor, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        z, terms = super().sparse_code(pre_activations, x)
        directions, reconstruction = self.directions, self.decode_bias.expand_as(x)
        for start, end in itertools.pairwise(self.ends[:-1]):
            reconstruction = reconstruction + z[:, start:end] @ directions[start:end]
            terms[f"prefix_{end}"] = squared_error(x, reconstruction)
        return z, terms
