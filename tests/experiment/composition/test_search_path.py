import importlib.metadata
from pathlib import Path

import pytest

from aeframe import registry
from aeframe.errors import AeframeError
from aeframe.experiment.compose import compose
from aeframe.experiment.composition.sources import search_path


def package(folder: Path, name: str, files: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a package of options and a plugin file that registers it."""
    (folder / name).mkdir()
    (folder / name / "__init__.py").touch()
    for path, text in files.items():
        file = folder / name / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    plugin = folder / f"{name}_plugin.py"
    plugin.write_text(
        "from aeframe import hookimpl\n\n@hookimpl\ndef register_configs(register):\n"
        f"    register({name!r}, {name!r})\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(folder)
    return plugin


def use(*plugins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEFRAME_PLUGIN_FILES", ":".join(map(str, plugins)))
    registry.reset()


def test_the_first_place_that_has_an_option_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "configs").mkdir()
    use(package(tmp_path, "conf_a", {}, monkeypatch), monkeypatch=monkeypatch)
    found = [(element.provider, element.path) for element in search_path().get_path()]
    plugins = [point.name for point in importlib.metadata.entry_points(group="aeframe")]
    own = [each for each in found if each[0].partition(":")[0] not in plugins]
    assert own == [
        ("hydra", "pkg://hydra.conf"),
        ("user", f"file://{tmp_path / 'configs'}"),
        ("core:core", "pkg://aeframe.conf"),
        ("conf_a_plugin:conf_a", "pkg://conf_a"),
        ("registry", "registry://"),
        ("schema", "structured://"),
    ]


def test_an_option_of_a_plugin_stands_before_the_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"latent/gaussian.yaml": "name: gaussian\ndim: 2\n", "model/tiny.yaml": "# @package _global_\nseed: 5\n"}
    use(package(tmp_path, "conf_b", files, monkeypatch), monkeypatch=monkeypatch)
    config = compose(["latent=gaussian", "model=tiny"])
    assert config["latent"]["dim"] == 2
    assert config["seed"] == 5


def test_one_option_in_two_packages_is_refused_naming_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = package(tmp_path, "conf_c", {"experiment/same.yaml": "seed: 1\n"}, monkeypatch)
    two = package(tmp_path, "conf_d", {"experiment/same.yaml": "seed: 2\n"}, monkeypatch)
    use(one, two, monkeypatch=monkeypatch)
    with pytest.raises(AeframeError) as error:
        compose()
    assert str(error.value) == (
        f"the option file 'experiment/same.yaml' is offered by both {one} (conf_c) and {two} (conf_d); rename one, or "
        "disable a plugin with AEFRAME_DISABLE"
    )


def test_an_option_of_core_is_not_for_a_plugin_to_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = package(tmp_path, "conf_e", {"model/vae.yaml": "seed: 1\n"}, monkeypatch)
    use(plugin, monkeypatch=monkeypatch)
    with pytest.raises(AeframeError) as error:
        compose()
    assert str(error.value) == (
        f"the option file 'model/vae.yaml' is offered by both aeframe (aeframe.conf) and {plugin} (conf_e); rename "
        "one, or disable a plugin with AEFRAME_DISABLE"
    )


def test_a_config_package_that_is_not_there_is_named_with_its_plugin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = tmp_path / "hollow.py"
    plugin.write_text(
        "from aeframe import hookimpl\n\n@hookimpl\ndef register_configs(register):\n    register('x', 'no_conf')\n",
        encoding="utf-8",
    )
    use(plugin, monkeypatch=monkeypatch)
    with pytest.raises(AeframeError) as error:
        compose()
    assert str(error.value) == (
        f"the config package 'no_conf' of plugin 'hollow' ({plugin}) cannot be imported: No module named 'no_conf'; "
        "add an __init__.py, or disable the plugin with AEFRAME_DISABLE=hollow"
    )


def test_a_config_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AeframeError) as error:
        compose(config_dir=tmp_path / "nope")
    assert str(error.value) == f"the config folder '{tmp_path / 'nope'}' does not exist; use one that does"
