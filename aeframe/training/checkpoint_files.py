"""The names of a run's checkpoint files. Imports nothing heavy."""

LAST = "last.ckpt"
"""The newest checkpoint."""
PREVIOUS = "last.previous.ckpt"
"""The checkpoint before the newest, to resume from if the newest is damaged."""
BEST = "best.ckpt"
"""The best checkpoint on the validation split."""
