"""Sweeps whose points a sweeper chooses by the objective. Hydra's Optuna sweeper requires optuna<3: a stand-in is used.

The stand-in treats what a job returns as hydra-optuna-sweeper 1.3 does.
"""

from __future__ import annotations

import math
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from omegaconf import OmegaConf

from aeframe.errors import AeframeError
from aeframe.experiment.composition.loader import Loader
from aeframe.experiment.jobs import check_sweep
from aeframe.experiment.main import main

DIMS = (2, 13, 14, 3)
told: list[float | str] = []


class StandIn(Sweeper):
    """Launch one point after the other, and record the objective of each, or that it has none."""

    def __init__(self, direction: str, params: Any = None, max_batch_size: Any = None) -> None: ...

    def setup(self, *, hydra_context: Any, task_function: Any, config: Any) -> None:
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        fixed = [argument for argument in arguments if not argument.startswith("latent.dim=")]
        for number, dim in enumerate(DIMS):
            (returned,) = self.launcher.launch([[*fixed, f"latent.dim={dim}"]], initial_job_idx=number)
            try:
                value = float(returned.return_value)
            except (ValueError, TypeError):
                told.append("failed")
            else:
                # Optuna 2 refuses NaN, and the sweeper then ends with an error.
                assert math.isfinite(value)
                told.append(value)


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace training, and return the overrides of a sweep by the stand-in."""

    def train(config: dict[str, Any], *, job: int, **_: Any) -> types.SimpleNamespace:
        dim = config["latent"]["dim"]
        if dim == 13:
            raise AeframeError("13 brings no luck")
        return types.SimpleNamespace(folder=Path(f"run-{job}"), monitored=math.nan if dim == 14 else 10.0 * dim)

    module = types.ModuleType("aeframe.experiment.workflow")
    module.train = train  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "aeframe.experiment.workflow", module)
    monkeypatch.setenv("AEFRAME_RUN_ID", "now")
    # Hydra takes sweepers of the package hydra_plugins only.
    monkeypatch.setattr(StandIn, "__module__", "hydra_plugins.stand_in")
    plugin = types.ModuleType("hydra_plugins.stand_in")
    plugin.StandIn = StandIn  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "hydra_plugins.stand_in", plugin)
    Plugins.instance().register(StandIn)
    told.clear()
    target = "hydra_plugins.stand_in.StandIn"
    return [
        f"hydra.sweeper._target_={target}",
        "+hydra.sweeper.direction=minimize",
    ]


def error_of(*overrides: str) -> str:
    with pytest.raises(AeframeError) as error:
        check_sweep(Loader(), overrides)
    return str(error.value)


def test_the_objective_is_returned_and_a_failed_point_has_none(
    stand_in: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-m", *stand_in, "latent.dim=2,3"]) == 0
    assert told == [20.0, "failed", "failed", 30.0]
    assert capsys.readouterr().err.splitlines() == [
        "error: point 1 (latent.dim=13): 13 brings no luck",
        "error: point 2 (latent.dim=14): bound was never finite on the validation split",
    ]


def test_a_setting_that_no_point_has_is_refused_before_the_search(stand_in: list[str]) -> None:
    for wrong, value in [("latent.dmi=range(2,9)", 2), ("latent.dmi=interval(2.5,9)", 2.5), ("latent.dmi=4,5", 4)]:
        assert error_of(*stand_in, "seed=0,1", wrong).startswith(
            f"the point seed=0, latent.dmi={value}: latent 'point' has no option 'dmi', did you mean 'dim'?"
        )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["monitor=r2"],
            "the sweeper would minimize monitor 'r2', whose best value is the highest; set "
            "hydra.sweeper.direction=maximize",
        ),
        (
            ["hydra.sweeper.direction=maximize"],
            "the sweeper would maximize monitor 'bound', whose best value is the lowest; set "
            "hydra.sweeper.direction=minimize",
        ),
        (
            ["hydra.sweeper.direction=[minimize,minimize]"],
            "a run returns one objective, its monitored metric, but hydra.sweeper.direction has 2; set "
            "hydra.sweeper.direction=minimize or maximize",
        ),
    ],
)
def test_a_search_for_the_worst_point_is_refused(stand_in: list[str], overrides: list[str], message: str) -> None:
    assert error_of(*stand_in, *overrides, "latent.dim=range(2,9)") == message
    check_sweep(Loader(), [*stand_in, "monitor=r2", "hydra.sweeper.direction=maximize"])


def test_the_direction_may_be_a_member_of_an_enum() -> None:
    from enum import Enum

    from aeframe.experiment.optuna_sweeper import check_direction

    direction = Enum("direction", ["minimize", "maximize"])
    config = {"monitor": "bound", "monitor_mode": "min", "metrics": {}}
    check_direction(OmegaConf.create({"direction": direction.minimize}), config)
    with pytest.raises(AeframeError, match="would maximize"):
        check_direction(OmegaConf.create({"direction": direction.maximize}), config)
    check_direction(OmegaConf.create({"max_batch_size": None}), config)
