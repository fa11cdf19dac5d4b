"""Test tools for plugin authors: the conformance suite, and noise that is fixed for each sample."""

from aeframe.testing.noise import RowNoise
from aeframe.testing.suite import PluginSuite

__all__ = ["PluginSuite", "RowNoise"]
