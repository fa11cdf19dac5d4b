import os
from pathlib import Path

import pytest

from aeframe.errors import AeframeError
from aeframe.experiment.plugin_files import take_plugin_files
from aeframe.registry import registry


def plugin(path: Path, text: str = "") -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_files_are_taken_out_loaded_and_carried_on(tmp_path: Path) -> None:
    one, two = plugin(tmp_path / "one.py"), plugin(tmp_path / "two.py")
    assert take_plugin_files(["a=1", "--plugin", "one.py", "-m", f"--plugin={two}"]) == ["a=1", "-m"]
    assert os.environ["AEFRAME_PLUGIN_FILES"] == f"{one}{os.pathsep}{two}"
    assert {"one", "two"} <= {found.name for found in registry().plugins}


def test_without_files_nothing_changes() -> None:
    assert take_plugin_files(["a=1"]) == ["a=1"]
    assert os.environ["AEFRAME_PLUGIN_FILES"] == ""


@pytest.mark.parametrize(("argv", "found"), [(["--plugin", "nope.py"], "'nope.py'"), (["--plugin"], "''")])
def test_a_file_that_is_not_there_is_refused(argv: list[str], found: str) -> None:
    with pytest.raises(AeframeError) as error:
        take_plugin_files(argv)
    assert str(error.value) == f"--plugin expects a Python file, found {found}; give the path of one"


def test_a_broken_file_is_refused_because_it_was_asked_for(tmp_path: Path) -> None:
    file = plugin(tmp_path / "broken.py", "1 / 0")
    with pytest.raises(AeframeError) as error:
        take_plugin_files(["--plugin", "broken.py"])
    assert str(error.value) == (
        f"plugin file '{file}' cannot be used: its import failed with ZeroDivisionError: division by zero"
    )
