"""A stranger's plugin: one loss and one activation in a folder, trained by name with no edit in core."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "aeframe-folder"
version = "0.1.0"
dependencies = ["aeframe"]

[project.entry-points.aeframe]
folder = "aeframe_folder"

[tool.hatch.build.targets.wheel]
packages = ["aeframe_folder"]
"""
# {package} is where the parts are: a package of its own, or a module beside a plain file.
HOOKS = """\
from aeframe import hookimpl

@hookimpl
def register_losses(register):
    register("quartic", "{package}:Quartic", summary="fourth power of the error")

@hookimpl
def register_activations(register):
    register("bent", "{package}:Bent", summary="a bent line")
"""
LOSS = """\
class Quartic(Loss):
    domains = frozenset({"real", "unit"})
    def __init__(self, *, scale: float = 1.0):
        super().__init__()
        self.scale = scale
    def mean(self, output):
        return output[:, 0]
    def elements(self, output, x):
        return self.scale * (self.mean(output) - x) ** 4
"""
ACTIVATION = """\
class Bent(nn.Module):
    def __init__(self, *, below: float = 0.1):
        super().__init__()
        self.below = below

    def forward(self, x):
        return torch.where(x > 0, x, self.below * x)
"""
PARTS = f"import torch\nfrom torch import nn\nfrom aeframe.parts import Loss\n\n{LOSS}\n\n{ACTIVATION}"

WORDS = [
    "loss=quartic", "loss.scale=0.5", "activation=bent", "activation.below=0.2", "encoder.hidden=[8]", "latent.dim=2",
    "batch_size=200", "max_epochs=1", "pictures=false", "trainer.accelerator=cpu", "trainer.threads=1", "folder=run",
]  # fmt: skip


def test_each_part_is_ten_lines_at_most() -> None:
    # What an idea costs is one of the project's promises.
    for text in (LOSS, ACTIVATION):
        assert len(text.splitlines()) <= 10


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return the environment of somebody who has this aeframe, and nothing else set."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("AEFRAME_")}
    return {
        **kept, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg", "PYTHONWARNINGS": "default",
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
    }  # fmt: skip


def python(*words: str, cwd: Path, environment: dict[str, str], code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, check=False, cwd=cwd, env=environment
    )
    assert done.returncode == code, done.stderr
    return done


def train(cwd: Path, environment: dict[str, str]) -> dict[str, float]:
    """Train by name, and return the test metrics."""
    python("-m", "aeframe.experiment.main", *WORDS, cwd=cwd, environment=environment)
    found: dict[str, float] = json.loads((cwd / "run" / "metrics.json").read_text(encoding="utf-8"))["test"]
    return found


def check_saved(cwd: Path, environment: dict[str, str]) -> None:
    """Open what was trained, and see that the parts are those of the plugin."""
    opened = python(
        "-c",
        "import aeframe, torch; m = aeframe.load('run'); x = torch.zeros(2, 30);"
        "print(type(m.model.loss).__name__, m.model.loss.scale, 'Bent' in str(m.model.encoder));"
        "assert torch.allclose(m.score(x), 0.5 * (m.reconstruct(x) - x).pow(4).sum(1))",
        cwd=cwd,
        environment=environment,
    )
    assert opened.stdout == "Quartic 0.5 True\n"


def test_an_installed_plugin_and_a_plain_file_train_by_name(tmp_path: Path, environment: dict[str, str]) -> None:
    source, site, first, second = (tmp_path / name for name in ("source", "site", "first", "second"))
    (source / "aeframe_folder").mkdir(parents=True)
    (source / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    (source / "aeframe_folder" / "__init__.py").write_text(HOOKS.format(package="aeframe_folder.parts"))
    (source / "aeframe_folder" / "parts.py").write_text(PARTS, encoding="utf-8")
    first.mkdir()
    # Its build backend is installed with the tests, and its one requirement is us: nothing is fetched.
    pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(site)]
    offline = {**environment, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    python(*pip, str(source), cwd=tmp_path, environment=offline)
    installed = {**environment, "PYTHONPATH": os.pathsep.join([str(ROOT), str(site)])}
    listed = python("-m", "aeframe.cli.main", "plugins", cwd=first, environment=installed).stdout
    assert "folder (aeframe-folder 0.1.0) ok\n  loss        quartic\n  activation  bent\n" in listed
    by_package = train(first, installed)
    check_saved(first, installed)
    saved = (first / "run" / "model" / "config.yaml").read_text(encoding="utf-8")
    assert "aeframe-folder" in saved

    second.mkdir()
    (second / "aeplugin.py").write_text(HOOKS.format(package="mine"), encoding="utf-8")
    (second / "mine.py").write_text(PARTS, encoding="utf-8")
    # The file of the folder is not loaded before it is trusted.
    refused = python("-m", "aeframe.experiment.main", *WORDS, cwd=second, environment=environment, code=2)
    assert refused.stderr.splitlines()[0].startswith("aeplugin.py in this folder is not loaded; ")
    assert not (second / "run").exists()
    python("-m", "aeframe.cli.main", "plugins", "trust", ".", cwd=second, environment=environment)
    assert train(second, environment) == by_package
    check_saved(second, environment)

    # Without the plugin its names are unknown, and its model says what is missing.
    empty = tmp_path / "empty"
    empty.mkdir()
    refused = python("-m", "aeframe.experiment.main", *WORDS, cwd=empty, environment=environment, code=2)
    assert refused.stderr.startswith("error: unknown loss 'quartic'")
    evaluate = ("-m", "aeframe.cli.main", "evaluate", str(first / "run"))
    refused = python(*evaluate, cwd=empty, environment=environment, code=2)
    assert refused.stderr.startswith("error: ")
    assert "aeframe-folder" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert not list(empty.iterdir())
    assert "aeframe-folder" not in {each.metadata["Name"] for each in importlib.metadata.distributions()}


@pytest.mark.slow
@pytest.mark.parametrize("trusted", [False, True], ids=["named", "trusted"])
def test_every_process_of_a_run_on_two_devices_loads_the_plain_file(
    trusted: bool, tmp_path: Path, environment: dict[str, str]
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "aeplugin.py").write_text(HOOKS.format(package="mine"), encoding="utf-8")
    (folder / "mine.py").write_text(PARTS, encoding="utf-8")
    named = [] if trusted else ["--plugin", "aeplugin.py"]
    if trusted:
        python("-m", "aeframe.cli.main", "plugins", "trust", ".", cwd=folder, environment=environment)
    words = [*named, *WORDS, "trainer.devices=2"]
    environment = {**environment, "OMP_NUM_THREADS": "1"}
    done = python("-m", "aeframe.experiment.main", *words, cwd=folder, environment=environment)
    assert "is not loaded" not in done.stderr
    config = (folder / "run" / "model" / "config.yaml").read_text(encoding="utf-8")
    assert "name: quartic" in config
