"""Every check there is, in the order they are done."""

from aeframe.testing.checks import activations, composition, data, losses, models, pieces, plugin, runs, signatures

CHECKS = (
    *plugin.CHECKS,
    *signatures.CHECKS,
    *data.BEFORE_MODELS,
    *composition.CHECKS,
    *models.CHECKS,
    *losses.CHECKS,
    *activations.CHECKS,
    *pieces.CHECKS,
    *data.CHECKS,
    *runs.CHECKS,
)

__all__ = ["CHECKS"]
