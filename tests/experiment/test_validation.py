from typing import Any

import pytest

from aeframe.errors import AeframeError
from aeframe.experiment.compose import compose
from aeframe.experiment.trainer_arguments import trainer_arguments
from aeframe.experiment.validation import validated
from aeframe.registry import registry


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    return compose()


def test_what_is_valid_stays_as_it_is(config: dict[str, Any]) -> None:
    assert validated(config) == config


def test_numbers_take_the_type_of_their_setting(config: dict[str, Any]) -> None:
    found = validated({**config, "clip": 1, "max_epochs": 3.0})
    assert (found["clip"], type(found["clip"])) == (1.0, float)
    assert (found["max_epochs"], type(found["max_epochs"])) == (3, int)


def test_a_part_may_be_a_bare_name(config: dict[str, Any]) -> None:
    assert validated({**config, "latent": "point"})["latent"] == config["latent"]


def test_an_optimizer_group_has_the_rest_of_its_settings(config: dict[str, Any]) -> None:
    found = validated({**config, "optimizers": {"discriminator": {"every": 2}}})
    assert found["optimizers"] == {
        "discriminator": {"optimizer": None, "clip": None, "accumulate": None, "every": 2, "start": 0}
    }


UNPARSED = "Input should be a valid integer, unable to parse string as an integer"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": "abc"}, f"setting 'seed' expects int, found 'abc' ({UNPARSED})"),
        (
            {"ema": "x"},
            "setting 'ema' expects float | null, found 'x' (Input should be a valid number, unable to parse "
            "string as a number)",
        ),
        (
            {"trainer": {"devices": "two"}},
            "setting 'trainer.devices' expects int | auto | list[int] | null, found 'two'",
        ),
        ({"optimizers": {"a": {"every": "x"}}}, f"setting 'optimizers.a.every' expects int, found 'x' ({UNPARSED})"),
        (
            {"trainer": {"devics": 2}},
            "trainer has no setting 'devics', did you mean 'devices'?; its settings are accelerator, devices, "
            f"num_nodes, strategy, precision, compile, allocator, threads, timeout, {', '.join(trainer_arguments())}",
        ),
        (
            {"optimizers": {"a": {"evry": 2}}},
            "optimizers.a has no setting 'evry', did you mean 'every'?; its settings are optimizer, clip, accumulate, "
            "every, start",
        ),
        (
            {"penalties": {"l9": {}}},
            f"unknown penalty 'l9', did you mean 'l2'?; known are {', '.join(registry().names('penalty'))}",
        ),
        (
            {"penalties": {"l1": {"wieght": 1}}},
            "penalty 'l1' has no option 'wieght', did you mean 'weight'?; its options are weight",
        ),
        ({"penalties": {"l1": 3}}, "penalties.l1 expects settings by name, found 3; write penalties.l1.NAME=VALUE"),
        ({"latent": 3}, "latent expects a name or {name: ..., options}, found 3; write latent=NAME"),
        ({"model": {"nmae": "x"}}, "model has no setting 'nmae', did you mean 'name'?; its settings are name"),
    ],
)
def test_what_is_not_valid_is_one_sentence(config: dict[str, Any], change: dict[str, Any], message: str) -> None:
    with pytest.raises(AeframeError) as error:
        validated({**config, **change})
    assert str(error.value) == message


def test_an_unknown_metric_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(AeframeError, match=r"^unknown metric 'active_unit', did you mean 'active_units'\?; known are "):
        validated({**config, "metrics": {"active_unit": {}}})


def test_a_metric_may_be_taken_away(config: dict[str, Any]) -> None:
    assert validated({**config, "metrics": {"mae": None}})["metrics"] == {"mae": None}


def test_a_penalty_of_a_recipe_may_be_taken_away() -> None:
    assert list(compose(["model=rae_gp", "penalties.decoder_gradient=null"])["penalties"]) == ["l2"]
