"""The ``aeplugin.py`` of the working folder is executed only after the user trusts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import aeframe
from aeframe import registry
from aeframe.cli.main import main
from aeframe.experiment.main import main as train

ROOT = Path(__file__).parents[2]
HOOKS = """
from pathlib import Path
from aeframe import hookimpl

Path(__file__).with_name("executed").touch()

@hookimpl
def register_activations(register):
    register("own", "torch.nn:ReLU", summary="an activation of this folder")
"""
WARNING = (
    "aeplugin.py in this folder is not loaded; load it with --plugin aeplugin.py, or trust it with aeframe plugins "
    "trust .\n"
)
CHANGED = (
    "aeplugin.py in this folder is not loaded; it changed after it was trusted; load it with --plugin "
    "aeplugin.py, or trust it again with aeframe plugins trust .\n"
)
AEFRAME, TRAIN = ["-m", "aeframe.cli.main"], ["-m", "aeframe.experiment.main"]
COMPLETION = {"_comp": "1", "COMP_LINE": "aeframe-train loss=", "COMP_POINT": "19"}


@pytest.fixture
def file(empty_folder: Path) -> Path:
    path = empty_folder / "aeplugin.py"
    path.write_text(HOOKS, encoding="utf-8")
    return path


@pytest.fixture
def python(empty_folder: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs Python in the folder of the plugin file."""

    def run(*argv: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **variables}
        return subprocess.run(
            [sys.executable, *argv], capture_output=True, text=True, check=False, cwd=empty_folder, env=environment
        )

    return run


def executed(file: Path) -> bool:
    mark = file.with_name("executed")
    exists = mark.exists()
    mark.unlink(missing_ok=True)
    return exists


@pytest.mark.parametrize(
    ("argv", "variables", "err"),
    [
        ([*AEFRAME, "--help"], {}, WARNING),
        ([*AEFRAME, "plugins"], {}, WARNING),
        ([*AEFRAME, "plugins", "--json"], {}, WARNING),
        ([*TRAIN, "--help"], {}, WARNING),
        ([*TRAIN, "--cfg", "job"], {}, WARNING),
        ([*TRAIN, "-sc", "query=bash"], COMPLETION, ""),
        (["-c", "import aeframe"], {}, ""),
        (["-c", "import aeframe.registry as r; r.registry()"], {}, ""),
        # A relaunched process of a run on several devices.
        ([*TRAIN, "--cfg", "job"], {"LOCAL_RANK": "1"}, ""),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, (list, dict)) else "",
)
def test_an_untrusted_file_is_not_executed(
    file: Path,
    python: Callable[..., subprocess.CompletedProcess[str]],
    argv: list[str],
    variables: dict[str, str],
    err: str,
) -> None:
    done = python(*argv, **variables)
    assert not executed(file)
    assert (done.returncode, done.stderr) == (0, err)


