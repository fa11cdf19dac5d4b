from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig

from aeframe.errors import AeframeError
from aeframe.experiment.composition.hydra_internals import Hydra, global_state
from aeframe.experiment.composition.loader import CONFIG, Loader


class Counting(Loader):
    num = 0

    def load_configuration(self, *positional: Any, **named: Any) -> DictConfig:
        self.num += 1
        return super().load_configuration(*positional, **named)


@pytest.fixture
def loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Counting:
    (tmp_path / "configs" / "experiment").mkdir(parents=True)
    text = "# @package _global_\nhydra:\n  mode: MULTIRUN\n"
    (tmp_path / "configs" / "experiment" / "several.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    return Counting()


@global_state(CONFIG)
def test_a_run_is_composed_once(loader: Counting) -> None:
    application, overrides = Hydra(CONFIG, loader), ["model=vae", "latent.dim=3"]
    GlobalHydra.instance().initialize(application)
    assert application.get_mode(CONFIG, overrides) is None
    seen: list[Any] = []
    application.run(CONFIG, lambda config: seen.append((config.latent.dim, config.model.name)), overrides, False)
    assert seen == [(3, "vae")]
    assert loader.num == 1
    # What was composed is that of these overrides only.
    application.run(CONFIG, lambda config: seen.append(config.latent.dim), ["model=vae", "latent.dim=4"], False)
    assert seen[1:] == [4]


@global_state(CONFIG)
def test_the_mode_is_read_from_an_option_file(loader: Counting) -> None:
    assert Hydra(CONFIG, loader).get_mode(CONFIG, ["experiment=several"]) == RunMode.MULTIRUN


@global_state(CONFIG)
def test_a_config_that_cannot_be_composed_has_no_mode(loader: Counting) -> None:
    application, overrides = Hydra(CONFIG, loader), ["model=vea"]
    assert application.get_mode(CONFIG, overrides) is None
    with pytest.raises(AeframeError, match="unknown model 'vea'"):
        application.run(CONFIG, lambda config: None, overrides, False)
