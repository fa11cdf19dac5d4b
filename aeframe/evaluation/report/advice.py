"""Advice for a run whose latent is not used, or whose error is high: sentences with a next step."""

from __future__ import annotations

from collections.abc import Mapping

_COLLAPSED = 0.1
"""KL in nats below which the code holds no information."""


_FEW_BATCHES = 200
"""Below this number of training batches, an unused code may be one that is not trained yet."""


def advice(metrics: Mapping[str, float], num_batches: int) -> list[str]:
    """Return one sentence for each sign of a poor run.

    These are posterior collapse, a higher error than that of PCA, unused codes and dead features.

    Args:
        metrics: Values on held-out data by name.
        num_batches: Number of batches that the model was trained on.
    """
    sentences = []
    kl, active = metrics.get("kl"), metrics.get("active_units")
    if active is not None and (kl is None or kl < _COLLAPSED) and (active == 0 or kl is not None):
        found = f"(kl {kl or 0:.3g} nats, {active:.0f} active units)"
        if num_batches < _FEW_BATCHES:
            sentences.append(f"the code holds no information about x after {num_batches} batches {found}; train longer")
        else:
            sentences.append(
                f"the posterior has collapsed onto the prior {found}, so the code holds no information about x; train "
                "longer, or try objective.free_bits=0.5, a warm-up such as 'objective.beta={name: linear, over: 0.3}', "
                "or a weaker decoder"
            )
    elif active == 0:
        # The posterior differs from the prior, but by the same amount for all samples, as before training.
        sentences.append(f"the code does not vary between samples (kl {kl:.3g} nats, 0 active units); train longer")
    mse, mse_of_pca = metrics.get("mse"), metrics.get("mse_of_pca")
    if mse is not None and mse_of_pca is not None and mse > mse_of_pca:
        sentences.append(
            f"PCA with as many numbers reconstructs better (mse {mse_of_pca:.3g}, here {mse:.3g}); train longer, or "
            "try a higher optimizer.lr or less regularisation, such as a lower objective.beta"
        )
    used = metrics.get("codebook_used")
    if used is not None and used < 0.1:
        sentences.append(
            f"only {used:.1%} of the codes are in use; set latent.revive higher or latent.codebook_size lower, "
            "or try model=fsq_vae"
        )
    dead = metrics.get("dead")
    if dead is not None and dead > 0.5:
        sentences.append(
            f"{dead:.0%} of the features are never active; train longer, reduce latent.dim, or activate more of them"
        )
    return sentences