def test_aeframe_load_executes_nothing_and_prints_no_warning(
    file: Path, python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = python("-c", "import aeframe\ntry: aeframe.load('.')\nexcept aeframe.AeframeError as error: print(error)")
    assert not executed(file)
    assert (done.returncode, done.stderr) == (0, "")
    assert "holds no saved model" in done.stdout


def test_the_file_beside_a_model_of_a_stranger_is_not_executed(
    file: Path, python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    run = aeframe.fit(
        model="vae",
        latent={"dim": 2},
        max_batches=2,
        pictures=False,
        folder=file.parent / "run",
        trainer={"accelerator": "cpu", "threads": 1},
    ).folder
    model = run / "model"
    assert not executed(file)
    beside = model / "aeplugin.py"
    beside.write_text(HOOKS, encoding="utf-8")
    # The config says that the model requires the file.
    config = (model / "config.yaml").read_text(encoding="utf-8")
    assert "plugins: {}" in config
    required = "plugins: {aeplugin: {distribution: aeplugin.py, version: file}}"
    (model / "config.yaml").write_text(config.replace("plugins: {}", required), encoding="utf-8")
    places = [(str(file.parent), str(model)), (str(model), "."), (str(model), str(model))]
    verbs = [["generate", str(model), "-o", "x.csv"], ["encode", str(model), "x.csv", "-o", "z.npz"]]
    done = python(
        "-c",
        "import os, aeframe\n"
        "from aeframe.cli.main import main\n"
        f"for folder, path in {places}:\n"
        "    os.chdir(folder)\n"
        "    try: aeframe.load(path)\n"
        "    except aeframe.AeframeError: print('refused')\n"
        f"print(*(main(verb) for verb in {verbs}))\n",
    )
    assert (done.returncode, done.stdout.splitlines()) == (0, [*3 * ["refused"], "2 2"])
    assert not executed(file)
    assert not executed(beside)


def test_plugins_lists_the_state(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"aeplugin ({file} file) not trusted: load it with --plugin aeplugin.py, or trust it with aeframe plugins "
        "trust ."
    )
    assert not executed(file)


def test_the_warning_is_printed_once(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert main([]) == 0
    assert train(["--cfg", "job"]) == 0
    assert capsys.readouterr().err == WARNING


@pytest.mark.parametrize("place", [".", "aeplugin.py", "link", "link/aeplugin.py"])
def test_trusted_loaded_changed_and_no_longer_trusted(
    place: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (file.parent / "link").symlink_to(file.parent)
    assert main(["plugins", "trust", place]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(f"'{file}' is trusted until its content changes (SHA-256 ")
    assert printed.err == ""
    assert not executed(file)
    assert main(["explain", "activation", "own"]) == 0
    assert capsys.readouterr().err == ""
    assert executed(file)

    file.write_text(HOOKS + "\n", encoding="utf-8")
    registry.reset()
    assert main([]) == 0
    assert capsys.readouterr().err == CHANGED
    assert not executed(file)
    assert main(["plugins", "trust", place]) == 0
    assert registry.registry().has("activation", "own")

    assert main(["plugins", "untrust", place]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"'{file}' is no longer trusted"
    assert not registry.registry().has("activation", "own")
    assert main(["plugins", "untrust", place]) == 2
    assert capsys.readouterr().err == f"error: '{file}' is not trusted; trusted are none\n"


def test_a_deleted_file_can_be_untrusted(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "trust", "."]) == 0
    file.unlink()
    assert main(["plugins", "untrust", "aeplugin.py"]) == 0


def test_a_missing_or_other_file_cannot_be_trusted(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (file.parent / "empty").mkdir()
    (file.parent / "mine.py").touch()
    for place, message in {
        "empty": f"there is no file '{file.parent / 'empty' / 'aeplugin.py'}'; pass the folder of an aeplugin.py",
        "none": f"there is no file '{file.parent / 'none' / 'aeplugin.py'}'; pass the folder of an aeplugin.py",
        "mine.py": "only a file named aeplugin.py is loaded from the working folder, found 'mine.py'; load it with "
        "--plugin mine.py",
    }.items():
        assert main(["plugins", "trust", place]) == 2
        assert capsys.readouterr().err == f"error: {message}\n"


def test_an_unreadable_list_trusts_nothing_and_is_not_changed(
    file: Path, config_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plugins", "trust", "."]) == 0
    stored = config_folder / "aeframe" / "trusted.json"
    assert list(json.loads(stored.read_text(encoding="utf-8"))) == [str(file)]
    stored.write_text("{", encoding="utf-8")
    registry.reset()
    capsys.readouterr()
    assert main([]) == 0
    err = capsys.readouterr().err
    assert err.startswith(f"aeplugin.py in this folder is not loaded; '{stored}' cannot be read (Expecting property")
    assert err.endswith("), so that no file is trusted; delete it, and trust files again with aeframe plugins trust\n")
    assert not executed(file)
    for verb in ("trust", "untrust"):
        assert main(["plugins", verb, "."]) == 2
        assert capsys.readouterr().err.startswith(f"error: '{stored}' cannot be read (")
    assert stored.read_text(encoding="utf-8") == "{"


def test_the_error_for_an_unknown_name_mentions_the_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(["activation=own"]) == 2
    assert capsys.readouterr().err.endswith(
        f"; plugin 'aeplugin' ({file}) is not trusted: load it with --plugin aeplugin.py, or trust it with aeframe "
        "plugins trust .\n"
    )


def test_files_of_the_plugin_option_are_loaded_without_trust(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dict(os.environ)
    assert main(["--plugin", "aeplugin.py", "explain", "activation", "own"]) == 0
    assert train(["--plugin=aeplugin.py", "--cfg", "job"]) == 0
    with pytest.raises(SystemExit):
        main(["--plugin", "aeplugin.py", "explain", "--help"])
    assert capsys.readouterr().err == ""
    assert executed(file)
    assert dict(os.environ) == before
    assert not registry.registry().has("activation", "own")
    monkeypatch.setenv("AEFRAME_PLUGIN_FILES", str(file))
    registry.reset()
    assert main(["explain", "activation", "own"]) == 0
    assert capsys.readouterr().err == ""


def test_a_disabled_file_is_not_mentioned(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AEFRAME_DISABLE", "aeplugin")
    registry.reset()
    assert main([]) == 0
    assert capsys.readouterr().err == ""
