"""``aeframe doctor``."""

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
# Extras that gather others, or that are for working on a package instead of with it.
_NO_EXTRAS = frozenset({"all", "dev", "test", "tests", "docs"})
_GIB = 2**30


class Doctor(Command):
    """Say what is installed and in which state, as plain text for an issue; exit code 1 when a plugin has failed."""

    def arguments(self, parser: ArgumentParser) -> None:
        pass

    def run(self, args: Namespace) -> int:
        modules = _modules()
        sections: Mapping[str, Iterator[str]] = {
            "": _here(),
            "libraries": _libraries(),
            "devices": _devices(),
            "plugins": _plugins(),
            "optional libraries": _optional(modules),
            "config folders, the first that has an option wins": _folders(),
            "environment": _environment(),
        }
        for title, lines in sections.items():
            found = list(lines)
            if title and found:
                print(f"\n{title}")
            for line in found:
                print(f"  {line}" if title else line, flush=True)
        return 1 if any(plugin.state == "failed" for plugin in registry().plugins) else 0


def _here() -> Iterator[str]:
    libc = " ".join(platform.libc_ver())
    yield f"aeframe {__version__} in {Path(__file__).parents[1]}"
    yield f"Python {platform.python_version()} in {sys.prefix}"
    yield f"{platform.platform()}{f', {libc}' if libc else ''}"
    disk = shutil.disk_usage(Path.cwd())
    yield f"{disk.free / _GIB:.1f} of {disk.total / _GIB:.1f} GiB free in {Path.cwd()}"


def _libraries() -> Iterator[str]:
    """Yield what core cannot do without."""
    for each in _requirements(CORE):
        if not _extra_of(each):
            yield _state(each, _version(each.name))


def _devices() -> Iterator[str]:
    try:
        import torch
    except Exception as error:  # noqa: BLE001 -- whatever is wrong with it is what this command is asked for
        yield _broken("torch", error)
        return
    yield f"cpu: {os.cpu_count()} cores, {torch.get_num_threads()} threads of torch"
    if not torch.cuda.is_available():
        yield "cuda: none" + (" (this torch is built without it)" if torch.version.cuda is None else "")
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        device = torch.cuda.get_device_properties(index)
        bfloat16 = "with" if torch.cuda.is_bf16_supported() else "without"
        yield f"cuda:{index}: {device.name}, {device.total_memory / _GIB:.0f} GiB, {bfloat16} bfloat16"
    if torch.backends.mps.is_available():
        yield "mps: present"
    from aeframe.training.malloc_tuning import keep_freed_memory

    yield f"allocator: {'glibc, which can keep freed memory' if keep_freed_memory() else 'as it is'}"


def _plugins() -> Iterator[str]:
    for plugin in registry().plugins:
        said = f": {plugin.reason}" if plugin.reason else f", {len(plugin.entries)} names"
        yield f"{plugin.name} ({plugin.distribution} {plugin.version}) {plugin.state}{said}"


def _optional(modules: Mapping[str, str]) -> Iterator[str]:
    """Yield the libraries that core and the plugins use when they are there."""
    seen = set()
    for distribution in dict.fromkeys(plugin.distribution for plugin in registry().plugins):
        for each in _requirements(distribution):
            extra = _extra_of(each)
            if not extra or extra in _NO_EXTRAS or each.name in seen:
                continue
            seen.add(each.name)
            version = _version(each.name)
            if version is None:
                yield f"{each.name} absent; pip install '{distribution}[{extra}]'"
                continue
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    importlib.import_module(modules.get(each.name, each.name))
            except Exception as error:  # noqa: BLE001 -- an optional library may be broken in any way it likes
                yield _broken(f"{each.name} {version}", error)
            else:
                yield _state(each, version)


def _folders() -> Iterator[str]:
    from aeframe.experiment.composition.sources import search_path

    try:
        places = search_path(names_only=True).get_path()
    except AeframeError as error:
        yield f"unusable: {error}"
        return
    yield from (str(place.path) for place in places if place.provider not in ("hydra", "registry", "schema"))


def _environment() -> Iterator[str]:
    for name, value in sorted(os.environ.items()):
        if value and (name.startswith("AEFRAME_") or name in _ENVIRONMENT):
            yield f"{name}={value}"


def _requirements(distribution: str) -> list[Requirement]:
    try:
        return [Requirement(line) for line in importlib.metadata.requires(distribution) or []]
    except importlib.metadata.PackageNotFoundError:
        # A plugin that is a plain file.
        return []


def _extra_of(requirement: Requirement) -> str:
    """Return the extra that asks for a requirement, empty where it is asked for always."""
    asked = re.search(r"extra == ['\"](.+?)['\"]", str(requirement.marker or ""))
    return asked.group(1) if asked else ""


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _state(requirement: Requirement, version: str | None) -> str:
    if version is None:
        return f"{requirement.name} absent; install aeframe again"
    fits = requirement.specifier.contains(version, prereleases=True)
    return f"{requirement.name} {version}" + ("" if fits else f", but {requirement.specifier} is needed")


def _broken(what: str, error: Exception) -> str:
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{what} broken: {type(error).__name__}: {first}"


def _modules() -> dict[str, str]:
    """Return the module of each distribution, by the distribution's name."""
    found: dict[str, str] = {}
    for module, distributions in importlib.metadata.packages_distributions().items():
        for each in distributions:
            if each.replace("-", "_") == module or (each not in found and not module.startswith("_")):
                found[each] = module
    return found
