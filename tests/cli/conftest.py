"""Fixtures: an empty working folder, and a config folder without trusted plugin files."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aeframe import registry
from aeframe.trust import trust


@pytest.fixture
def config_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty config folder of the user, in which no plugin file is trusted."""
    folder = tmp_path_factory.mktemp("config")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder))
    return folder


@pytest.fixture
def empty_folder(tmp_path: Path, config_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for variable in ("AEFRAME_PLUGIN_FILES", "AEFRAME_DISABLE", "AEFRAME_STRICT_PLUGINS", "AEFRAME_RUN_ID"):
        monkeypatch.setenv(variable, "")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    registry.reset()
    yield tmp_path
    registry.reset()


@pytest.fixture
def plugin_file(empty_folder: Path) -> Callable[[str], Path]:
    """Return a function that writes an ``aeplugin.py`` and trusts it; the next use of the registry loads it."""

    def write(text: str) -> Path:
        path = empty_folder / "aeplugin.py"
        path.write_text(text, encoding="utf-8")
        trust(path)
        registry.reset()
        return path

    return write
