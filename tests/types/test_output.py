"""The results of a forward pass."""

from __future__ import annotations

import torch
from torch.distributions import Normal

from aeframe.types import Batch, ForwardOutput, Latent


def test_a_detached_output_has_no_gradients() -> None:
    x = torch.ones(2, 3, requires_grad=True)
    latent = Latent(2 * x, 3 * x, posterior=Normal(x, 1.0), codes=torch.ones(2, 1), terms={"size": x.sum(1)})
    batch = Batch(torch.zeros(2, 3))
    detached = ForwardOutput(batch, batch, latent, 4 * x, (5 * x).sum(1)).detach()
    assert not any(
        t.requires_grad for t in (detached.latent.z, detached.latent.mean, detached.output, detached.reconstruction)
    )
    assert detached.latent.posterior is None
    assert detached.latent.terms == {}
    assert detached.latent.codes is latent.codes
    assert detached.batch is batch
