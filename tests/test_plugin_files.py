import os
import sys
from pathlib import Path

import pytest

from aeframe.errors import AeframeError
from aeframe.plugin_files import plugin_files
from aeframe.registry import registry


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder, without plugin files in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AEFRAME_PLUGIN_FILES", "")


def plugin(path: Path, text: str = "") -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def names() -> set[str]:
    return {found.name for found in registry().plugins}


def test_plugin_files_are_loaded_and_exported_to_other_processes(tmp_path: Path) -> None:
    one, two = plugin(tmp_path / "one.py"), plugin(tmp_path / "two.py")
    with plugin_files(["a=1", "--plugin", "one.py", "-m", f"--plugin={two}"]) as rest:
        assert rest == ["a=1", "-m"]
        assert os.environ["AEFRAME_PLUGIN_FILES"] == f"{one}{os.pathsep}{two}"
        assert {"one", "two"} <= names()


def test_the_environment_and_the_registry_are_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = plugin(tmp_path / "one.py"), plugin(tmp_path / "two.py")
    monkeypatch.setenv("AEFRAME_PLUGIN_FILES", str(one))
    with plugin_files(["--plugin", "two.py", "--plugin", "one.py"]):
        assert os.environ["AEFRAME_PLUGIN_FILES"] == f"{one}{os.pathsep}{two}"
    assert os.environ["AEFRAME_PLUGIN_FILES"] == str(one)
    assert "one" in names()
    assert "two" not in names()
    assert "two" not in sys.modules
    monkeypatch.delenv("AEFRAME_PLUGIN_FILES")
    with pytest.raises(ZeroDivisionError), plugin_files(["--plugin", "two.py"]):
        raise ZeroDivisionError
    assert "AEFRAME_PLUGIN_FILES" not in os.environ
    assert "two" not in names()


def test_without_files_nothing_changes() -> None:
    before = registry()
    with plugin_files(["a=1"]) as rest:
        assert rest == ["a=1"]
        assert os.environ["AEFRAME_PLUGIN_FILES"] == ""
    assert registry() is before


@pytest.mark.parametrize(("argv", "found"), [(["--plugin", "nope.py"], "'nope.py'"), (["--plugin"], "''")])
def test_a_missing_file_is_an_error(argv: list[str], found: str) -> None:
    with pytest.raises(AeframeError) as error, plugin_files(argv):
        pass
    assert str(error.value) == f"--plugin expects a Python file, found {found}; write the path of one"


def test_a_broken_file_of_the_command_line_is_an_error(tmp_path: Path) -> None:
    file = plugin(tmp_path / "broken.py", "1 / 0")
    with pytest.raises(AeframeError) as error, plugin_files(["--plugin", "broken.py"]):
        pass
    assert os.environ["AEFRAME_PLUGIN_FILES"] == ""
    assert str(error.value) == (
        f"plugin file '{file}' cannot be used: its import failed with ZeroDivisionError: division by zero"
    )
