"""Compositions of one process share a loader, as long as a new one would compose the same."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.types import RunMode

from aeframe.errors import AeframeError
from aeframe.experiment.compose import compose, composed_by
from aeframe.experiment.composition import loader as loader_module
from aeframe.experiment.composition.loader import CONFIG, Loader
from aeframe.experiment.composition.shared_loader import shared_loader
from aeframe.registry import register
from aeframe.registry import reset as reset_registry

DIM = "# @package _global_\nlatent:\n  dim: {}\n"


def test_the_same_choices_are_composed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = compose(["model=vae", "latent.dim=3"])
    monkeypatch.setattr(loader_module.ReadingOnce, "load_configuration", None)
    second = compose(["model=vae", "latent.dim=4"])
    assert (first["latent"]["dim"], second["latent"]["dim"]) == (3, 4)
    second["latent"]["dim"] = first["latent"]["dim"]
    assert first == second


def test_a_changed_config_does_not_change_the_next() -> None:
    changed = compose(["model=vae"])
    changed["optimizer"]["lr"] = changed["latent"]["dim"] = -1
    assert compose(["model=vae"]) == composed_by(Loader(), ["model=vae"])


def test_a_changed_option_file_is_read_again(option: Callable[[str, str], Path]) -> None:
    compose(["model=vae"])
    for dim in (3, 4):
        file = option("model/mine", DIM.format(dim))
        os.utime(file, ns=(1, 1))
        assert compose(["model=mine"])["latent"]["dim"] == dim
    file.unlink()
    with pytest.raises(AeframeError, match="mine"):
        compose(["model=mine"])


def test_each_folder_of_options_has_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for dim in (3, 4):
        file = tmp_path / str(dim) / "configs" / "model" / "mine.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(DIM.format(dim), encoding="utf-8")
    for dim in (3, 4):
        assert compose(["model=mine"], config_dir=tmp_path / str(dim) / "configs")["latent"]["dim"] == dim
        monkeypatch.chdir(tmp_path / str(dim))
        assert compose(["model=mine"])["latent"]["dim"] == dim


def test_the_working_folder_is_that_of_the_composition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaders = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        loaders.append(shared_loader(None, ()))
        config = loaders[-1].load_configuration(CONFIG, [], RunMode.RUN)
        assert config.hydra.runtime.cwd == str(tmp_path / name)
    assert loaders[0] is loaders[1]


def test_files_that_read_the_environment_are_composed_anew(
    option: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    option("model/mine", DIM.format("${oc.decode:${oc.env:DIM}}"))
    for dim in (3, 4):
        monkeypatch.setenv("DIM", str(dim))
        assert compose(["model=mine"])["latent"]["dim"] == dim
    assert shared_loader(None, ()) is not shared_loader(None, ())


def test_a_folder_of_an_override_is_read_anew() -> None:
    overrides = ("hydra.searchpath=[file://other]",)
    assert shared_loader(None, overrides) is not shared_loader(None, overrides)
    assert shared_loader(None, ()) is shared_loader(None, ())


def test_a_part_that_is_registered_again_has_its_new_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aeframe.registry._registered", {})

    def loss(weight: float) -> None:
        @register("loss", "mine")
        class Mine:
            """A loss."""

            domains = frozenset({"real", "unit"})

            def __init__(self, *, weight: float = weight) -> None: ...

    for weight in (1.0, 2.0):
        loss(weight)
        assert compose(["loss=mine"])["loss"]["weight"] == weight
    reset_registry()


def test_a_loader_with_many_configs_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aeframe.experiment.composition.shared_loader._MAX_CHOICES", 1)
    first = shared_loader(None, ())
    compose(["model=vae"])
    assert shared_loader(None, ()) is not first
