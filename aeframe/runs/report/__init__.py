"""The HTML report of a finished run, one page without any reference to another file or host."""

from aeframe.runs.report.contents import ReportContents, SettingChange, read_contents
from aeframe.runs.report.page import make_page

__all__ = ["ReportContents", "SettingChange", "make_page", "read_contents"]
