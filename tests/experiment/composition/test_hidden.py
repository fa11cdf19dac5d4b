"""Files in the user's folder that hide packaged options are named in the banner and in the card."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import aeframe
from aeframe.experiment.composition.hidden import hidden_options
from aeframe.experiment.composition.loader import Loader
from aeframe.experiment.main import main

Option = Callable[[str, str], Path]
RECIPE = "# @package _global_\ndefaults:\n  - /model/ae\n  - override /loss: mse\nmodel: {name: vae}\n"
SHORT = ["data=breast_cancer", "model=ae", "latent.dim=2", "pictures=false", "trainer.accelerator=cpu"]


@pytest.mark.parametrize(
    ("files", "overrides", "expected"),
    [
        ({"model/vae": RECIPE}, ["model=vae"], ["configs/model/vae.yaml"]),
        ({"model/vae": RECIPE}, ["model='vae'"], ["configs/model/vae.yaml"]),
        # The recipe, not the command line, chooses the loss.
        (
            {"model/vae": RECIPE, "loss/mse": "name: mse\n"},
            ["model=vae"],
            ["configs/loss/mse.yaml", "configs/model/vae.yaml"],
        ),
        ({"loss/mse": "name: huber\n"}, ["loss=mse"], ["configs/loss/mse.yaml"]),
        ({"data/breast_cancer": "name: digits\n"}, ["model=ae"], ["configs/data/breast_cancer.yaml"]),
        (
            {"experiment/infilling_ae": "# @package _global_\nseed: 3\n"},
            ["experiment=infilling_ae"],
            ["configs/experiment/infilling_ae.yaml"],
        ),
        ({"logger/csv": "# @package _global_\nlogger: {csv: {name: csv}}\n"}, ["logger=[csv]"], []),
        ({"logger/wandb": "name: wandb\n"}, ["logger=[wandb]"], ["configs/logger/wandb.yaml"]),
        # An option of a new name, and one that the run does not use.
        ({"loss/mine": "name: mse\n", "model/vae": RECIPE}, ["model=ae", "loss=mine"], []),
        ({}, ["model=vae"], []),
    ],
    ids=[
        "recipe",
        "quoted",
        "part of a recipe",
        "part",
        "default",
        "experiment",
        "new name",
        "logger",
        "other",
        "none",
    ],
)
def test_files_that_hide_packaged_options_are_found(
    files: dict[str, str], overrides: list[str], expected: list[str], option: Option
) -> None:
    for name, text in files.items():
        option(name, text)
    assert sorted(hidden_options(Loader(), overrides)) == expected


def test_the_folder_of_the_command_line_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine" / "loss").mkdir(parents=True)
    file = tmp_path / "mine" / "loss" / "mse.yaml"
    file.write_text("name: mse\n", encoding="utf-8")
    assert hidden_options(Loader(Path("mine")), ["loss=mse"]) == ["mine/loss/mse.yaml"]
    (tmp_path / "here").mkdir()
    monkeypatch.chdir("here")
    assert hidden_options(Loader(Path("../mine")), ["loss=mse"]) == [str(file)]
    assert hidden_options(Loader(), ["loss=mse"]) == []


def test_the_banner_and_the_card_name_the_files(
    workplace: Path, option: Option, capsys: pytest.CaptureFixture[str]
) -> None:
    option("loss/mse", "name: mae\n")
    line = "configs/loss/mse.yaml hides the packaged option of that name"
    card = "- Options: `configs/loss/mse.yaml` of the user hid the packaged option of that name\n"
    assert main([*SHORT, "loss=mse", "max_batches=2", "folder=run"]) == 0
    assert capsys.readouterr().err.count(line) == 1
    assert card in (workplace / "run" / "model" / "card.md").read_text(encoding="utf-8")
    # A resumed run has the options that it began with.
    (workplace / "configs" / "loss" / "mse.yaml").unlink()
    option("model/ae", "# @package _global_\nmodel: {name: ae}\n")
    assert main(["resume=run", "max_batches=4"]) == 0
    assert capsys.readouterr().err.count("hides the packaged option") == 1
    assert card in (workplace / "run" / "model" / "card.md").read_text(encoding="utf-8")
    model = aeframe.load("run")
    assert model.config["loss"]["name"] == "mae"
    assert model.encode(torch.zeros(3, *model.spec.shape)).shape == (3, 2)


def test_fit_names_the_files(workplace: Path, option: Option, capsys: pytest.CaptureFixture[str]) -> None:
    option("loss/mse", "name: mse\n")
    for loss, count in (("mse", 1), ("mae", 0)):
        run = aeframe.fit(loss=loss, folder=loss, overrides=[*SHORT, "max_batches=1"])
        assert capsys.readouterr().err.count("hides the packaged option") == count
        assert (run.folder / "model" / "card.md").read_text(encoding="utf-8").count("- Options:") == count


def test_a_folder_of_links_to_itself_is_searched_once(option: Option) -> None:
    file = option("model/vae", RECIPE)
    (file.parent / "again").symlink_to(file.parents[1], target_is_directory=True)
    assert hidden_options(Loader(), ["model=vae"]) == ["configs/model/vae.yaml"]


def test_the_options_of_a_run_are_found_only_if_a_file_may_hide_one(
    option: Option, monkeypatch: pytest.MonkeyPatch
) -> None:
    option("model/mine", RECIPE)
    monkeypatch.setattr(Loader, "used_options", lambda *_: pytest.fail("they are found"))
    assert hidden_options(Loader(), ["model=mine"]) == []
