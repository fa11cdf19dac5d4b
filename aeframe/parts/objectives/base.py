"""What every objective is, and what a second player is."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, nn
from torch.distributions import Normal

from aeframe.batch import Batch, Clock, Latent, Pass, Terms, single
from aeframe.devices import joined_rows
from aeframe.errors import AeframeError
from aeframe.parts.schedules import Schedule

if TYPE_CHECKING:
    from aeframe.autoencoder import Autoencoder


class Objective(nn.Module):
    """How the terms become the number that is minimised.

    `needs` is what the latent must give (see `LatentSpace.gives`); `num_samples` asks for K importance samples.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    num_samples: int | None = None
    batch_terms: ClassVar[frozenset[str]] = frozenset()
    """Terms that compare the samples of a batch with each other, so that they are no sample's own."""

    def combine_posteriors(self, model: Autoencoder, latent: Latent, batch: Batch, *, sample: bool) -> Latent:
        """Return the code that is decoded: by default `latent` itself, else one made of several samples' posteriors."""
        return latent

    def forward(self, model: Autoencoder, p: Pass, clock: Clock) -> Terms:
        """Return the terms of one pass: each ``(B,)``, with a bound."""
        raise NotImplementedError


class Opponent(nn.Module):
    """A part with a player of its own: its parameters are trained by its own terms, and by nothing else.

    Any part may hold one (an objective its discriminator of z, a penalty its discriminator of x). The player is
    named after the attribute that holds it.
    """

    batch_terms: ClassVar[frozenset[str]] = frozenset()
    """Terms that compare the samples of a batch with each other, so that they are no sample's own."""
    start: int = 0
    """The training batch from which on it is trained. Before it, the terms that it judges have weight 0."""

    def weight_from_start(self, weight: Schedule, clock: Clock) -> float:
        """Return the weight of a term that this opponent judges: 0 before its start."""
        return weight(clock) if clock.batch >= self.start else 0.0

    def terms(self, model: Autoencoder, p: Pass, clock: Clock) -> Terms:
        """Return what this player minimises. `p` is cut from the graph: nothing flows back to the autoencoder."""
        raise NotImplementedError


def reconstruction_terms(model: Autoencoder, p: Pass, clock: Clock) -> Terms:
    """Begin the terms every objective has: the reconstruction, and whatever the latent adds (commitment, ...)."""
    terms = Terms(bound=p.reconstruction).add("reconstruction", p.reconstruction)
    for name, value in p.latent.terms.items():
        schedule = model.latent.weights.get(name)
        terms.add(name, value, 1.0 if schedule is None else schedule(clock))
    return terms


def is_needed(model: Autoencoder, weight: float) -> bool:
    """Say whether a term of this weight is computed: always in evaluation, where it is logged, else unless it is 0."""
    return weight != 0 or not model.training


def normal_posterior(name: str, latent: Latent) -> Normal:
    """Return q(z|x) for an objective that takes it apart by dimension, which a normal one allows."""
    if not isinstance(latent.posterior, Normal):
        raise AeframeError(
            f"objective '{name}' takes a normal posterior apart by dimension, but this latent's is "
            f"{type(latent.posterior).__name__}; choose latent=gaussian"
        )
    return latent.posterior


def rows_compared(model: Autoencoder, value: Tensor) -> tuple[Tensor, slice]:
    """Return the flat rows ``(B, D)`` of z, or of something like it, to compare samples by, and which are one's own.

    In training they are those of all devices together, lest their number change what is minimised. In evaluation
    devices may have shares of different sizes, so each compares its own.
    """
    rows = single(value).flatten(1)
    return joined_rows(rows) if model.training else (rows, slice(len(rows)))
