"""All conformance checks, in the order in which they run.

Each check is a function of one part (what a plugin registers under a name); see `aeframe.testing.check`.
"""

from aeframe.testing.checks import (
    activations,
    composition,
    data,
    losses,
    models,
    mutations,
    pieces,
    plugin,
    runs,
    signatures,
    writing,
)

CHECKS = (
    *plugin.CHECKS,
    *signatures.CHECKS,
    *data.CHECKS_BEFORE_MODELS,
    *composition.CHECKS,
    *models.CHECKS,
    *losses.CHECKS,
    *activations.CHECKS,
    *pieces.CHECKS,
    *data.CHECKS,
    *writing.CHECKS,
    *mutations.CHECKS,
    *runs.CHECKS,
)

__all__ = ["CHECKS"]
