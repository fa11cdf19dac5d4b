import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from aeframe.cli.main import main
from aeframe.registry import registry
from aeframe.version import __version__

Run = Callable[..., "subprocess.CompletedProcess[str]"]
FILES = {
    "modality": [
        "README.md",
        "pyproject.toml",
        "src/aeframe_ion_traces/__init__.py",
        "src/aeframe_ion_traces/activations.py",
        "src/aeframe_ion_traces/data.py",
        "src/aeframe_ion_traces/losses.py",
        "src/aeframe_ion_traces/py.typed",
        "tests/test_ion_traces.py",
    ],
    "parts": [
        "README.md",
        "pyproject.toml",
        "src/aeframe_ion_traces/__init__.py",
        "src/aeframe_ion_traces/activations.py",
        "src/aeframe_ion_traces/losses.py",
        "src/aeframe_ion_traces/py.typed",
        "tests/test_ion_traces.py",
    ],
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Install a plugin of each kind into a folder, and return a function that runs a module with them."""
    folder = tmp_path_factory.mktemp("installed")
    environment = {
        **os.environ, "PYTHONPATH": str(folder / "site"), "AEFRAME_PLUGIN_FILES": "", "OMP_NUM_THREADS": "1"
    }  # fmt: skip

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", *arguments]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)

    for name, kind in (("spectra", "modality"), ("bits", "parts")):
        assert main(["new-plugin", name, "--kind", kind, "--folder", str(folder / name)]) == 0
    pip = ("pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index", "--target", "site")
    done = run(*pip, "./spectra", "./bits")
    assert done.returncode == 0, done.stderr
    return run


@pytest.mark.usefixtures("empty_folder")
@pytest.mark.parametrize("kind", ["modality", "parts"])
def test_a_plugin_has_at_most_eight_files_without_placeholders(
    empty_folder: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    assert main(["new-plugin", "ion_traces", "--kind", kind]) == 0
    folder = empty_folder / "aeframe-ion-traces"
    written = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert written == FILES[kind]
    for path in written:
        text = (folder / path).read_text(encoding="utf-8")
        assert "@" not in text.replace("@hookimpl", "").replace("@property", "")
        if path.endswith(".py"):
            compile(text, path, "exec")
            assert max((len(line) for line in text.splitlines()), default=0) <= 120
    out = capsys.readouterr().out.splitlines()
    assert out[: len(written)] == [f"aeframe-ion-traces/{path}" for path in written]
    data = "data=ion_traces_simulated" if kind == "modality" else "loss=ion_traces_charbonnier"
    assert out[len(written) :] == [
        "",
        f"next: pip install -e aeframe-ion-traces; aeframe-train model=ae {data}; python -m pytest aeframe-ion-traces",
    ]


def test_it_is_listed_with_all_its_names(installed: Run) -> None:
    plugins = {
        plugin["name"]: plugin for plugin in json.loads(installed("aeframe.cli.main", "plugins", "--json").stdout)
    }
    names = {kind: [entry["name"] for entry in entries] for kind, entries in plugins["spectra"]["adds"].items()}
    assert (plugins["spectra"]["state"], plugins["spectra"]["distribution"]) == ("ok", "aeframe-spectra")
    assert names == {
        "modality": ["spectra"],
        "dataset": ["spectra_simulated"],
        "loss": ["spectra_charbonnier"],
        "activation": ["spectra_bent"],
    }
    assert sorted(plugins["bits"]["adds"]) == ["activation", "loss"]


@pytest.mark.parametrize(
    "overrides",
    [
        ("model=vae", "data=spectra_simulated", "data.num_samples=64", "batch_size=32"),
        ("model=ae", "loss=bits_charbonnier", "activation=bits_bent"),
    ],
    ids=["modality", "parts"],
)
def test_it_trains_by_name(installed: Run, overrides: tuple[str, ...]) -> None:
    done = installed("aeframe.experiment.main", *overrides, "max_epochs=1", "encoder.hidden=[8]", "pictures=false")
    assert done.returncode == 0, done.stderr
    assert " r2 " in done.stderr


@pytest.mark.slow
def test_it_passes_its_own_tests(installed: Run) -> None:
    done = installed("pytest", "-q", "-p", "no:cacheprovider", "spectra")
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


@pytest.mark.usefixtures("empty_folder")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["Spectra"],
            "a plugin is named in snake_case (letters, digits and single _), found 'Spectra'; choose another",
        ),
        (
            ["mass-spectra"],
            "a plugin is named in snake_case (letters, digits and single _), found 'mass-spectra'; choose another",
        ),
        (["lambda"], "a plugin cannot be named like a keyword of Python, found 'lambda'; choose another"),
        (["core"], f"plugin 'core' is already installed, by aeframe {__version__}; choose another name"),
        (["vector"], "modality 'vector' is already registered, by aeframe; choose another name"),
        (["fine", "--folder", "there"], "'there' exists already; choose another folder with --folder"),
    ],
)
def test_a_bad_name_or_folder_is_rejected_and_nothing_is_written(
    empty_folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    (empty_folder / "there").mkdir()
    assert main(["new-plugin", *arguments]) == 2
    assert capsys.readouterr() == ("", f"error: {message}\n")
    assert [path.name for path in empty_folder.iterdir()] == ["there"]
    assert list((empty_folder / "there").iterdir()) == []


@pytest.mark.usefixtures("empty_folder")
def test_the_name_of_an_installed_plugin_is_rejected(capsys: pytest.CaptureFixture[str]) -> None:
    image = next((plugin for plugin in registry().plugins if plugin.name == "image"), None)
    if image is None:
        pytest.skip("aeframe-image is not installed")
    assert main(["new-plugin", "image"]) == 2
    assert capsys.readouterr().err == (
        f"error: plugin 'image' is already installed, by aeframe-image {image.version}; choose another name\n"
    )
