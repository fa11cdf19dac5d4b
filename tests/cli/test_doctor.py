import importlib.metadata
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from aeframe import registry
from aeframe.cli.main import main
from aeframe.version import __version__

OPTIONAL = [
    'absent-library>=1; extra == "shiny"',
    'broken-library>=1; extra == "shiny"',
    'pluggy>=99; extra == "old"',
    'rich; extra == "fine"',
    'pytest; extra == "dev"',
]
OTHERS = ",".join(point.name for point in importlib.metadata.entry_points(group="aeframe"))


@pytest.fixture(autouse=True)
def optional_libraries(empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Add optional dependencies in every state to aeframe, and disable the other plugins."""
    requires = importlib.metadata.requires

    def with_optional(name: str) -> list[str] | None:
        return [*(requires(name) or []), *OPTIONAL] if name == "aeframe" else requires(name)

    monkeypatch.setattr(importlib.metadata, "requires", with_optional)
    monkeypatch.setenv("AEFRAME_DISABLE", OTHERS)
    (empty_folder / "broken_library.py").write_text("import ctypes\nctypes.CDLL('libnowhere.so')", encoding="utf-8")
    information = empty_folder / "broken_library-1.2.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-library\nVersion: 1.2\n", "utf-8")
    (information / "top_level.txt").write_text("broken_library\n", encoding="utf-8")
    monkeypatch.syspath_prepend(empty_folder)
    # These libraries take seconds to import, and are imported by the tests of logging.
    real = importlib.import_module
    monkeypatch.setattr(
        "aeframe.cli.doctor.importlib.import_module",
        lambda name, package=None: (
            None if name in ("mlflow", "wandb", "tensorboard", "pyarrow") else real(name, package)
        ),
    )
    registry.reset()


def sections(text: str) -> dict[str, list[str]]:
    """Return the lines of each section by its title; the title of the first section is empty."""
    first, *rest = text.split("\n\n")
    by_title = {"": first.splitlines()}
    for each in rest:
        title, *lines = each.splitlines()
        by_title[title] = [line.strip() for line in lines]
    return by_title


def test_a_working_installation_has_exit_code_0(empty_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    printed = sections(capsys.readouterr().out)
    assert printed[""][0] == f"aeframe {__version__} in {Path(registry.__file__).parent}"
    assert re.fullmatch(r"\d+\.\d of \d+\.\d GiB free in .*", printed[""][3])
    assert printed[""][3].endswith(str(empty_folder))
    assert f"torch {importlib.metadata.version('torch')}" in printed["libraries"]
    assert f"lightning {importlib.metadata.version('lightning')}" in printed["libraries"]
    assert printed["devices"][0].startswith("cpu: ")
    names = len(registry.registry().plugins[0].entries)
    assert f"core (aeframe {__version__}) ok, {names} names" in printed["plugins"]
    assert printed["config folders, in order of precedence"] == ["pkg://aeframe.conf"]
    assert f"AEFRAME_DISABLE={OTHERS}" in printed["environment"]


def test_optional_libraries_are_present_absent_broken_or_old(capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor"])
    printed = sections(capsys.readouterr().out)["optional libraries"]
    assert [line for line in printed if line.startswith(("absent-", "broken-", "pluggy", "rich"))] == [
        "absent-library absent; pip install 'aeframe[shiny]'",
        "broken-library 1.2 broken: OSError: libnowhere.so: cannot open shared object file: No such file or directory",
        f"pluggy {importlib.metadata.version('pluggy')}, but >=99 is required",
        f"rich {importlib.metadata.version('rich')}",
    ]


def test_a_failed_plugin_is_listed_with_its_reason_and_exit_code_1(
    plugin_file: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = plugin_file("import no_such_module")
    assert main(["doctor"]) == 1
    assert (
        f"aeplugin ({path} file) failed: its import failed with ModuleNotFoundError: No module named 'no_such_module'"
    ) in sections(capsys.readouterr().out)["plugins"]


def test_config_folders_that_clash_are_reported(
    empty_folder: Path, plugin_file: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    conf = empty_folder / "conf_of_test_doctor" / "model"
    conf.mkdir(parents=True)
    (conf.parent / "__init__.py").touch()
    (conf / "vae.yaml").touch()
    plugin_file(
        "from aeframe import hookimpl\n@hookimpl\ndef register_configs(register):\n"
        "    register('clash', 'conf_of_test_doctor')\n"
    )
    assert main(["doctor"]) == 0
    assert sections(capsys.readouterr().out)["config folders, in order of precedence"] == [
        "unusable: the option file 'model/vae.yaml' is offered by both aeframe (aeframe.conf) and "
        f"{empty_folder / 'aeplugin.py'} (conf_of_test_doctor); rename one, or disable a plugin with AEFRAME_DISABLE"
    ]
