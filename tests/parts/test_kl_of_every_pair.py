"""Every posterior with every prior of its space: both are densities, and the KL is the one between them."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from aeframe.experiment.compose import compose
from aeframe.factory import defaults
from aeframe.model.assembly import assemble
from aeframe.registry import registry
from aeframe.tensors import per_sample
from aeframe.testing.model_outputs import forward_pass
from aeframe.types import Batch, DataSpec, Domain

NUM_SAMPLES = 4_000
SPEC = DataSpec((6,), Domain("real"))
# Few dimensions, so that the importance weights have a small variance.
SMALL: dict[str, Any] = {"dim": 2, "dims": [1, 2], "scales": [1, 1], "hidden": [8], "width": 8, "classes": 3}
FEW = {"vamp": {"components": 5}}
# At initialisation one of the two is too narrow for an importance estimate of the integral. Quadrature tests these
# densities: tests/parts/latents/test_flow_posterior.py, test_hierarchy.py and tests/parts/test_priors.py.
NARROW = {"flow", "vdvae", "mixture"}
# Their q is a density of z and a momentum: tests/parts/latents/test_hamiltonian.py.
MOVED = {"hamiltonian", "riemannian"}


def pairs() -> list[tuple[str, str]]:
    found = []
    core = registry().plugins[0].entries
    parts = {kind: [(e.name, e.load()) for e in core if e.kind == kind] for kind in ("latent", "prior")}
    for (latent, q), (prior, p) in itertools.product(parts["latent"], parts["prior"]):
        if "posterior" in q.provides and latent not in MOVED and p.requires <= q.provides and q.space in p.spaces:
            found.append((latent, prior))
    return found


@pytest.mark.parametrize(("latent", "prior"), pairs())
def test_both_are_densities_and_the_kl_is_between_them(latent: str, prior: str) -> None:
    torch.manual_seed(3)
    config = compose(["model=vae", "encoder.hidden=[8]"])
    options = defaults("latent", latent)
    small = {name: size for name, size in SMALL.items() if name in options and type(options[name]) is type(size)}
    config |= {"latent": {**options, **small}, "prior": {**defaults("prior", prior), **FEW.get(prior, {})}}
    model = assemble(config, SPEC).double().eval()
    with torch.no_grad():
        # One row of data many times, with an independent z each.
        out = forward_pass(model, Batch(torch.randn(1, *SPEC.shape).double().expand(NUM_SAMPLES, -1)), sample=True)
        code = out.latent
        assert code.posterior is not None
        log_q, log_p = per_sample(code.posterior.log_prob(code.z)), model.prior.log_prob(code.z)
        log_ratio = log_q - log_p
        kl = per_sample(model.prior.kl(code)).mean()
    if latent not in NARROW and prior not in NARROW:
        # The mean of p / q under q is the integral of p.
        weight = (-log_ratio).exp()
        assert abs(weight.mean() - 1) < 5 * weight.std() / NUM_SAMPLES**0.5 < 0.2
    assert abs(kl - log_ratio.mean()) < 5 * log_ratio.std() / NUM_SAMPLES**0.5 + 1e-9
    assert kl > 0
