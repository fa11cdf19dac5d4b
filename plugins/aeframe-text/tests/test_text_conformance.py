"""Everything that a plugin of aeframe promises."""

from aeframe.testing import PluginSuite


class TestText(PluginSuite):
    plugin = "text"
