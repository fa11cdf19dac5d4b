"""Dictionaries within dictionaries: the first features alone must do, as far as so few can."""

from __future__ import annotations

import itertools

from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.parts.latents.sparse.dictionary import squared_error
from aeframe.parts.latents.sparse.topk import BatchTopK
from aeframe.parts.schedules import Schedule, fixed
from aeframe.types import Shape


class Matryoshka(BatchTopK):
    """A `BatchTopK` whose first features reconstruct alone too (Bussmann, Nabeshima, Karvonen & Nanda 2025, arXiv
    2503.17547).

    So the first ones learn what is general and the others what is special, instead of splitting the general among
    many. Each prefix of m features adds its own squared error as the term ``prefix_<m>``, with the weight 1 that the
    whole reconstruction has.

    Args:
        feature_shape: ``(C, *positions)``, flattened.
        dim: How many features the dictionary has.
        k: How many of them speak, on average.
        prefixes: The sizes of the nested dictionaries as shares of `dim`, rising, below 1: the whole is the
            reconstruction itself.
        decay: Of the threshold's moving average, for each batch.
        auxk: Weight of the term that revives dead features, see `Dictionary`; a number or a schedule.
        dead_after: A feature is dead when it was silent for so many training samples.
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
        self.ends = (0, *(round(share * dim) for share in prefixes), dim)
        if any(start >= end for start, end in itertools.pairwise(self.ends)):
            raise AeframeError(
                f"latent matryoshka needs prefixes as rising shares of dim={dim} between 0 and 1, each with a feature "
                f"more than the one before, found {list(prefixes)}"
            )

    def code(self, before: Tensor, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        z, terms = super().code(before, x)
        directions, read = self.directions, self.decode_bias.expand_as(x)
        for start, end in itertools.pairwise(self.ends[:-1]):
            read = read + z[:, start:end] @ directions[start:end]
            terms[f"prefix_{end}"] = squared_error(x, read)
        return z, terms
