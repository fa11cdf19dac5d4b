from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from aeframe.cli.main import main
from aeframe.experiment.compose import compose
from aeframe.experiment.composition.loader import Loader
from aeframe.registry import registry

pytestmark = pytest.mark.usefixtures("empty_folder")


def names(kind: str) -> str:
    """Return the registered names of a kind, in the order of listings."""
    return ", ".join(registry().names(kind))


VAE = "model=vae (aeframe.conf/model/vae.yaml)"
SETTING = "the default of the setting (aeframe.experiment.schema:RunSettings)"
GAUSSIAN = "the signature of latent 'gaussian' (aeframe.parts.latents.gaussian:Gaussian)"
EXPERIMENT = """\
# @package _global_
defaults:
  - override /model: vae
seed: 5
latent: {dim: 6}
"""


@pytest.fixture
def mine(empty_folder: Path) -> str:
    """Write an experiment, and return how ``config why`` names it."""
    path = empty_folder / "configs" / "experiment" / "mine.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(EXPERIMENT, encoding="utf-8")
    return f"experiment=mine ({path})"


def config(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["config", *arguments]) == 0
    return capsys.readouterr().out


def test_show_prints_the_composed_config(capsys: pytest.CaptureFixture[str]) -> None:
    assert yaml.safe_load(config(capsys, "show", "model=vae", "latent.dim=3")) == compose(["model=vae", "latent.dim=3"])


def test_show_takes_another_config_folder(empty_folder: Path, mine: str, capsys: pytest.CaptureFixture[str]) -> None:
    (empty_folder / "configs").rename(empty_folder / "other")
    shown = yaml.safe_load(config(capsys, "show", "experiment=mine", "--config-dir", "other"))
    assert (shown["seed"], shown["latent"]["dim"]) == (5, 6)


def test_check_reports_that_a_run_would_start(capsys: pytest.CaptureFixture[str]) -> None:
    assert config(capsys, "check", "model=vae") == "vae on breast_cancer would start: samples of 30, real\n"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["nope=1"], "a run has no setting and no part 'nope'; aeframe-train --help lists what it has"),
        (
            ["model=linear_ae", "latent.dim=0"],
            "a latent needs dim of at least 1, found a linear layer with 0 outputs; set latent.dim=1 or more",
        ),
    ],
)
def test_check_reports_why_a_run_would_not_start(
    capsys: pytest.CaptureFixture[str], overrides: list[str], message: str
) -> None:
    assert main(["config", "check", *overrides]) == 2
    assert capsys.readouterr() == ("", f"error: {message}\n")


