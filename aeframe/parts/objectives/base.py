"""What every objective is, and what a second player is."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from torch import nn

from aeframe.batch import Clock, Pass, Terms

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
