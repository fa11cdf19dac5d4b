"""What Lightning says that has no meaning for our loaders, folders and pins."""

from __future__ import annotations

import warnings

_WITHOUT_MEANING = (
    # Data in memory need no workers, and the advice assumes Lightning's own loaders.
    "The '.*_dataloader' does not have many workers",
    "GPU available but not used",
    # The checkpoint folder of a run that goes on is not empty, which is right.
    "Checkpoint directory .* exists and is not empty",
    # Lightning 2.6 beside torch 2.13.
    r".*isinstance\(treespec, LeafSpec\)",
)


def ignore_advice() -> None:
    """Leave out those warnings from now on, or within the `warnings.catch_warnings` around the call."""
    for message in _WITHOUT_MEANING:
        warnings.filterwarnings("ignore", message=message)
