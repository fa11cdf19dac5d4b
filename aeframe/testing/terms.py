"""Every number that a model gives for a batch, under one name each."""

from __future__ import annotations

from torch import Tensor

from aeframe.autoencoder import Autoencoder
from aeframe.batch import Batch, Clock, Pass


def passed(model: Autoencoder, batch: Batch, *, sample: bool | None = None) -> Pass:
    """Take a batch through the model with as many importance samples as its objective asks for."""
    p: Pass = model(batch, sample=sample, num_samples=model.objective.num_samples)
    return p


def all_terms(model: Autoencoder, p: Pass, clock: Clock) -> dict[str, Tensor]:
    """Return the terms of every player and the bound, raw."""
    terms = model.terms(p, clock)
    found = dict(terms.raw)
    if terms.bound is not None:
        found["bound"] = terms.bound
    for player, opponent in model.opponents().items():
        theirs = opponent.terms(model, p.detach(), clock).raw
        found |= {f"{player}/{name}": value for name, value in theirs.items()}
    return found
