import enum
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightning.pytorch.callbacks import Callback, EarlyStopping, LearningRateMonitor, Timer

from aeframe.errors import AeframeError
from aeframe.experiment.callbacks_and_loggers import build_callbacks, build_loggers
from aeframe.experiment.compose import compose
from aeframe.registry import registry, reset

MONITOR = "lightning.pytorch.callbacks.LearningRateMonitor"


def error_message(*overrides: str) -> str:
    with pytest.raises(AeframeError) as error:
        compose(list(overrides))
    return str(error.value)


def test_a_callback_is_named_by_its_class_path() -> None:
    config = compose([f"callbacks.lr={{class: {MONITOR}, logging_interval: step}}"])["callbacks"]
    assert config == {"lr": {"class": MONITOR, "logging_interval": "step"}}
    (built,) = build_callbacks(config)
    assert isinstance(built, LearningRateMonitor)
    assert built.logging_interval == "step"


def test_only_options_that_were_set_are_stored() -> None:
    config = compose(["callbacks.timer.class=lightning.pytorch.callbacks.Timer", "callbacks.timer.duration={hours: 1}"])
    assert config["callbacks"] == {"timer": {"class": "lightning.pytorch.callbacks.Timer", "duration": {"hours": 1}}}
    assert yaml.safe_load(yaml.safe_dump(config)) == config
    assert isinstance(build_callbacks(config["callbacks"])[0], Timer)


def test_null_removes_a_callback() -> None:
    assert compose([f"callbacks.lr.class={MONITOR}", "callbacks.lr=null"])["callbacks"] == {}


class Unit(enum.Enum):
    STEP = "step"


class Registered(Callback):
    def __init__(self, *, unit: Unit = Unit.STEP, every: int = 2) -> None:
        self.unit, self.every = unit, every


class NotACallback:
    pass


class Refusing(Callback):
    def __init__(self, *, level: int = 0) -> None:
        raise TypeError(f"level {level} is too low")


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """Register callbacks of this module, and return a module that holds them."""
    module = types.ModuleType("callbacks_of_a_test")
    vars(module).update(Registered=Registered, NotACallback=NotACallback, Refusing=Refusing)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    file = tmp_path / "plugin_of_a_test.py"
    file.write_text(
        "from aeframe import hookimpl\n\n\n"
        "@hookimpl\n"
        "def register_callbacks(register):\n"
        f'    register("counter", "{module.__name__}:Registered")\n'
        f'    register("nothing", "{module.__name__}:NotACallback")\n',
        encoding="utf-8",
    )
    monkeypatch.setenv("AEFRAME_PLUGIN_FILES", str(file))
    reset()
    yield module.__name__
    reset()


def test_a_registered_callback_keeps_its_plain_options_only(plugin: str) -> None:
    config = compose(["callbacks.counter.every=3"])["callbacks"]
    assert config == {"counter": {"name": "counter", "every": 3}}
    (built,) = build_callbacks(config)
    assert isinstance(built, Registered)
    assert (built.unit, built.every) == (Unit.STEP, 3)
    assert compose(["callbacks.mine.name=counter"])["callbacks"] == {"mine": {"name": "counter", "every": 2}}


