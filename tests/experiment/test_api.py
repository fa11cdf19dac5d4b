"""Keywords of `aeframe.fit` are read as the same values again."""

from enum import Enum, IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import aeframe
from aeframe.errors import AeframeError
from aeframe.experiment.api import as_overrides
from aeframe.experiment.compose import compose
from aeframe.runs.folder import RunFolder


class Interval(Enum):
    STEP = "step"


class Width(IntEnum):
    NARROW = 8


STRINGS = [
    *("2024", "0123", "1_000", "1e3", "nan", "inf", "null", "None", "true", "on", "yes", "\uff11\uff12", "-", ""),
    *(
        "a b",
        " a",
        "a ",
        "a\tb",
        "a\nb",
        "\r\n",
        "\u2028",
        "\x1b[31mred",
        "\u202egnp.csv",
        "\u65e5\u672c\u8a9e",
        "\u00e9",
    ),
    *("it's", "''", "\\'", "ends\\'", 'say "hi"', "back\\", "a\\\\b", "C:\\data\\x.csv", "\\\\server\\share"),
    *(
        "${seed}",
        "${oc.env:HOME}",
        "\\${seed}",
        "\\\\${seed}",
        "a${b",
        "$HOME/x",
        "%s",
        "choice(a,b)",
        "int(3)",
        "glob(*)",
    ),
    *(
        "a,b",
        "a=b",
        "{a:1}",
        "[1,2]",
        "[x",
        "(x)",
        "<x>",
        "a:b",
        "a@b",
        "a|b",
        "a;b",
        "~home",
        "+x",
        "#c",
        "!x",
        "&a",
        "*",
    ),
    *(
        "a,b.csv",
        "a=b.csv",
        "it's.csv",
        'say "hi".csv',
        "~home.csv",
        "+x.csv",
        "\u00e9.csv",
        "a b.csv",
        "tab\there.csv",
    ),
    *("nl\nhere.csv", "ends\\", "a\\'b", "a\\\\b.csv", "${oc.env:SECRET}", "12", " lead.csv", "trail.csv ", "%s.csv"),
    *("#c.csv", "range(1,3)", "a/../b", "file://x", "~", "\ufb01.csv"),
    "x" * 5000,
]


def test_strings_are_literal() -> None:
    data = {"name": "numbers", "path": Path("x.csv"), "columns": STRINGS}
    logger = {"name": "wandb", "tags": STRINGS}
    config = compose(as_overrides({"data": data, "logger": logger}))
    assert (config["data"]["path"], config["data"]["columns"]) == ("x.csv", STRINGS)
    assert config["logger"]["wandb"]["tags"] == STRINGS


@pytest.mark.parametrize("text", STRINGS)
def test_a_string_is_literal_as_a_setting(text: str) -> None:
    dirpath = {"class": "lightning.pytorch.callbacks.ModelCheckpoint", "dirpath": text}
    config = compose(
        as_overrides({"data": {"name": "numbers", "path": text}, "folder": text, "callbacks": {"each": dirpath}})
    )
    assert (config["data"]["path"], config["folder"], config["callbacks"]["each"]["dirpath"]) == (text, text, text)


def test_strings_are_literal_in_the_config_of_a_run(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run").create()
    run.write_config({"data": {"columns": STRINGS}})
    assert run.read_config() == {"data": {"columns": STRINGS}}


def test_odd_paths_and_columns_reach_the_data(tmp_path: Path) -> None:
    folder = tmp_path / "C:\\data ${seed}, it's 100% [1,2] {a: b}" / "\u65e5\u672c\u8a9e=null"
    folder.mkdir(parents=True)
    columns = ["2024", "null", "a,b", "${seed}", "1e3", "back\\slash"]
    x = np.random.default_rng(0).normal(size=(40, 8))
    pd.DataFrame(x, columns=[*columns, "other", "true"]).to_parquet(folder / "2024.parquet")
    run = aeframe.fit(
        model="ae",
        data={"name": "numbers", "path": folder / "2024.parquet", "columns": columns},
        folder=folder / "~run; $HOME",
        latent={"dim": np.int64(2)},
        batch_size=Width.NARROW,
        max_batches=1,
        pictures=False,
        trainer={"threads": 1, "accelerator": "cpu"},
    )
    assert run.folder == folder / "~run; $HOME"
    config = aeframe.load(run.folder).config
    assert (config["data"]["path"], config["data"]["columns"]) == (str(folder / "2024.parquet"), columns)
    assert (config["latent"]["dim"], config["batch_size"]) == (2, 8)
    frame = pd.DataFrame(x[:, :6], columns=columns)
    pd.testing.assert_frame_equal(run.model.restore(run.model.prepare(frame).x), frame, rtol=1e-4)


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
        ({"latent": {"dim": torch.tensor(8)}}, "latent", {"dim": 8}),
        ({"latent": {"dim": Width.NARROW}}, "latent", {"dim": 8}),
        ({"data": {"name": "numbers", "path": np.str_("a,b")}}, "data", {"path": "a,b"}),
        (
            {"callbacks": {"timer": {"class": "lightning.pytorch.callbacks.Timer", "interval": Interval.STEP}}},
            "callbacks",
            {"timer": {"interval": "step"}},
        ),
        ({"model": "vae", "latent": {"dim": 8}}, "latent", {"name": "gaussian", "dim": 8}),
        ({"encoder": {"name": "mlp", "hidden": (8, 4)}}, "encoder", {"name": "mlp", "hidden": [8, 4]}),
        ({"trainer": {"limit_train_batches": 3}}, "trainer", {"limit_train_batches": 3}),
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


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"latent": {"dim": object()}},
            "latent.dim expects a value that a config can hold, found object; use a number, a string, a list or a "
            "mapping of these",
        ),
        ({"data": {"columns": {"a", "b"}}}, "data.columns is a set, whose values have no order; use a list"),
        (
            {"data": np.zeros((3, 2))},
            "data is an array of shape (3, 2), which a config does not hold; save data to a file, and convert a few "
            "values by .tolist()",
        ),
        (
            {"folder": "a\0b"},
            "folder is 'a\\x00b', which has a NUL character that no path can contain; remove it",
        ),
        (
            {"data": {"columns": ["\ud800"]}},
            "data.columns is '\\ud800', which cannot be written as UTF-8; rename the file, or use another string",
        ),
        ({"folder": "???"}, "folder is '???', which marks a missing value in a config; use another string"),
        (
            {"penalties": {"l1;x": {"weight": 1}}},
            "'penalties.l1;x.weight' is a key that a config cannot hold; use letters, digits, _ and -",
        ),
        (
            {"loss": {"name": "views", "losses": {"x": {"name": "mse", "null": 1}}}},
            "loss.losses.x has a key 'null', which a config cannot hold; use letters, digits and _",
        ),
    ],
)
def test_a_value_that_a_config_cannot_hold_is_an_error(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(AeframeError) as error:
        as_overrides(settings)
    assert str(error.value) == message
