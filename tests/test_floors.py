"""The shape of the code: who imports whom, sizes and names. Import-linter holds the floors within core."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLUGINS = sorted(path for path in (ROOT / "plugins").glob("*/src/*") if path.is_dir())
SOURCES = sorted(path for package in (ROOT / "aeframe", *PLUGINS) for path in package.rglob("*.py"))
CORE = [path for path in SOURCES if path.is_relative_to(ROOT / "aeframe")]
# What says nothing of what is in it.
NAMELESS = {"utils", "util", "helpers", "helper", "common", "misc"}
# One idea a file; what is longer than this has two.
MOST_LINES = 500


def imported(path: Path) -> set[str]:
    """Return the top-level packages that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def test_there_is_something_to_look_at() -> None:
    assert len(CORE) > 50
    assert len(SOURCES) > len(CORE)


def test_core_imports_no_plugin() -> None:
    plugins = {path.name for path in PLUGINS}
    assert {path.name: found for path in CORE if (found := imported(path) & plugins)} == {}


def test_core_knows_no_modality_but_vector() -> None:
    # Names of the plugins' data in core's code would be a path beside the registry; help and prose may give examples.
    words = {path.name.removeprefix("aeframe_") for path in PLUGINS} | {"digits", "mnist", "cifar10"}
    guilty = {
        path.relative_to(ROOT).as_posix(): node.value
        for path in CORE
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in words
    }
    assert guilty == {}


def test_plugins_import_no_other_plugin_but_those_they_depend_on() -> None:
    names = {path.name for path in PLUGINS}
    for package in PLUGINS:
        project = tomllib.loads((package.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        needed = {re.split(r"[^\w-]", each)[0].replace("-", "_") for each in project["dependencies"]}
        for path in package.rglob("*.py"):
            assert imported(path) & (names - needed - {package.name}) == set(), path


def test_files_are_small_and_named_after_their_ideas() -> None:
    lines = {path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert {path: number for path, number in lines.items() if number > MOST_LINES} == {}
    assert [path for path in lines if Path(path).stem in NAMELESS] == []
