"""Check in a plugin's package metadata that it supports the installed version of aeframe, without importing it."""

from __future__ import annotations

import importlib.metadata

from aeframe.version import __version__


def incompatibility(distribution: importlib.metadata.Distribution | None, running: str = __version__) -> str | None:
    """Return why a plugin does not support a version of aeframe; None if it does.

    The supported versions are those that its distribution requires, such as ``aeframe>=0.1,<0.2``.

    Args:
        distribution: The installed distribution of the plugin; None for a plugin in a plain file, which supports all
            versions.
        running: The version of aeframe, by default the installed one.
    """
    for line in (distribution.requires if distribution is not None else None) or []:
        # Most requirements are other packages, and `packaging` takes milliseconds to import.
        if not line.lower().startswith("aeframe"):
            continue
        from packaging.requirements import Requirement
        from packaging.version import Version

        requirement = Requirement(line)
        if requirement.name != "aeframe" or requirement.specifier.contains(running, prereleases=True):
            continue
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        requires_newer = any(
            clause.operator in (">", ">=", "~=", "==") and Version(clause.version.removesuffix(".*")) > Version(running)
            for clause in requirement.specifier
        )
        remedy = (
            "upgrade aeframe, or install an older version of the plugin" if requires_newer else "upgrade the plugin"
        )
        return f"it requires aeframe {requirement.specifier}, found {running}; {remedy}"
    return None
