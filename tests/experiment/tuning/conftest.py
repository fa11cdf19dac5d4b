"""Training and composition that take no time, so that studies can be tried; single tests train for real."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from aeframe.experiment import compose as composition
from aeframe.experiment.dotted_keys import get_value, set_value
from aeframe.experiment.tuning import search


@functools.cache
def composed() -> dict[str, Any]:
    return composition.compose([])


@pytest.fixture
def fake_training(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[int], float]], list[int]]:
    """Return a function that replaces training: the monitored metric becomes a function of ``latent.dim``.

    Configs are not composed and validated either.

    It returns a list to which each trial adds its ``latent.dim``.
    """

    def replace(value: Callable[[int], float]) -> list[int]:
        trained: list[int] = []

        def train(config: dict[str, Any], **_: Any) -> SimpleNamespace:
            folder, dim = Path(config["folder"]), config["latent"]["dim"]
            trained.append(dim)
            monitored = value(dim)
            folder.mkdir(parents=True)
            (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
            (folder / "metrics.json").write_text('{"test": {"mse": 1.0}}', encoding="utf-8")
            return SimpleNamespace(folder=folder, monitored=monitored)

        base = composed()

        def composed_by(_: Any, overrides: Sequence[str]) -> dict[str, Any]:
            config = copy.deepcopy(base)
            for key, _, text in (override.partition("=") for override in overrides):
                value = yaml.safe_load(text)
                part = isinstance(get_value(config, key), dict) and isinstance(value, str)
                set_value(config, f"{key}.name" if part else key, value)
            return config

        monkeypatch.setattr(search, "train", train)
        monkeypatch.setattr(search, "composed_by", composed_by)
        monkeypatch.setattr(search, "hidden_options", lambda *_: [])
        monkeypatch.setattr(search, "check", lambda *_, **__: None)
        return trained

    return replace
