"""``aeframe-train --config RUN/config.yaml``: the config of a stored run again."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from aeframe.experiment.compose import compose
from aeframe.experiment.main import main
from aeframe.kinds import GROUPS
from aeframe.runs.folder import RunFolder

RECIPE = ["model=beta_vae", "objective.beta={name: linear, end: 4, over: 0.5}", "latent.dim=3"]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Replace the workflow with one that records its configs."""
    configs: list[dict[str, Any]] = []

    def train(config: dict[str, Any], **_: Any) -> types.SimpleNamespace:
        configs.append(config)
        return types.SimpleNamespace(folder=Path("nowhere"), monitored=1.0)

    module = types.ModuleType("aeframe.experiment.workflow")
    module.train = train  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "aeframe.experiment.workflow", module)
    return configs


def stored(*overrides: str, **changes: Any) -> dict[str, Any]:
    config = {**compose([*RECIPE, *overrides]), **changes}
    Path("run").mkdir(exist_ok=True)
    Path("run/config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return config


def test_the_stored_config_is_composed_again(trained: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    # A value that no default and no recipe has, and a string that would be an interpolation.
    config = stored(
        "penalties.l1.weight=0.1", "seed=5", folder="run", root="elsewhere", callbacks={}, monitor="${latent.dim}"
    )
    expected = {**config, "folder": None, "root": "runs"}
    assert main(["--config", "run/config.yaml"]) == 0
    assert main(["--config=run"]) == 0
    assert trained == [expected, expected]
    assert main(["--config", "run", "--cfg", "job"]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == expected


@pytest.mark.parametrize(
    ("overrides", "changes"),
    [
        (["seed=7", "latent.dim=5"], {"seed": 7, "latent": {"dim": 5}}),
        (
            ["objective.beta=2", "trainer.precision=64-true"],
            {"objective": {"beta": 2}, "trainer": {"precision": "64-true"}},
        ),
        (["penalties.l1.weight=0.5", "folder=new"], {"penalties": {"l1": {"weight": 0.5}}, "folder": "new"}),
    ],
)
def test_overrides_change_the_stored_config(
    trained: list[dict[str, Any]], overrides: list[str], changes: dict[str, Any]
) -> None:
    config = stored("penalties.l1.weight=0.1", "seed=5")
    assert main(["--config", "run", *overrides]) == 0
    expected = {
        key: {**config[key], **change} if isinstance(change, dict) and key != "penalties" else change
        for key, change in changes.items()
    }
    found = trained[0]
    assert found.pop("penalties")["l1"]["weight"] == (0.5 if "penalties" in expected else 0.1)
    expected.pop("penalties", None)
    config.pop("penalties")
    assert found == {**config, **expected}


def test_another_part_replaces_the_stored_one(trained: list[dict[str, Any]]) -> None:
    config = stored()
    assert main(["--config", "run", "loss=huber", "loss.delta=2", "data=breast_cancer"]) == 0
    assert trained[0]["loss"] == {**compose([*RECIPE, "loss=huber"])["loss"], "delta": 2}
    assert {**trained[0], "loss": None} == {**config, "loss": None}


def test_a_sweep_varies_the_stored_config(trained: list[dict[str, Any]]) -> None:
    config = stored("seed=5")
    assert main(["-m", "--config", "run", "latent.dim=2,4"]) == 0
    assert [found["latent"]["dim"] for found in trained] == [2, 4]
    assert {found["seed"] for found in trained} == {5}
    assert Path(trained[0]["folder"]).name == "0-beta_vae-breast_cancer"
    assert trained[0]["objective"] == config["objective"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config", "nowhere"], "--config expects the config.yaml of a run, found 'nowhere'; write the path of one"),
        (
            ["--config", "run", "model=ae"],
            "--config has every part of a run, so model=ae has no effect beside it; choose the parts that differ "
            "(loss=..., latent=..., data=...), or leave --config out",
        ),
        (
            ["--config", "experiment.yaml"],
            f"'experiment.yaml' is not the config of a run: it has no part '{GROUPS[0]}'; use the config.yaml of a run "
            "folder, and experiment=NAME for an experiment file",
        ),
    ],
)
def test_what_is_no_stored_config_is_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stored()
    Path("experiment.yaml").write_text("seed: 3\n", encoding="utf-8")
    assert main(arguments) == 2
    assert capsys.readouterr().err == f"error: {message}\n"


PLUGIN = """
from aeframe import hookimpl

@hookimpl
def register_activations(register):
    register('mine', 'torch.nn:ReLU')
"""


def test_a_run_is_repeated_with_equal_weights(
    option: Callable[[str, str], Path], workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workplace / "mine.py").write_text(PLUGIN, encoding="utf-8")
    option("experiment/e", "# @package _global_\nlatent: {dim: 3}\nmax_epochs: 1\n")
    quick = ["trainer.accelerator=cpu", "trainer.threads=1", "pictures=false", "progress=false", "verbose=false"]
    assert main(["--plugin", "mine.py", "experiment=e", "model=vae", "activation=mine", *quick, "folder=one"]) == 0
    flags = [f"--plugin={workplace / 'mine.py'}", f"--config-dir={workplace / 'configs'}"]
    assert RunFolder(Path("one")).read_overrides()[:2] == flags
    assert main(["--config", "one", "folder=two"]) == 2
    assert (
        f"; the stored run used --plugin={workplace / 'mine.py'}, add it if you trust it\n" in capsys.readouterr().err
    )
    assert main(["--plugin", "mine.py", "--config", "one", "folder=two"]) == 0
    first, second = (torch.load(RunFolder(Path(name)).last, weights_only=True)["state_dict"] for name in ("one", "two"))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
