"""Whether a plugin was made for the aeframe that runs, by what its package metadata say. Imports nothing of it."""

from __future__ import annotations

import importlib.metadata

from aeframe.version import __version__


def incompatibility(distribution: importlib.metadata.Distribution | None, running: str = __version__) -> str | None:
    """Return why a plugin's distribution does not fit the aeframe that runs, or None where it does.

    The range is that of its dependency, ``aeframe>=0.1,<0.2``: what installers read, and nothing beside it.
    """
    for line in (distribution.requires if distribution is not None else None) or []:
        # Most lines name another package, and packaging takes milliseconds to import.
        if not line.lower().startswith("aeframe"):
            continue
        from packaging.requirements import Requirement
        from packaging.version import Version

        requirement = Requirement(line)
        if requirement.name != "aeframe" or requirement.specifier.contains(running, prereleases=True):
            continue
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        newer = any(
            each.operator in (">", ">=", "~=", "==") and Version(each.version.removesuffix(".*")) > Version(running)
            for each in requirement.specifier
        )
        remedy = "upgrade aeframe, or install an older version of the plugin" if newer else "upgrade the plugin"
        return f"it is for aeframe {requirement.specifier}, and aeframe {running} is running; {remedy}"
    return None