def test_why_prints_all_sources_by_precedence(mine: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert config(capsys, "why", "latent.dim", "experiment=mine", "latent.dim=3") == (
        "latent.dim: 3\n"
        "  set by    the command line: latent.dim=3\n"
        f"  overrides {mine}, value 6\n"
        f"  overrides {GAUSSIAN}, value 16\n"
        "  expects   int\n"
    )


@pytest.mark.parametrize(
    ("arguments", "sources"),
    [
        (["seed"], [("0", SETTING)]),
        (["seed", "experiment=mine"], [("5", "MINE"), ("0", SETTING)]),
        (["latent.dim", "model=vae"], [("16", GAUSSIAN)]),
        (["logger"], [("null", "aeframe.conf/train.yaml")]),
        (
            ["logger", "logger=wandb"],
            [("wandb", "the command line: logger=wandb"), ("null", "aeframe.conf/train.yaml")],
        ),
        (
            ["logger.wandb.mode", "logger=wandb", "logger.wandb.mode=offline"],
            [
                ("offline", "the command line: logger.wandb.mode=offline"),
                ("online", "the signature of logger 'wandb' (aeframe.training.loggers:wandb)"),
            ],
        ),
        (
            ["trainer.profiler", "trainer.profiler=simple"],
            [("simple", "the command line: trainer.profiler=simple")],
        ),
        (["latent", "model=vae"], [("gaussian", VAE), ("point", "aeframe.conf/train.yaml")]),
        (["latent.name", "model=vae"], [("gaussian", VAE), ("point", "aeframe.conf/train.yaml")]),
        (
            ["latent", "model=vae", "latent=fsq"],
            [("fsq", "the command line: latent=fsq"), ("gaussian", VAE), ("point", "aeframe.conf/train.yaml")],
        ),
        (
            ["loss", "model=wae_mmd"],
            [
                ("mse", "model=wae_mmd (aeframe.conf/model/wae_mmd.yaml)"),
                ("mse", "modality 'vector' (aeframe.data.vector:Vector)"),
                ("mse", "aeframe.conf/train.yaml"),
            ],
        ),
        (["model", "experiment=mine"], [("vae", "MINE"), ("ae", "aeframe.conf/train.yaml")]),
        (["loss"], [("mse", "modality 'vector' (aeframe.data.vector:Vector)"), ("mse", "aeframe.conf/train.yaml")]),
        (["data"], [("breast_cancer", "the default data of modality 'vector'"), ("null", "aeframe.conf/train.yaml")]),
        (
            ["trainer.precision", "trainer=gpu"],
            [("bf16-mixed", "trainer=gpu (aeframe.conf/trainer/gpu.yaml)"), ("32-true", SETTING)],
        ),
        (
            ["penalties.l1.weight", "penalties.l1.weight=0.3"],
            [
                ("0.3", "the command line: penalties.l1.weight=0.3"),
                ("0.001", "the signature of penalty 'l1' (aeframe.parts.penalties.code:L1)"),
            ],
        ),
        (
            ["latent.dim", "experiment=mine", "~latent.dim"],
            [("null", "the command line removes it: ~latent.dim"), ("6", "MINE"), ("16", GAUSSIAN)],
        ),
        (
            ["objective.beta.end", "model=vae", "objective.beta={name: linear, end: 4}"],
            [("4", "the command line: objective.beta={name: linear, end: 4}")],
        ),
    ],
)
def test_sources_are_the_command_line_files_modalities_and_signatures(
    mine: str, capsys: pytest.CaptureFixture[str], arguments: list[str], sources: list[tuple[str, str]]
) -> None:
    _, *lines = config(capsys, "why", *arguments).splitlines()
    expected = [
        f"  set by    {place}" if number == 0 else f"  overrides {place}, value {value}"
        for number, (value, place) in enumerate(sources)
    ]
    assert [line.replace(mine, "MINE") for line in lines if line.startswith(("  set by", "  overrides"))] == expected


@pytest.mark.parametrize(
    ("arguments", "value", "alternatives"),
    [
        (["prior"], "prior: normal", [f"  available {names('prior')}"]),
        (["experiment"], "experiment: null", ["  available EXPERIMENTS"]),
        (
            ["objective.beta", "model=beta_vae"],
            "objective.beta: 4.0",
            [
                "  expects   schedule",
                f"  available a number, or {{name: ..., options}} with one of {names('schedule')}",
            ],
        ),
        (
            ["optimizer.lr"],
            "optimizer.lr: 0.001",
            [
                "  expects   schedule",
                f"  available a number, or {{name: ..., options}} with one of {names('schedule')}",
            ],
        ),
        (["max_batches"], "max_batches: null", ["  expects   int | null"]),
        (["optimizer.betas"], "optimizer.betas: [0.9, 0.999]", ["  expects   [float, float]"]),
    ],
)
def test_why_prints_alternatives(
    capsys: pytest.CaptureFixture[str], arguments: list[str], value: str, alternatives: list[str]
) -> None:
    # Experiments of installed plugins; the working folder is empty.
    packaged = ", ".join(Loader(names_only=True).get_group_options("experiment")) or "none"
    expected = [line.replace("EXPERIMENTS", packaged) for line in alternatives]
    first, *lines = config(capsys, "why", *arguments).splitlines()
    assert (first, lines[-len(expected) :]) == (value, expected)


def test_a_part_of_a_plugin_file_has_its_module_as_source(
    plugin_file: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    plugin_file(
        "from aeframe import hookimpl\nfrom aeframe.parts.losses.distances import SquaredError\n"
        "@hookimpl\ndef register_losses(register):\n    register('mine', 'aeplugin:SquaredError')\n"
    )
    assert "  set by    the signature of loss 'mine' (aeplugin:SquaredError)\n" in config(
        capsys, "why", "loss.activation", "loss=mine"
    )


def test_an_unknown_key_is_reported_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "why", "latnt.dim"]) == 2
    assert capsys.readouterr() == (
        "",
        "error: a run has no 'latnt.dim', did you mean 'latent.dim'?; 'aeframe config show' prints all that it has\n",
    )
