"""What a plugin author tests with."""

from aeframe.testing.noise import RowNoise
from aeframe.testing.suite import PluginSuite

__all__ = ["PluginSuite", "RowNoise"]
