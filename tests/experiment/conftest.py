"""A folder of its own for each test, with a plugin file in it: the composition is tried as a stranger would use it."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from aeframe import registry
from aeframe.trust import trust

torch.set_num_threads(1)

PLUGIN = """
from aeframe import hookimpl

@hookimpl
def register_modalities(register):
    register("grid", "aeplugin_parts:Grid")

@hookimpl
def register_datasets(register):
    register("squares", "aeplugin_parts:Squares")
    register("circles", "aeplugin_parts:Circles")
"""
PARTS = '''
from aeframe.types import DataSpec, Domain
from aeframe.data.modality import Dataset, Modality

class Grid(Modality):
    """Small squares with values in [0, 1]."""

    defaults = {"encoder": "conv", "loss": "mae"}
    dataset = "squares"

    def spec(self, dataset):
        return DataSpec((1, dataset.side, dataset.side), Domain("unit"))

    def apply(self, raw): ...
    def render(self, panels): ...
    def open(self, path, on_error): ...
    def write_batches(self, samples, path): ...

class Squares(Dataset):
    modality = "grid"

    def __init__(self, *, side: int = 8):
        self.side = side

    def describe(self):
        return {"side": self.side}

    def load(self): ...

class Circles(Squares):
    """Another data set of the same modality."""
'''


@pytest.fixture(autouse=True)
def workplace(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Work in an empty folder, with the registry and the environment as they are at first."""
    for variable in ("AEFRAME_PLUGIN_FILES", "AEFRAME_DISABLE", "AEFRAME_STRICT_PLUGINS", "AEFRAME_RUN_ID"):
        # Set first, so that what a test puts there is taken away after it.
        monkeypatch.setenv(variable, "")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
    monkeypatch.chdir(tmp_path)
    registry.reset()
    yield tmp_path
    registry.reset()
    for module in ("aeplugin", "aeplugin_parts"):
        sys.modules.pop(module, None)


@pytest.fixture
def grid(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a trusted ``aeplugin.py`` with a modality and two data sets into the working folder."""
    (workplace / "aeplugin.py").write_text(PLUGIN, encoding="utf-8")
    (workplace / "aeplugin_parts.py").write_text(PARTS, encoding="utf-8")
    trust(workplace)
    monkeypatch.syspath_prepend(workplace)
    registry.reset()
    return workplace


@pytest.fixture
def option(workplace: Path) -> Callable[[str, str], Path]:
    """Return a function that writes an option of the user's own: ``option("model/mine", "...")``."""

    def write(name: str, text: str) -> Path:
        path = workplace / "configs" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def num_models(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of models in each vectorized step."""
    # Imports Lightning, which most tests of this folder do not need.
    from aeframe.training.packing import PackedStep

    steps: list[int] = []
    step = PackedStep.step

    def counted(self: PackedStep, *args: Any) -> None:
        steps.append(len(self.members))
        step(self, *args)

    monkeypatch.setattr(PackedStep, "step", counted)
    return steps
