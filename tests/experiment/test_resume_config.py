"""Which settings a resumed run has: those of its config.yaml, with the few that may change."""

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from aeframe.errors import AeframeError
from aeframe.experiment import api
from aeframe.experiment.compose import compose
from aeframe.experiment.main import main
from aeframe.experiment.resume import MAY_CHANGE
from aeframe.runs.folder import RunFolder

Option = Callable[[str, str], Path]
MakeRun = Callable[..., Path]


@pytest.fixture
def run(workplace: Path) -> MakeRun:
    """Return a function that writes a run folder with a config and an empty checkpoint."""

    def make(*overrides: str, at: str = "run", checkpoint: bool = True, **changes: Any) -> Path:
        folder = RunFolder(workplace / at)
        folder.checkpoints.mkdir(parents=True)
        folder.write_config({**compose(list(overrides)), **changes})
        if checkpoint:
            folder.last.touch()
        return folder.path

    return make


def error_message(*overrides: str) -> str:
    with pytest.raises(AeframeError) as error:
        compose(list(overrides))
    return str(error.value)


def different(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    return [key for key in one if one[key] != other[key]]


def cannot_change(key: str, data: str = "") -> str:
    return (
        f"resume cannot change '{key}'; it can change {', '.join(MAY_CHANGE)}{data}; start a new run for anything else"
    )


@pytest.mark.parametrize("prefix", ["", "+", "++"])
def test_a_resumed_run_has_its_own_config(run: MakeRun, prefix: str) -> None:
    path = run("model=vae", "latent.dim=3", "max_epochs=7", "seed=4")
    config = compose([f"{prefix}resume={path}"])
    stored = yaml.safe_load((path / "config.yaml").read_text(encoding="utf-8"))
    assert different(config, stored) == ["resume"]
    assert (config["resume"], config["folder"]) == (str(path), None)


@pytest.mark.parametrize("prefix", ["", "+", "++"])
@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("model=vae", "model"),
        ("optimizer.lr=0.5", "optimizer"),
        ("++optimizer.lr=0.5", "optimizer"),
        ("seed=7", "seed"),
        ("data=numbers", "data"),
        ("~latent.dim", "latent"),
        ("monitor=loss", "monitor"),
        ("folder=elsewhere", "folder"),
        ("penalties.l1.weight=1", "penalties"),
    ],
)
def test_settings_that_resume_cannot_change(run: MakeRun, prefix: str, override: str, key: str) -> None:
    path = run("latent.dim=3")
    if override.startswith("~"):
        override = "latent.dim=4"
    assert error_message(f"{prefix}resume={path}", override) == cannot_change(key)


def test_an_override_equal_to_the_stored_value_is_accepted(run: MakeRun) -> None:
    path = run("model=vae", "latent.dim=3", "objective.beta={name: linear, end: 4}")
    config = compose([f"resume={path}", "model=vae", "latent.dim=3", "objective.beta={name: linear, end: 4}"])
    assert config["latent"]["dim"] == 3


