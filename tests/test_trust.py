"""The list of trusted plugin files, and the content that is executed of a trusted file."""

from __future__ import annotations

import importlib.util
import json
import os
import py_compile
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aeframe import registry
from aeframe.errors import AeframeError
from aeframe.trust import folder_plugin, trust, untrust


@pytest.fixture(autouse=True)
def store(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Change to an empty folder, and return the path of the list of trusted files, which does not exist yet."""
    for variable in ("AEFRAME_PLUGIN_FILES", "AEFRAME_DISABLE", "AEFRAME_STRICT_PLUGINS"):
        monkeypatch.setenv(variable, "")
    config = tmp_path_factory.mktemp("config")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(config))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    registry.reset()
    yield config / "aeframe" / "trusted.json"
    registry.reset()


def write(folder: Path, text: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "aeplugin.py").write_text(text, encoding="utf-8")
    return folder / "aeplugin.py"


def content() -> bytes | None:
    found = folder_plugin()
    assert found is not None
    return found.content


def test_a_folder_without_the_file_has_none(tmp_path: Path) -> None:
    assert folder_plugin() is None
    (tmp_path / "aeplugin.py").mkdir()
    assert folder_plugin() is None


def test_an_untrusted_file_is_not_opened(tmp_path: Path) -> None:
    file = write(tmp_path, "x")
    file.chmod(0)
    found = folder_plugin()
    assert found is not None
    assert (found.path, found.content) == (file, None)
    assert found.reason == "load it with --plugin aeplugin.py, or trust it with aeframe plugins trust ."


def test_the_list_has_paths_and_digests_of_all_trusted_files(tmp_path: Path, store: Path) -> None:
    one, two = write(tmp_path / "one", "one"), write(tmp_path / "two", "two")
    _, digest = trust(one)
    trust(two.parent)
    assert set(json.loads(store.read_text(encoding="utf-8"))) == {str(one), str(two)}
    assert digest == "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    untrust(one.parent)
    assert set(json.loads(store.read_text(encoding="utf-8"))) == {str(two)}
    assert [path.name for path in store.parent.iterdir()] == ["trusted.json"]


def test_trust_holds_for_one_content_at_one_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, copy = write(tmp_path, "x = 1"), write(tmp_path / "copy", "x = 1")
    trust(file)
    assert content() == b"x = 1"
    monkeypatch.chdir(copy.parent)
    assert content() is None
    monkeypatch.chdir(tmp_path)
    file.write_text("x = 2", encoding="utf-8")
    assert content() is None
    file.write_text("x = 1", encoding="utf-8")
    assert content() == b"x = 1"


def test_links_are_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "own")
    (tmp_path / "linked").symlink_to(tmp_path / "own")
    trust(tmp_path / "linked")
    monkeypatch.chdir(tmp_path / "linked")
    found = folder_plugin()
    assert found is not None
    assert (found.path, found.content) == (file, b"")
    # Loaded through a link in another folder, the trusted file imports modules of its own folder only.
    other = tmp_path / "other"
    other.mkdir()
    (other / "aeplugin.py").symlink_to(file)
    monkeypatch.chdir(other)
    plugin = registry.registry().plugins[-1]
    assert (plugin.state, plugin.distribution) == ("ok", str(file))
    assert str(file.parent) in sys.path
    assert str(other) not in sys.path


def test_a_list_that_is_a_link_remains_a_link(tmp_path: Path, store: Path) -> None:
    real = tmp_path / "dotfiles" / "trusted.json"
    real.parent.mkdir()
    real.write_text("{}", encoding="utf-8")
    store.parent.mkdir()
    store.symlink_to(real)
    file = write(tmp_path)
    trust(file)
    assert store.is_symlink()
    assert list(json.loads(real.read_text(encoding="utf-8"))) == [str(file)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("[]", "expected SHA-256 values by path"),
        ('{"a": 1}', "expected SHA-256 values by path"),
        (None, "Is a directory"),
    ],
)
def test_a_list_that_cannot_be_read_trusts_nothing(tmp_path: Path, store: Path, text: str | None, reason: str) -> None:
    write(tmp_path)
    trust(tmp_path)
    store.unlink()
    store.mkdir() if text is None else store.write_text(text, encoding="utf-8")
    found = folder_plugin()
    assert found is not None
    assert found.content is None
    assert found.reason == (
        f"'{store}' cannot be read ({reason}), so that no file is trusted; delete it, and trust files again with "
        "aeframe plugins trust"
    )
    with pytest.raises(AeframeError) as error:
        trust(tmp_path)
    assert str(error.value) == found.reason


def test_a_failed_write_does_not_change_the_list(tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = write(tmp_path / "one"), write(tmp_path / "two")
    trust(one)
    before = store.read_bytes()

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(AeframeError) as error:
        trust(two)
    assert str(error.value) == f"'{store}' cannot be written (No space left on device); nothing was changed"
    assert store.read_bytes() == before
    assert list(store.parent.iterdir()) == [store]


def test_the_config_folder_is_that_of_the_user(tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    # With a relative path, a working folder could contain its own list.
    for value in ("", "config"):
        monkeypatch.setenv("XDG_CONFIG_HOME", value)
        write(tmp_path)
        trust(tmp_path)
        assert content() == b""
        assert (home / ".config" / "aeframe" / "trusted.json").is_file()
        assert not (tmp_path / "config").exists()
        untrust(tmp_path)
    monkeypatch.setenv("HOME", "home")
    with pytest.raises(AeframeError, match=r"^there is no home folder for the list of trusted files; set "):
        trust(tmp_path)
    assert content() is None


def test_cached_bytecode_of_a_trusted_file_is_not_run(tmp_path: Path) -> None:
    file = write(tmp_path, "1 / 0")
    cached = importlib.util.cache_from_source(str(file))
    py_compile.compile(str(file), cached, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    file.write_text("", encoding="utf-8")
    trust(file)
    plugin = registry.registry().plugins[-1]
    assert (plugin.name, plugin.state, plugin.reason) == ("aeplugin", "ok", "")


def test_the_compared_content_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path)
    trust(file)
    found = folder_plugin()
    file.write_text("1 / 0", encoding="utf-8")
    assert registry.Registry(folder_plugin=found).plugins[-1].state == "ok"
    sys.modules.pop("aeplugin")


def test_an_untrusted_file_is_no_error_in_strict_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "1 / 0")
    monkeypatch.setenv("AEFRAME_STRICT_PLUGINS", "1")
    assert registry.registry().plugins[-1].state == "not trusted"
