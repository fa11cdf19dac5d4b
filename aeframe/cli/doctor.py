"""``aeframe doctor`` prints versions, devices and plugins."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import re
import shutil
import sys
import warnings
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path

from packaging.requirements import Requirement

from aeframe.cli import Command
from aeframe.errors import AeframeError
from aeframe.registry import CORE, registry
from aeframe.version import __version__

_ENVIRONMENT = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MASTER_ADDR", "SLURM_JOB_ID")
# Extras for developers of a package, and `all`, which combines other extras.
_IGNORED_EXTRAS = frozenset({"all", "dev", "test", "tests", "docs"})
_GIB = 2**30


class Doctor(Command):
    """Print installed versions, devices and the state of plugins, as plain text for an issue.

    The exit code is 1 if a plugin failed to load.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        pass

    def run(self, args: Namespace) -> int:
        modules = _modules()
        sections: Mapping[str, Iterator[str]] = {
            "": _installation(),
            "libraries": _libraries(),
            "devices": _devices(),
            "plugins": _plugins(),
            "optional libraries": _optional(modules),
            "config folders, in order of precedence": _folders(),
            "environment": _environment(),
        }
        for title, lines in sections.items():
            section = list(lines)
            if title and section:
                print(f"\n{title}")
            for line in section:
                print(f"  {line}" if title else line, flush=True)
        return 1 if any(plugin.state == "failed" for plugin in registry().plugins) else 0


def _installation() -> Iterator[str]:
    libc = " ".join(platform.libc_ver())
    yield f"aeframe {__version__} in {Path(__file__).parents[1]}"
    yield f"Python {platform.python_version()} in {sys.prefix}"
    yield f"{platform.platform()}{f', {libc}' if libc else ''}"
    disk = shutil.disk_usage(Path.cwd())
    yield f"{disk.free / _GIB:.1f} of {disk.total / _GIB:.1f} GiB free in {Path.cwd()}"


def _libraries() -> Iterator[str]:
    """Yield a line for each required dependency of aeframe."""
    for requirement in _requirements(CORE):
        if not _extra_of(requirement):
            yield _state(requirement, _version(requirement.name))


def _devices() -> Iterator[str]:
    try:
        import torch
    except Exception as error:  # noqa: BLE001 -- a broken installation may raise any error
        yield _broken("torch", error)
        return
    yield f"cpu: {os.cpu_count()} cores, {torch.get_num_threads()} torch threads"
    if not torch.cuda.is_available():
        yield "cuda: none" + (" (torch was built without it)" if torch.version.cuda is None else "")
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        device = torch.cuda.get_device_properties(index)
        bfloat16 = "with" if torch.cuda.is_bf16_supported() else "without"
        yield f"cuda:{index}: {device.name}, {device.total_memory / _GIB:.0f} GiB, {bfloat16} bfloat16"
    if torch.backends.mps.is_available():
        yield "mps: present"
    from aeframe.training.malloc_tuning import keep_freed_memory

    yield f"allocator: {'glibc, set to keep freed memory' if keep_freed_memory() else 'default settings'}"


def _plugins() -> Iterator[str]:
    for plugin in registry().plugins:
        details = f": {plugin.reason}" if plugin.reason else f", {len(plugin.entries)} names"
        yield f"{plugin.name} ({plugin.distribution} {plugin.version}) {plugin.state}{details}"


def _optional(modules: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each optional dependency of aeframe and the plugins; `modules` is that of `_modules`."""
    listed = set()
    for distribution in dict.fromkeys(plugin.distribution for plugin in registry().plugins):
        for requirement in _requirements(distribution):
            name, extra = requirement.name, _extra_of(requirement)
            if not extra or extra in _IGNORED_EXTRAS or name in listed:
                continue
            listed.add(name)
            version = _version(name)
            if version is None:
                yield f"{name} absent; pip install '{distribution}[{extra}]'"
                continue
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    importlib.import_module(modules.get(name, name))
            except Exception as error:  # noqa: BLE001 -- a broken library may raise any error
                yield _broken(f"{name} {version}", error)
            else:
                yield _state(requirement, version)


def _folders() -> Iterator[str]:
    """Yield the folders and packages that are searched for config files."""
    from aeframe.experiment.composition.sources import search_path

    try:
        entries = search_path(names_only=True).get_path()
    except AeframeError as error:
        yield f"unusable: {error}"
        return
    yield from (str(entry.path) for entry in entries if entry.provider not in ("hydra", "registry", "schema"))


def _environment() -> Iterator[str]:
    for name, value in sorted(os.environ.items()):
        if value and (name.startswith("AEFRAME_") or name in _ENVIRONMENT):
            yield f"{name}={value}"


def _requirements(distribution: str) -> list[Requirement]:
    try:
        return [Requirement(line) for line in importlib.metadata.requires(distribution) or []]
    except importlib.metadata.PackageNotFoundError:
        # A plugin in a plain file has no distribution.
        return []


def _extra_of(requirement: Requirement) -> str:
    """Return the extra that a requirement belongs to; empty for a required dependency."""
    match = re.search(r"extra == ['\"](.+?)['\"]", str(requirement.marker or ""))
    return match.group(1) if match else ""


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _state(requirement: Requirement, version: str | None) -> str:
    """Return the line on a library of which `version` is installed, None for no version."""
    if version is None:
        return f"{requirement.name} absent; reinstall aeframe"
    fits = requirement.specifier.contains(version, prereleases=True)
    return f"{requirement.name} {version}" + ("" if fits else f", but {requirement.specifier} is required")


def _broken(library: str, error: Exception) -> str:
    first_line = (str(error).strip().splitlines() or [""])[0]
    return f"{library} broken: {type(error).__name__}: {first_line}"


def _modules() -> dict[str, str]:
    """Return the name of the module to import for each distribution, by the name of the distribution."""
    modules: dict[str, str] = {}
    for module, distributions in importlib.metadata.packages_distributions().items():
        for distribution in distributions:
            same_name = distribution.replace("-", "_") == module
            if same_name or (distribution not in modules and not module.startswith("_")):
                modules[distribution] = module
    return modules
