"""Keywords of `aeframe.fit` are read as the same values again."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aeframe.errors import AeframeError
from aeframe.experiment.api import as_overrides
from aeframe.experiment.compose import compose


@pytest.mark.parametrize(
    "text",
    ["2024", "null", "true", "1e3", "a b", "it's", 'q"', "back\\", "\\'", "${seed}", "\\${seed}", "", "a,b", "[x"],
)
def test_strings_are_literal(text: str) -> None:
    config = compose(as_overrides({"data": {"name": "table", "path": Path("x.csv"), "label": text}, "root": text}))
    assert (config["data"]["path"], config["data"]["label"], config["root"]) == ("x.csv", text, text)


def test_a_part_within_an_option_replaces_a_number() -> None:
    schedule = {"name": "linear", "end": 4.0}
    found = compose(as_overrides({"model": "vae", "objective": {"beta": schedule}}))
    assert found["objective"]["beta"] == schedule
    penalties = compose(as_overrides({"penalties": {"l1": {"weight": schedule}}}))["penalties"]
    assert penalties == {"l1": {"name": "l1", "weight": schedule}}


@pytest.mark.parametrize(
    ("settings", "key", "value"),
    [
        ({"max_epochs": np.int64(3)}, "max_epochs", 3),
        ({"clip": np.float32(0.5)}, "clip", 0.5),
        ({"model": "vae", "latent": {"dim": 8}}, "latent", {"name": "gaussian", "dim": 8}),
        ({"encoder": {"name": "mlp", "hidden": (8, 4)}}, "encoder", {"name": "mlp", "hidden": [8, 4]}),
        ({"trainer": {"max_time": {"hours": 1}}}, "trainer", {"max_time": {"hours": 1}}),
        ({"logger": {"name": "wandb", "mode": "offline"}}, "logger", {"wandb": {"mode": "offline"}}),
        ({"logger": ["wandb", "tensorboard"]}, "logger", {"wandb": {}, "tensorboard": {}}),
        ({"logger": {"mine": {"name": "wandb"}}}, "logger", {"mine": {"name": "wandb"}}),
        (
            {"callbacks": {"lr": {"class": "lightning.pytorch.callbacks.LearningRateMonitor"}}},
            "callbacks",
            {"lr": {"class": "lightning.pytorch.callbacks.LearningRateMonitor"}},
        ),
        ({"metrics": {"mae": None}}, "metrics", {"mae": None}),
        ({"optimizers": {"autoencoder": {"optimizer": {"lr": 0.1}}}}, "optimizers", {"autoencoder": {"every": 1}}),
        ({"callbacks": {}}, "callbacks", {}),
    ],
)
def test_a_keyword_is_the_override_of_that_name(settings: dict[str, Any], key: str, value: Any) -> None:
    found = compose(as_overrides(settings))[key]
    assert holds(found, value), found


def holds(found: Any, value: Any) -> bool:
    if isinstance(value, dict):
        return all(name in found and holds(found[name], each) for name, each in value.items())
    return bool(found == value)


def test_a_value_that_a_config_cannot_hold_is_an_error() -> None:
    with pytest.raises(AeframeError) as error:
        as_overrides({"latent": {"dim": object()}})
    assert str(error.value) == (
        "latent.dim expects a value that a config can hold, found object; use a number, a string, a list or a mapping "
        "of these"
    )
