"""A loader reads each option file once for a run, and what it composed does not change what it composes next."""

from __future__ import annotations

from typing import Any

import pytest
from hydra.types import RunMode

from aeframe.experiment.compose import composed_by
from aeframe.experiment.composition.loader import CONFIG, Loader


@pytest.mark.parametrize("choice", ["modality=vector", "data=breast_cancer"])
def test_an_option_file_is_read_once(choice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = Loader()
    repository = type(loader.repository)
    read: list[str] = []
    load = repository.load_config

    def recorded(self: Any, config_path: str) -> Any:
        read.append(config_path)
        return load(self, config_path)

    monkeypatch.setattr(repository, "load_config", recorded)
    loader.load_configuration(CONFIG, [choice, "model=vae"], RunMode.RUN)
    assert "model/vae" in read
    assert sorted(read) == sorted(set(read))


def test_a_loader_composes_like_a_new_one() -> None:
    loader = Loader()
    for overrides in (["modality=vector", "model=vae", "latent.dim=3"], ["modality=vector", "model=vae"], ["model=ae"]):
        loader.choices(overrides)
        assert composed_by(loader, overrides) == composed_by(Loader(), overrides)
