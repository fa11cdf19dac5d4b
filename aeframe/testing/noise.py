"""Random numbers that depend only on a seed, the index of the draw, and the sample."""

from __future__ import annotations

from aeframe.row_noise import RowNoise

__all__ = ["RowNoise"]
