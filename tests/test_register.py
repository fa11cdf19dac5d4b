"""`aeframe.register` makes a class of a program a named part."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import aeframe
from aeframe import registry as registry_module
from aeframe.errors import AeframeError
from aeframe.parts import Loss
from aeframe.registry import registry, reset

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def no_parts_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry_module, "_registered", {})
    reset()
    yield
    monkeypatch.undo()
    reset()


def power_loss() -> type[Loss]:
    class PowerLoss(Loss):
        """The absolute error to a power.

        More words.
        """

        domains = frozenset({"real"})
        unit = "distance"

        def __init__(self, shape: tuple[int, ...], *, power: float = 2.0) -> None:
            super().__init__()
            self.ndim, self.power = len(shape), power

        def mean(self, output: Tensor) -> Tensor:
            return output.select(-1 - self.ndim, 0)

        def elements(self, output: Tensor, x: Tensor) -> Tensor:
            return (self.mean(output) - x).abs() ** self.power

    return PowerLoss


def test_a_class_is_a_named_part(tmp_path: Path) -> None:
    cls = aeframe.register("loss")(power_loss())
    entry = registry().entry("loss", "power_loss")
    assert (entry.load(), entry.summary, entry.plugin) == (cls, "The absolute error to a power", "program")
    x = np.random.default_rng(0).normal(size=(60, 4))
    quick = {"max_batches": 2, "batch_size": 16, "pictures": False, "trainer": {"threads": 1, "accelerator": "cpu"}}
    run = aeframe.fit(x, model="ae", loss={"name": "power_loss", "power": 1.5}, folder=tmp_path / "run", **quick)
    assert aeframe.load(run.folder).model.loss.power == 1.5
    registry_module._registered.clear()
    reset()
    with pytest.raises(AeframeError, match=r"registered with @aeframe.register; run that code before"):
        aeframe.load(run.folder)


def test_it_outlives_a_reset_and_is_replaced_by_the_next_class_of_its_name() -> None:
    aeframe.register("loss", name="own_loss")(power_loss())
    second = aeframe.register("loss", name="own_loss")(power_loss())
    reset()
    assert registry().load("loss", "own_loss") is second
    assert [entry.name for plugin in registry().plugins if plugin.name == "program" for entry in plugin.entries] == [
        "own_loss"
    ]


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("los", None, "unknown kind 'los', did you mean 'loss'"),
        ("loss", "mse", "loss 'mse' is registered by aeframe already"),
        ("loss", "My Loss", "is not in snake_case"),
    ],
)
def test_errors(kind: str, name: str | None, message: str) -> None:
    with pytest.raises(AeframeError, match=message):
        aeframe.register(kind, name=name)(power_loss())
    assert not registry_module._registered