def test_a_registered_callback_must_be_a_lightning_callback(plugin: str) -> None:
    with pytest.raises(AeframeError) as error:
        build_callbacks(compose(["callbacks.nothing={}"])["callbacks"])
    assert str(error.value) == (
        "callback 'nothing' built a NotACallback, expected a subclass of lightning.pytorch.callbacks.callback.Callback"
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "callbacks.lr.class=lightning.pytorch.callbacks.LearningRateMonitr",
            "callbacks.lr: module 'lightning.pytorch.callbacks' has no class 'LearningRateMonitr', did you mean "
            "'LearningRateMonitor'?; write the whole path of a class",
        ),
        (
            "callbacks.lr.class=no_such_package.Monitor",
            "callbacks.lr: class 'no_such_package.Monitor' cannot be imported: ModuleNotFoundError: No module named "
            "'no_such_package'; install its package, or add the folder of its module to PYTHONPATH",
        ),
        (
            "callbacks.lr.class=Monitor",
            "callbacks.lr expects a class path, found 'Monitor'; write callbacks.lr.class=PACKAGE.MODULE.CLASS",
        ),
        (
            "callbacks.lr.class=subprocess.Popen",
            "callbacks.lr: 'subprocess.Popen' is not a Lightning callback; name a subclass of "
            "lightning.pytorch.callbacks.Callback",
        ),
        (
            f"callbacks.lr={{class: {MONITOR}, loging_interval: step}}",
            f"callbacks.lr: {MONITOR} has no option 'loging_interval', did you mean 'logging_interval'?; its options "
            "are logging_interval, log_momentum, log_weight_decay",
        ),
        (
            f"callbacks.lr={{class: {MONITOR}, name: lr}}",
            f"callbacks.lr has both a name and a class, 'lr' and '{MONITOR}'; keep name for a registered callback, or "
            "class for any other",
        ),
        (
            "callbacks.stop.class=lightning.pytorch.callbacks.EarlyStopping",
            "callbacks.stop: lightning.pytorch.callbacks.EarlyStopping needs a value for 'monitor'; set "
            "callbacks.stop.monitor=...",
        ),
        (
            "callbacks.lr.logging_interval=step",
            f"unknown callback 'lr'; known are {', '.join(registry().names('callback')) or 'none'}, and any other is "
            "named by its class path: callbacks.lr.class=PACKAGE.MODULE.CLASS",
        ),
        (
            "logger.mode=offline",
            "logger expects settings by label, found logger.mode='offline'; write logger.LABEL.mode=..., such as "
            "logger.wandb.mode=offline",
        ),
        (
            f"logger.x.class={MONITOR}",
            f"logger.x: '{MONITOR}' is not a Lightning logger; name a subclass of lightning.pytorch.loggers.Logger",
        ),
    ],
)
def test_errors_of_callbacks_and_loggers_are_one_sentence(override: str, message: str) -> None:
    assert error_message(override) == message


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (
            {"class": MONITOR, "logging_interval": "sometimes"},
            f"callbacks.a: {MONITOR} cannot be built with {{'logging_interval': 'sometimes'}}: ",
        ),
        (
            {"class": "callbacks_of_a_test.Refusing", "level": 1},
            "callbacks.a: callbacks_of_a_test.Refusing cannot be built with {'level': 1}: level 1 is too low; change "
            "these options",
        ),
    ],
)
def test_an_error_of_a_constructor_is_one_sentence(plugin: str, part: dict[str, Any], reason: str) -> None:
    with pytest.raises(AeframeError) as error:
        build_callbacks({"a": part})
    assert str(error.value).startswith(reason)
    assert "\n" not in str(error.value)


def test_callbacks_are_built_in_their_order(plugin: str) -> None:
    config: dict[str, Any] = {
        "stop": {"class": "lightning.pytorch.callbacks.EarlyStopping", "monitor": "val/loss"},
        "counter": {"name": "counter", "every": 1},
    }
    assert [type(each) for each in build_callbacks(config)] == [EarlyStopping, Registered]


def test_loggers_are_built_below_the_run_folder(tmp_path: Path) -> None:
    config = compose(
        ["logger.csv={class: lightning.pytorch.loggers.CSVLogger, name: numbers}", "logger.again.class=" + CSV]
    )["logger"]
    first, second = build_loggers(config, folder=tmp_path, run_name="run")
    assert Path(str(first.log_dir)).is_relative_to(tmp_path / "numbers")
    assert Path(str(second.save_dir)) == tmp_path


CSV = "lightning.pytorch.loggers.CSVLogger"
