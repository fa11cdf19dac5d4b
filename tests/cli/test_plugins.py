import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from aeframe import registry
from aeframe.cli.main import main
from aeframe.kinds import KINDS
from aeframe.version import __version__


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for variable in ("AEFRAME_PLUGIN_FILES", "AEFRAME_DISABLE", "AEFRAME_STRICT_PLUGINS"):
        monkeypatch.setenv(variable, "")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    (tmp_path / "mine.py").write_text(
        "from aeframe import hookimpl\n\n@hookimpl\ndef register_losses(register):\n"
        "    register('angle', 'mine:Angle', summary='the angle between x and x_hat')\n",
        encoding="utf-8",
    )
    (tmp_path / "broken.py").write_text("import no_such_module", encoding="utf-8")
    monkeypatch.setenv("AEFRAME_PLUGIN_FILES", f"{tmp_path / 'mine.py'}:{tmp_path / 'broken.py'}")
    registry.reset()
    yield tmp_path
    registry.reset()


def test_every_plugin_is_listed_with_its_state_and_names(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        f"core (aeframe {__version__}) ok",
        "  modality    vector",
        "  dataset     numbers, vector_in_memory, breast_cancer, sparse_features",
    ]
    assert lines[-3:] == [
        f"mine ({workplace / 'mine.py'} file) ok",
        "  loss        angle",
        f"broken ({workplace / 'broken.py'} file) failed: its import failed with ModuleNotFoundError: No module named "
        "'no_such_module'",
    ]
    assert max(map(len, lines[:-1])) <= 100


def test_one_kind_is_listed_with_summaries(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "--kind", "loss"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  mse squared error" in [re.sub(r"(?<=\w) +", " ", line) for line in lines]
    assert "  angle  the angle between x and x_hat" in lines
    assert not any("breast_cancer" in line for line in lines)


def test_json_holds_everything(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "--json", "--kind", "loss"]) == 0
    listed = {plugin["name"]: plugin for plugin in json.loads(capsys.readouterr().out)}
    assert listed["mine"] == {
        "name": "mine",
        "distribution": str(workplace / "mine.py"),
        "version": "file",
        "state": "ok",
        "reason": "",
        "adds": {"loss": [{"name": "angle", "target": "mine:Angle", "summary": "the angle between x and x_hat"}]},
    }
    assert listed["broken"]["state"] == "failed"
    assert listed["broken"]["adds"] == {}
    assert set(listed["core"]["adds"]) == {"loss"}


def test_an_unknown_kind_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "--kind", "losses"]) == 2
    assert capsys.readouterr().err == (
        f"error: unknown kind 'losses', did you mean 'loss'?; kinds are {', '.join(KINDS)}\n"
    )