def test_settings_that_resume_can_change_are_taken_from_the_composed_config(
    run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EPOCHS_OF_A_TEST", "9")
    path = run("max_epochs=3", "trainer.accelerator=cpu", "patience=2", "metrics.mae=null")
    config = compose(
        [
            f"resume={path}",
            "max_epochs=${oc.env:EPOCHS_OF_A_TEST}",
            "patience=null",
            "trainer.devices=2",
            "max_hours=1.5",
            "callbacks.lr.class=lightning.pytorch.callbacks.LearningRateMonitor",
            "checkpoint_every=10min",
            "stretch_schedules=true",
        ]
    )
    assert (config["max_epochs"], config["patience"], config["metrics"]) == (9, None, {"mae": None})
    assert (config["checkpoint_every"], config["stretch_schedules"]) == ("10min", True)
    assert {key: config["trainer"][key] for key in ("accelerator", "devices")} == {
        "accelerator": "cpu",
        "devices": 2,
    }
    assert (config["max_hours"], list(config["callbacks"])) == (1.5, ["lr"])


def test_a_choice_of_loggers_replaces_those_of_the_run(run: MakeRun) -> None:
    path = run("logger=tensorboard")
    assert list(compose([f"resume={path}"])["logger"]) == ["tensorboard"]
    assert compose([f"resume={path}", "logger=null"])["logger"] == {}
    assert list(compose([f"resume={path}", "logger=wandb"])["logger"]) == ["wandb"]
    assert list(compose([f"resume={path}", "logger.csv.class=lightning.pytorch.loggers.CSVLogger"])["logger"]) == [
        "tensorboard",
        "csv",
    ]


def test_only_the_keys_of_a_trainer_option_file_are_changed(run: MakeRun) -> None:
    path = run("trainer.threads=2")
    config = compose([f"resume={path}", "trainer=cpu"])
    assert (config["trainer"]["accelerator"], config["trainer"]["threads"]) == ("cpu", 2)


def test_an_experiment_may_resume(run: MakeRun, option: Option) -> None:
    path = run("model=vae", "latent.dim=3", "max_epochs=2")
    header = f"# @package _global_\ndefaults:\n  - override /model: vae\nresume: {path}\n"
    option("experiment/more", header + "max_epochs: 5\nlatent: {dim: 3}\n")
    config = compose(["experiment=more"])
    assert (config["resume"], config["max_epochs"], config["model"]) == (str(path), 5, {"name": "vae"})
    option("experiment/other", header + "latent: {dim: 4}\n")
    assert error_message("experiment=other") == cannot_change("latent")
    option("experiment/other_model", header.replace("vae", "beta_vae"))
    assert error_message("experiment=other_model") == cannot_change("model")


def test_paths_of_the_data_may_change(run: MakeRun, workplace: Path) -> None:
    path = run("data=numbers", "data.path=/old/rows.csv", "data.label=kind")
    config = compose([f"resume={path}", "data.path=/new/rows.csv"])
    assert config["data"]["path"] == "/new/rows.csv"
    assert config["data"]["label"] == "kind"
    assert compose([f"resume={path}", "data=numbers", "data.path=/new/rows.csv"])["data"] == config["data"]
    assert error_message(f"resume={path}", "data.label=other") == cannot_change("data", ", data.path, data.test_path")


def test_interpolations_in_a_stored_config_are_literal(run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_A_TEST", "an interpolated value")
    path = run("data=numbers", "data.path='rows\\${oc.env:SECRET_OF_A_TEST}.csv'", root="${oc.env:SECRET_OF_A_TEST}")
    config = compose([f"resume={path}", "max_epochs=3"])
    assert config["root"] == "${oc.env:SECRET_OF_A_TEST}"
    assert config["data"]["path"] == "rows${oc.env:SECRET_OF_A_TEST}.csv"
    assert "an interpolated value" not in str(config)


def test_a_folder_without_a_run_is_an_error(workplace: Path) -> None:
    (workplace / "empty").mkdir()
    assert error_message("resume=empty") == (
        "'empty' is not a run folder: it has no config.yaml; use the folder of a run"
    )


def test_a_stored_config_that_does_not_fit_names_its_run(run: MakeRun) -> None:
    path = run(sed=3)
    assert error_message(f"resume={path}") == (
        f"the config of run '{path}' cannot be used here: a run has no setting and no part 'sed', did you mean 'seed'?"
    )


# -- from the command line and from Python ---------------------------------------------------------------------------


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    configs: list[dict[str, Any]] = []

    class Trained:
        monitored = 0.0

    def train(config: dict[str, Any], **_: Any) -> type[Trained]:
        configs.append(config)
        return Trained

    module = types.ModuleType("aeframe.experiment.workflow")
    module.train = train  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return configs


ODD = ["it's", 'a "quoted" one', "comma, and space", "back\\slash", "back\\", "${oc.env:HOME}", "\\${x}", "a=b", "123"]


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("kind", [str, Path])
def test_fit_resumes_a_folder_of_any_name(
    run: MakeRun, trained: list[dict[str, Any]], name: str, kind: Callable[[str], Any]
) -> None:
    run("max_epochs=2", at=name)
    api.fit(resume=kind(name), max_epochs=3)
    assert [(config["resume"], config["max_epochs"]) for config in trained] == [(name, 3)]


def test_the_command_resumes(run: MakeRun, trained: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    path = run("model=vae", "latent.dim=3")
    assert main([f"++resume={path}", "max_epochs=3"]) == 0
    assert [(config["latent"]["dim"], config["max_epochs"]) for config in trained] == [(3, 3)]
    assert main([f"++resume={path}", "optimizer.lr=0.5", "seed=7"]) == 2
    assert capsys.readouterr().err == f"error: {cannot_change('optimizer')}\n"
    assert len(trained) == 1
