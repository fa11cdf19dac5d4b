"""The conformance suite for plugins."""

from aeframe.testing import PluginSuite


class TestText(PluginSuite):
    plugin = "text"
