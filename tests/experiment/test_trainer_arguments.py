import subprocess
import sys
from typing import Any

import pytest

from aeframe.errors import AeframeError
from aeframe.experiment.compose import compose
from aeframe.experiment.schema import TrainerSettings
from aeframe.experiment.trainer_arguments import setting_names, trainer_arguments


def error_message(*overrides: str) -> str:
    with pytest.raises(AeframeError) as error:
        compose(list(overrides))
    return str(error.value)


def trainer(*overrides: str) -> dict[str, Any]:
    """Return what differs from the defaults."""
    found: dict[str, Any] = compose(list(overrides))["trainer"]
    own = vars(TrainerSettings())
    return {name: value for name, value in found.items() if name not in own or own[name] != value}


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["trainer.limit_train_batches=0.5"], {"limit_train_batches": 0.5}),
        (["trainer.limit_train_batches=3"], {"limit_train_batches": 3}),
        (["trainer.deterministic=warn"], {"deterministic": "warn"}),
        (["trainer.profiler=simple"], {"profiler": "simple"}),
        (["trainer.gradient_clip_val=1"], {"gradient_clip_val": 1}),
        (["trainer.accumulate_grad_batches=2"], {"accumulate_grad_batches": 2}),
        (["trainer.val_check_interval=0.25"], {"val_check_interval": 0.25}),
        (["trainer.check_val_every_n_epoch=null"], {"check_val_every_n_epoch": None}),
        (["trainer.profiler=null"], {}),
        (["trainer.devices=auto"], {"devices": "auto"}),
        (["trainer.devices=-1"], {"devices": -1}),
        (["trainer.devices=[0,1]"], {"devices": [0, 1]}),
        (["trainer.strategy=fsdp2"], {"strategy": "fsdp2"}),
        (["trainer=cpu"], {"accelerator": "cpu"}),
    ],
)
def test_every_argument_of_lightnings_trainer_may_be_set(overrides: list[str], expected: dict[str, Any]) -> None:
    assert trainer(*overrides) == expected


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "limit_train_batch=1",
            "trainer has no setting 'limit_train_batch', did you mean 'limit_train_batches'?; its settings are "
            f"{', '.join([*setting_names(), *trainer_arguments()])}",
        ),
        ("max_epochs=3", "trainer.max_epochs is a setting of the run itself; set max_epochs= instead"),
        ("max_steps=3", "trainer.max_steps is a setting of the run itself; set max_batches= instead"),
        ("default_root_dir=x", "trainer.default_root_dir is a setting of the run itself; set root= or folder= instead"),
        (
            "barebones=true",
            "trainer.barebones cannot be set: it turns off the checkpoints and metrics that a run writes; leave it out",
        ),
        (
            "deterministic=yes_please",
            "setting 'trainer.deterministic' expects bool | warn | null, found 'yes_please'; change it to such a value",
        ),
        (
            "limit_val_batches=many",
            "setting 'trainer.limit_val_batches' expects int | float | null, found 'many'; change it to such a value",
        ),
        (
            "max_time='00:01:00:00'",
            "trainer.max_time is a setting of the run itself; set max_hours= instead",
        ),
        (
            "accelerator=cpuu",
            "setting 'trainer.accelerator' has no value 'cpuu', did you mean 'cpu'?; choose auto, cpu, gpu, cuda, mps, "
            "tpu",
        ),
        (
            "devices=0",
            "setting 'trainer.devices' must be at least 1, -1 or auto for all, or a list of distinct indices, found 0; "
            "set trainer.devices to one of these",
        ),
        (
            "devices=[0,0]",
            "setting 'trainer.devices' must be at least 1, -1 or auto for all, or a list of distinct indices, found "
            "[0, 0]; set trainer.devices to one of these",
        ),
    ],
)
def test_what_the_trainer_cannot_take_is_one_sentence(override: str, message: str) -> None:
    assert error_message(f"trainer.{override}") == message


@pytest.mark.parametrize("strategy", ["ddp_fork", "ddp_notebook_find_unused_parameters_true"])
def test_a_strategy_that_loses_the_metrics_is_refused(strategy: str) -> None:
    assert error_message(f"trainer.strategy={strategy}") == (
        f"trainer.strategy={strategy} trains in processes that return weights only, but a run needs their metrics; "
        "set trainer.strategy=ddp_spawn, or use it in a Trainer of your own (aeframe.build)"
    )


@pytest.mark.parametrize("strategy", ["fsdp", "fsdp_cpu_offload", "deepspeed_stage_2"])
def test_other_strategies_that_divide_a_model_are_refused(strategy: str) -> None:
    assert error_message(f"trainer.strategy={strategy}") == (
        f"trainer.strategy={strategy} is not supported, since optimizer groups and the moving average of weights need "
        "parameters that keep their names; set trainer.strategy=fsdp2, which also divides weights and optimizer states"
    )


@pytest.mark.parametrize(("name", "nearest"), [("dpp", "ddp"), ("fdsp2", "fsdp2"), ("spawn", "ddp_spawn")])
def test_an_unknown_strategy_is_refused_with_the_nearest_name(name: str, nearest: str) -> None:
    assert error_message(f"trainer.strategy={name}") == (
        f"setting 'trainer.strategy' has no value '{name}', did you mean '{nearest}'?; choose auto, ddp, ddp_spawn, "
        "fsdp2"
    )


def test_every_argument_of_the_installed_trainer_is_decided() -> None:
    import inspect

    import lightning.pytorch as L

    from aeframe.experiment.trainer_arguments import _FIXED, _RENAMED

    installed = set(inspect.signature(L.Trainer.__init__).parameters) - {"self"}
    assert set(_FIXED) | set(_RENAMED) <= installed
    assert set(trainer_arguments()) == installed - set(_FIXED) - set(_RENAMED) - set(setting_names())


def test_lightning_is_imported_only_where_its_arguments_are_set() -> None:
    code = (
        "import sys\nfrom aeframe.experiment.validation import _validated_settings\n"
        "_validated_settings({'trainer': {'devices': 2, 'strategy': 'ddp'}})\nprint('lightning' in sys.modules)\n"
        "_validated_settings({'trainer': {'benchmark': True}})\nprint('lightning' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
