"""Parts are built from names: signatures define the options of configs, and each error is one sentence."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from aeframe.errors import AeframeError
from aeframe.factory import REQUIRED, build, defaults, part_kind, signature
from aeframe.parts.activations import MakeActivation
from aeframe.parts.networks.mlp import MLPDecoder, MLPEncoder
from aeframe.parts.schedules import Constant, Linear, Schedule
from aeframe.registry import registry, reset

PLUGIN = '''
from typing import Literal

from torch import nn

from aeframe import hookimpl
from aeframe.parts import Loss, MakeActivation, Schedule
from aeframe.parts.schedules import fixed


class Loud(Loss):
    domains = frozenset({"real"})

    def __init__(
        self,
        shape,
        domain,
        *,
        volume: float,
        times: int = 2,
        voice: Literal["high", "low"] = "low",
        sizes: tuple[int, ...] = (3, 4),
        limit: float | None = None,
        weight: Schedule = fixed(0.5),
        activation: MakeActivation | None = None,
    ):
        super().__init__()
        self.shape, self.domain = shape, domain
        self.volume, self.times, self.voice, self.sizes, self.limit = volume, times, voice, sizes, limit
        self.weight, self.activation = weight, activation


class Louder(Loud):
    """Inherits its constructor."""


class Bare(Loss):
    """Defines no constructor."""


class Greedy(Loss):
    def __init__(self, shape, decoderr):
        super().__init__()


class Vague(Loss):
    def __init__(self, **options):
        super().__init__()


class Unfinished(Schedule):
    """Does not define the abstract method."""


def function(shape, *, times: int = 1):
    made = Loud(shape, "real", volume=1.0)
    made.times = times
    return made


@hookimpl
def register_losses(register):
    for name in ("Loud", "Louder", "Bare", "Greedy", "Vague", "function"):
        register(name.lower(), f"build_plugin:{name}")


@hookimpl
def register_schedules(register):
    register("unfinished", "build_plugin:Unfinished")
'''

GIVEN = {"shape": (4,), "domain": "real"}


@pytest.fixture(autouse=True)
def _plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    file = tmp_path / "build_plugin.py"
    file.write_text(PLUGIN)
    monkeypatch.setenv("AEFRAME_PLUGIN_FILES", str(file))
    monkeypatch.setenv("AEFRAME_STRICT_PLUGINS", "1")
    reset()
    yield
    reset()
    sys.modules.pop("build_plugin", None)


def error_message(kind: str, config: Any, **given: Any) -> str:
    with pytest.raises(AeframeError) as error:
        build(kind, config, **given)
    return str(error.value)


def loud(**options: Any) -> Any:
    return build("loss", {"name": "loud", "volume": 1.0, **options}, **GIVEN)


# -- the signature -----------------------------------------------------------------------------------------------


def test_positional_parameters_without_a_default_are_injected_and_all_others_are_options() -> None:
    wants = signature(MLPEncoder)
    assert wants.injected == ("shape", "domain", "corruption")
    assert list(wants.options) == ["hidden", "activation", "norm", "dropout"]
    assert wants.options["hidden"].annotation == tuple[int, ...]
    assert wants.options["hidden"].default == (512, 256)
    assert signature(registry().load("loss", "loud")).options["volume"].default is REQUIRED


def test_a_function_is_a_part_too() -> None:
    assert signature(registry().load("loss", "function")).injected == ("shape",)
    made = build("loss", {"name": "function", "times": 3}, shape=(4,))
    assert (made.shape, made.times) == ((4,), 3)


def test_constructors_are_inherited_from_parts_and_from_torch() -> None:
    assert signature(registry().load("loss", "louder")) == signature(registry().load("loss", "loud"))
    assert build("loss", {"name": "louder", "volume": 2.0}, **GIVEN).volume == 2.0
    # The constructor of nn.Module takes *args and **kwargs, which are not options.
    assert signature(registry().load("loss", "bare")).options == {}
    assert isinstance(build("loss", "bare", **GIVEN), nn.Module)
    assert isinstance(build("activation", "relu"), nn.ReLU)


def test_a_constructor_with_keyword_arguments_of_any_name_is_an_error() -> None:
    assert error_message("loss", "vague", **GIVEN) == (
        "build_plugin.Vague takes '*options', but a part's constructor names every option; write them out"
    )


def test_defaults_are_plain_values() -> None:
    assert defaults("loss", "loud") == {
        "name": "loud",
        "volume": "???",
        "times": 2,
        "voice": "low",
        "sizes": [3, 4],
        "limit": None,
        "weight": 0.5,
        "activation": None,
    }
    assert defaults("objective", "elbo") == {
        "name": "elbo",
        "beta": 1.0,
        "free_bits": 0.0,
        "capacity": None,
        "class_capacity": None,
        "balance": False,
    }
    assert defaults("loss", "bare") == {"name": "bare"}


@pytest.mark.parametrize("kind", ["corruption", "loss", "objective", "penalty", "prior", "activation", "schedule"])
def test_the_defaults_of_every_part_of_core_can_be_read(kind: str) -> None:
    for entry in registry().entries(kind):
        if entry.plugin == "core":
            assert defaults(kind, entry.name)["name"] == entry.name


def test_the_kind_of_a_nested_part_is_read_from_its_annotation() -> None:
    assert part_kind(Schedule) is Schedule
    assert part_kind(Schedule | None) is Schedule
    assert part_kind(MakeActivation | None) is MakeActivation
    assert part_kind(float | None) is None
    assert part_kind(tuple[int, ...]) is None


# -- building ----------------------------------------------------------------------------------------------------


def test_options_are_set_and_the_rest_keep_their_defaults() -> None:
    made = loud(times=5, voice="high", sizes=[1, 2, 3], limit=2)
    assert (made.times, made.voice, made.sizes, made.limit) == (5, "high", (1, 2, 3), 2.0)
    made = loud()
    assert (made.times, made.voice, made.sizes, made.limit) == (2, "low", (3, 4), None)
    assert (made.shape, made.domain) == ((4,), "real")


def test_only_arguments_of_the_signature_are_injected() -> None:
    assert build("loss", "function", shape=(1,), domain="real", encoder=object()).shape == (1,)


def test_a_config_is_not_changed() -> None:
    config = {"name": "loud", "volume": 1.0}
    build("loss", config, **GIVEN)
    assert config == {"name": "loud", "volume": 1.0}


def test_nested_parts_are_written_as_numbers_names_or_mappings() -> None:
    assert isinstance(loud(weight=3).weight, Constant)
    assert loud(weight=3).weight.value == 3.0
    assert isinstance(loud(weight="linear").weight, Linear)
    assert loud(weight={"name": "linear", "end": 7.0}).weight.end == 7.0
    assert loud(activation="tanh").activation.config == {"name": "tanh"}
    made = Linear(end=2.0)
    assert loud(weight=made).weight is made


def test_null_for_a_nested_part_is_the_injected_part() -> None:
    of_run = MakeActivation.named("elu")
    assert build("loss", {"name": "loud", "volume": 1.0}, activation=of_run, **GIVEN).activation is of_run
    assert build(
        "loss", {"name": "loud", "volume": 1.0, "activation": None}, activation=of_run, **GIVEN
    ).activation is (of_run)
    own = build("loss", {"name": "loud", "volume": 1.0, "activation": "tanh"}, activation=of_run, **GIVEN).activation
    assert own.config == {"name": "tanh"}
    assert loud().activation is None


def test_an_error_in_a_nested_part_has_the_path_of_options() -> None:
    assert error_message("loss", {"name": "loud", "volume": 1.0, "weight": {"name": "linear", "ends": 1}}, **GIVEN) == (
        "loss 'loud', option 'weight': schedule 'linear' has no option 'ends', did you mean 'end'?; "
        "its options are start, end, over, delay"
    )
    assert error_message("loss", {"name": "loud", "volume": 1.0, "weight": [1]}, **GIVEN) == (
        "loss 'loud', option 'weight': expected a number or a schedule such as {name: linear, end: 1.0}, found [1]"
    )


# -- mistakes ----------------------------------------------------------------------------------------------------


def test_a_part_without_a_name() -> None:
    assert error_message("loss", {"volume": 1.0}) == (
        "loss has no name; write loss: {name: ...} with one of the known names"
    )


def test_the_error_for_an_unknown_name_has_the_nearest() -> None:
    assert error_message("loss", "lowd", **GIVEN).startswith("unknown loss 'lowd', did you mean 'loud'?; known are ")


def test_the_error_for_an_unknown_option_has_the_nearest() -> None:
    assert error_message("loss", {"name": "loud", "volum": 1.0}, **GIVEN) == (
        "loss 'loud' has no option 'volum', did you mean 'volume'?; "
        "its options are volume, times, voice, sizes, limit, weight, activation"
    )
    assert (
        error_message("loss", {"name": "bare", "size": 1}) == "loss 'bare' has no option 'size'; its options are none"
    )


def test_an_injected_argument_is_not_an_option() -> None:
    assert error_message("decoder", {"name": "mlp", "z_shape": (1,)}, z_shape=(2,), out_shape=(1, 2)) == (
        "decoder 'mlp' has no option 'z_shape'; its options are hidden, activation, norm, dropout"
    )
    assert isinstance(build("decoder", "mlp", z_shape=(2,), out_shape=(1, 2)), MLPDecoder)


def test_a_missing_required_option_is_an_error() -> None:
    assert error_message("loss", "loud", **GIVEN) == "loss 'loud' needs a value for 'volume'; set loss.volume=..."
    assert error_message("loss", {"name": "loud", "volume": "???"}, **GIVEN) == "loss 'loud' needs a value for 'volume'"


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        (
            "times",
            "often",
            "option 'times' expects int, found 'often' (Input should be a valid integer, unable to parse string as an "
            "integer)",
        ),
        (
            "times",
            2.5,
            "option 'times' expects int, found 2.5 (Input should be a valid integer, got a number with a fractional "
            "part)",
        ),
        (
            "voice",
            "hihg",
            "option 'voice' expects Literal['high', 'low'], found 'hihg' (Input should be 'high' or 'low')",
        ),
        (
            "sizes",
            [1, "x"],
            "option 'sizes.1' expects tuple[int, ...], found [1, 'x'] (Input should be a valid integer, unable to "
            "parse string as an integer)",
        ),
        (
            "limit",
            "none",
            "option 'limit' expects float | None, found 'none' (Input should be a valid number, unable to parse string "
            "as a number)",
        ),
        ("times", None, "option 'times' expects int, found None (Input should be a valid integer)"),
    ],
)
def test_a_value_of_the_wrong_type(option: str, value: Any, message: str) -> None:
    assert error_message("loss", {"name": "loud", "volume": 1.0, option: value}, **GIVEN) == f"loss 'loud': {message}"


def test_a_constructor_argument_that_is_not_available_is_an_error() -> None:
    assert error_message("loss", "greedy", shape=(1,), decoder=None) == (
        "loss 'greedy' has a constructor argument 'decoderr', which is not available to a loss, did you mean "
        "'decoder'?; available are decoder, shape"
    )
    assert error_message("loss", "function") == (
        "loss 'function' has a constructor argument 'shape', which is not available to a loss; available are none"
    )


def test_an_abstract_class_is_an_error() -> None:
    assert error_message("schedule", "unfinished") == (
        "schedule 'unfinished' is unfinished: build_plugin.Unfinished does not define __call__, which its base class "
        "leaves open; define it"
    )
