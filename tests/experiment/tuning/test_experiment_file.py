"""Whatever overrides a run has, the file written for it composes to the same config."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from aeframe.errors import AeframeError
from aeframe.experiment.compose import compose
from aeframe.experiment.tuning.experiment_file import experiment_file, write_experiment
from aeframe.runs.comparison import IGNORED

Option = Callable[[str, str], Path]


def differing(overrides: list[str]) -> list[str]:
    """Return the keys in which the config of the file differs from that of the overrides."""
    path = experiment_file("best")
    write_experiment(path, overrides, "trial 3\nof 20")
    found, expected = compose(["experiment=best"]), compose(overrides)
    return [key for key in expected if key not in IGNORED and found[key] != expected[key]]


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["model=beta_vae", "objective.beta=0.3", "latent.dim=3", "seed=7"],
        ["model=vae", "latent=vq", "objective=deterministic", "sampler=gmm"],
        ["model=vae", "objective.beta={name: linear, start: 0, end: 1}", "encoder.hidden=[8,4]"],
        ["model=wae_gan", "optimizer.lr=1e-5", "optimizers.autoencoder.clip=1.0", "~penalties"],
        ["model=null", "penalties.l1.weight=0.1", "callbacks.lr.class=lightning.pytorch.callbacks.LearningRateMonitor"],
        ["metrics.mig={}", "trainer=cpu", "max_hours=24", "logger=tensorboard", "verbose=false"],
        ["experiment=base", "latent.dim=5"],
        ["model=mine", r"data.path='\${x} is no key'", "data=numbers"],
    ],
    ids=lambda overrides: " ".join(overrides) or "none",
)
def test_the_file_composes_to_the_same_config(overrides: list[str], option: Option) -> None:
    option("model/mine", "# @package _global_\ndefaults: [vae]\nmodel: {name: vae}\nobjective: {beta: 2.0}\n")
    option("experiment/base", "# @package _global_\ndefaults: [override /model: vae]\npenalties: {l1: {weight: 0.5}}\n")
    assert differing(overrides) == []


def test_a_file_of_the_user_is_kept(option: Option) -> None:
    path = option("experiment/best", "# @package _global_\nseed: 3\n")
    with pytest.raises(AeframeError) as error:
        experiment_file("best")
    assert str(error.value) == (
        "the best point is written to 'configs/experiment/best.yaml', which exists and was not written by aeframe "
        "tune; rename that file, or choose another name with --study"
    )
    assert path.read_text(encoding="utf-8").endswith("seed: 3\n")
    assert experiment_file("a study") == Path("configs/experiment/a_study.yaml")


def test_a_file_that_was_written_before_is_replaced() -> None:
    path = experiment_file("best")
    write_experiment(path, ["seed=1"], "first")
    write_experiment(experiment_file("best"), ["seed=2"], "second")
    assert compose(["experiment=best"])["seed"] == 2
    assert path.read_text(encoding="utf-8").startswith("# @package _global_\n# Written by aeframe tune: second\n")
