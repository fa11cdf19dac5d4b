"""Settings of Hydra that have no effect in a run are refused, and name those that have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from aeframe.errors import AeframeError
from aeframe.experiment.compose import compose
from aeframe.experiment.composition.loader import Loader
from aeframe.experiment.jobs import check_sweep


def message(*overrides: str) -> str:
    with pytest.raises(AeframeError) as error:
        compose(overrides)
    return str(error.value)


@pytest.mark.parametrize(
    ("override", "text"),
    [
        (
            "hydra.run.dir=x",
            "hydra.run.dir=x has no effect, since a run makes its own folder; set folder=PATH, or root=PATH for the "
            "folder of all runs",
        ),
        (
            "hydra.sweep.dir=x",
            "hydra.sweep.dir=x has no effect, since the folder of a sweep is a setting; set folder=PATH, or root=PATH "
            "for all runs",
        ),
        (
            "hydra.sweep.subdir=x",
            "hydra.sweep.subdir=x has no effect, since the run of each point has a folder NUMBER-MODEL-DATA; set "
            "folder=PATH for the sweep",
        ),
        (
            "hydra.output_subdir=x",
            "hydra.output_subdir=x has no effect, since the run folder has config.yaml and overrides.yaml; leave it "
            "out",
        ),
        (
            "hydra.job.chdir=true",
            "hydra.job.chdir=True has no effect, since a run stays in the working folder; set folder=PATH for its "
            "files",
        ),
        *(
            (
                override,
                f"hydra/{key} has no effect, since a run writes log.txt and metrics.csv into its folder; leave it out "
                "(verbose=false prints less)",
            )
            for key, override in (
                ("job_logging", "hydra/job_logging=default"),
                ("job_logging", "hydra.job_logging.root=x"),
                ("hydra_logging", "hydra/hydra_logging=default"),
            )
        ),
    ],
)
def test_settings_without_effect_are_refused(override: str, text: str) -> None:
    assert message(override) == text


def test_they_are_refused_in_a_file_too(option: Callable[[str, str], Path]) -> None:
    option("experiment/e", "# @package _global_\nhydra: {run: {dir: there}}\n")
    assert message("experiment=e").startswith("hydra.run.dir=there has no effect")


def test_those_with_an_effect_pass() -> None:
    compose(["+hydra.job.env_set.A=b", "hydra.verbose=true", "hydra.run.dir=."])
    check_sweep(Loader(), ["seed=0,1", "hydra.sweeper.max_batch_size=1"])


def test_a_plus_before_a_setting_is_refused() -> None:
    assert (
        message("+seed=3") == "'+seed=...' adds a new key, but a run has 'seed' already; write seed=..., without the +"
    )


def test_parameters_of_a_sweeper_are_overrides() -> None:
    assert message("hydra.sweeper.params={optimizer.lr: tag(log\\,interval(1e-4\\,1e-2))}") == (
        "'hydra.sweeper.params={optimizer.lr: tag(log\\,interval(1e-4\\,1e-2))}' cannot be read; write each parameter "
        "as an override of its own, such as 'optimizer.lr=tag(log,interval(1e-4,1e-2))'"
    )


def test_a_file_that_names_a_dataset_has_its_modality(grid: Path, option: Callable[[str, str], Path]) -> None:
    option("data/mine", "name: squares\nside: 4\n")
    config = compose(["data=mine"])
    assert config["modality"]["name"] == "grid"
    assert config["data"] == {"name": "squares", "side": 4}
    assert config["encoder"]["name"] == "conv"
    # A recipe and a modality of the command line stay.
    assert compose(["data=mine", "loss=mse"])["loss"]["name"] == "mse"
    assert compose(["data=mine", "modality=vector"])["modality"]["name"] == "vector"


def test_points_are_composed_like_runs(option: Callable[[str, str], Path]) -> None:
    option("experiment/e", "# @package _global_\ndefaults: [{override /loss: mae}]\nseed: 5\n")
    from hydra.types import RunMode

    from aeframe.experiment.composition.loader import CONFIG, task_config

    loader = Loader()
    common = ["experiment=e", "+hydra.job.env_set.A=b"]
    master = loader.load_configuration(CONFIG, [*common, "model=ae,vae", "latent.dim=2,3"], RunMode.MULTIRUN)
    for model in ("ae", "vae"):
        for dim in (2, 3):
            point = ["experiment=e", f"model={model}", f"latent.dim={dim}"]
            alone = task_config(Loader().load_configuration(CONFIG, [*point, common[1]], RunMode.RUN))
            assert task_config(loader.point_settings(master, point)) == alone
            assert task_config(loader.load_sweep_config(master, point)) == alone
            assert alone["latent"]["dim"] == dim
