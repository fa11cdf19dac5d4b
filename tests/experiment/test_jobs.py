import pytest

from aeframe.errors import AeframeError
from aeframe.experiment.composition.loader import Loader
from aeframe.experiment.jobs import check_sweep


def error_message(*overrides: str) -> str:
    with pytest.raises(AeframeError) as error:
        check_sweep(Loader(), overrides)
    return str(error.value)


def test_points_that_can_be_composed_pass() -> None:
    check_sweep(Loader(), ["model=vae,ae", "seed=0,1", "penalties.l1.weight=0.1"])


def test_options_of_a_part_may_fit_the_points_and_not_the_default() -> None:
    check_sweep(Loader(), ["model=vae,beta_vae", "objective.beta=2,3"])


def test_a_point_that_cannot_be_composed_is_named() -> None:
    assert error_message("model=ae,vea").startswith(
        "the point model=vea: unknown model 'vea', did you mean 'vae'?; known are "
    )
    assert error_message("model=vae,ae", "objective.beta=2") == (
        "the point model=ae: objective 'deterministic' has no option 'beta'; its options are counts, "
        "and where a recipe sets this one, drop it with '~objective.beta'"
    )


def test_several_local_devices_are_refused() -> None:
    assert error_message("seed=0,1", "trainer.devices=2") == (
        "the point seed=0 has trainer.devices=2, but each process of a run on several devices would start the whole "
        "sweep again; use one device for each point, trainer.strategy=ddp_spawn, or a launcher that makes a Slurm job "
        "of each (hydra/launcher=submitit_slurm)"
    )


def test_a_list_of_devices_is_refused_too() -> None:
    assert error_message("seed=0,1", "trainer.devices=[0,1]").startswith(
        "the point seed=0 has trainer.devices=[0, 1], but each process"
    )
    check_sweep(Loader(), ["seed=0,1", "trainer.devices=[0]"])
