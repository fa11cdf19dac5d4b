import importlib.metadata
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aeframe import registry as registry_module
from aeframe.errors import AeframeError
from aeframe.hooks import Register, hookimpl
from aeframe.kinds import KINDS
from aeframe.registry import Registry
from aeframe.trust import trust
from aeframe.version import __version__

Install = Callable[..., None]


class Distribution:
    """The distribution of an entry point."""

    def __init__(self, name: str, version: str) -> None:
        self.name, self.version, self.requires = name, version, [f"aeframe>={__version__}"]


class Point:
    """An entry point of a distribution that is not installed."""

    def __init__(self, name: str, load: Callable[[], types.ModuleType], distribution: Distribution) -> None:
        self.name, self.load, self.dist = name, load, distribution


def loss_plugin(name: str, **hooks: Callable[..., None]) -> types.ModuleType:
    module = types.ModuleType(f"plugin_{name}")

    @hookimpl
    def register_losses(register: Register) -> None:
        register(name, "collections:Counter", summary=f"the loss {name}")

    module.register_losses = register_losses  # type: ignore[attr-defined]
    for hook, function in hooks.items():
        setattr(module, hook, hookimpl(function))
    return module


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Return a function that adds an entry point; installed entry points are hidden."""
    points: list[Point] = []
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points if group == "aeframe" else [])

    def add(name: str, module: types.ModuleType | Exception, distribution: str = "", version: str = "1.0") -> None:
        def load() -> types.ModuleType:
            if isinstance(module, Exception):
                raise module
            return module

        points.append(Point(name, load, Distribution(distribution or f"aeframe-{name}", version)))

    return add


def states(registry: Registry) -> dict[str, tuple[str, str]]:
    return {plugin.name: (plugin.state, plugin.reason) for plugin in registry.plugins}


# -- look-up ---------------------------------------------------------------------------------------------------------


def test_core_is_the_first_plugin_and_registers_through_the_same_hooks(install: Install) -> None:
    registry = Registry()
    (core,) = registry.plugins
    assert (core.name, core.distribution, core.version, core.state) == ("core", "aeframe", __version__, "ok")
    assert {entry.kind for entry in core.entries} >= {"loss", "modality", "activation", "command", "config"}
    assert registry.names("modality") == ["vector"]


def test_entries_come_in_order_of_registration_and_names_sorted(install: Install) -> None:
    registry = Registry()
    assert [entry.name for entry in registry.entries("corruption")][:5] == [
        "none",
        "gaussian",
        "salt_pepper",
        "masking",
        "dropout",
    ]
    names = registry.names("corruption")
    assert names == sorted(names)
    assert set(names) >= {"dropout", "gaussian", "masking", "none", "salt_pepper"}
    assert {entry.kind for entry in registry.entries()} <= set(KINDS)


def test_an_entry_point_adds_names(install: Install) -> None:
    install("spectra", loss_plugin("angle"), version="2.1")
    registry = Registry()
    entry = registry.entry("loss", "angle")
    assert (entry.plugin, entry.distribution, entry.summary) == ("spectra", "aeframe-spectra", "the loss angle")
    assert registry.plugins[-1].version == "2.1"
    assert registry.load("loss", "angle").__name__ == "Counter"
    assert registry.has("loss", "angle")
    assert not registry.has("loss", "angel")


def test_an_unknown_name_has_its_nearest_and_the_plugins_that_failed(install: Install) -> None:
    install("spectra", ImportError("no module named 'spectra'"))
    with pytest.raises(AeframeError) as error:
        Registry().entry("modality", "vectr")
    assert str(error.value) == (
        "unknown modality 'vectr', did you mean 'vector'?; known are vector; plugin 'spectra' (aeframe-spectra) "
        "is failed: its import failed with ImportError: no module named 'spectra'"
    )


def test_an_unknown_kind_is_refused(install: Install) -> None:
    with pytest.raises(AeframeError) as error:
        Registry().names("losses")
    assert str(error.value) == f"unknown kind 'losses', did you mean 'loss'?; kinds are {', '.join(KINDS)}"


# -- targets ---------------------------------------------------------------------------------------------------------


def registering(kind_hook: str, *entries: tuple[str, str]) -> types.ModuleType:
    module = types.ModuleType("plugin_of_test")

    def hook(register: Register) -> None:
        for name, target in entries:
            register(name, target)

    setattr(module, kind_hook, hookimpl(hook))
    return module


def test_a_target_is_imported_on_use_and_an_import_that_fails_names_its_plugin(install: Install) -> None:
    install("ghost", registering("register_losses", ("ghost", "no_such_module:Loss")))
    registry = Registry()
    assert states(registry)["ghost"] == ("ok", "")
    with pytest.raises(AeframeError) as error:
        registry.load("loss", "ghost")
    assert str(error.value) == (
        "loss 'ghost' of aeframe-ghost cannot be imported from 'no_such_module:Loss': ModuleNotFoundError: No module "
        "named 'no_such_module'; install what is missing, or disable the plugin with AEFRAME_DISABLE=ghost"
    )


def test_a_misspelt_attribute_has_its_nearest(install: Install) -> None:
    install("typo", registering("register_losses", ("typo", "aeframe.errors:AeframeEror")))
    with pytest.raises(AeframeError) as error:
        Registry().load("loss", "typo")
    assert str(error.value) == (
        "loss 'typo' of aeframe-typo points at 'aeframe.errors:AeframeEror', but 'aeframe.errors' has no "
        "'AeframeEror', did you mean 'AeframeError'?"
    )


# -- isolation -------------------------------------------------------------------------------------------------------


def test_a_broken_plugin_is_listed_with_its_reason_and_does_not_affect_others(install: Install) -> None:
    install("broken", RuntimeError("out of cheese"))
    install("sound", loss_plugin("sound"))
    registry = Registry()
    assert states(registry) == {
        "core": ("ok", ""),
        "broken": ("failed", "its import failed with RuntimeError: out of cheese"),
        "sound": ("ok", ""),
    }
    assert registry.has("loss", "sound")


def failing(register: Register) -> None:
    register("half", "torch.nn:Identity")
    raise ValueError("half way")


def test_a_plugin_that_fails_after_registering_a_name_registers_nothing(install: Install) -> None:
    install("half", loss_plugin("whole", register_priors=failing))
    registry = Registry()
    assert states(registry)["half"] == ("failed", "ValueError: half way")
    assert not registry.has("loss", "whole")
    assert not registry.has("prior", "half")
    assert registry.plugins[-1].entries == []


def test_strict_makes_a_broken_plugin_an_error(install: Install) -> None:
    install("broken", RuntimeError("out of cheese"), version="0.3")
    with pytest.raises(AeframeError) as error:
        Registry(strict=True)
    assert str(error.value) == (
        "plugin 'broken' of aeframe-broken 0.3: its import failed with RuntimeError: out of cheese"
    )


def test_a_disabled_plugin_is_not_imported(install: Install) -> None:
    install("broken", RuntimeError("out of cheese"))
    registry = Registry(disabled=["broken"], strict=True)
    assert states(registry)["broken"] == ("disabled", "named in AEFRAME_DISABLE")


# -- errors ----------------------------------------------------------------------------------------------------------


def test_the_error_for_two_equal_names_has_both_distributions_and_the_first_stays(install: Install) -> None:
    install("a_first", loss_plugin("angle"), distribution="first-dist")
    install("b_second", loss_plugin("angle"), distribution="second-dist")
    registry = Registry()
    assert states(registry)["b_second"] == (
        "failed",
        "loss 'angle' is registered by both first-dist and second-dist; rename one, or disable one with "
        "AEFRAME_DISABLE",
    )
    assert registry.entry("loss", "angle").distribution == "first-dist"


def test_a_plugin_cannot_register_a_name_of_core(install: Install) -> None:
    install("taker", registering("register_losses", ("mse", "torch.nn:MSELoss")))
    registry = Registry()
    assert states(registry)["taker"][1] == (
        "loss 'mse' is registered by both aeframe and aeframe-taker; rename one, or disable one with AEFRAME_DISABLE"
    )
    assert registry.entry("loss", "mse").distribution == "aeframe"


def test_two_kinds_may_have_the_same_name(install: Install) -> None:
    install("both", loss_plugin("gaussian_mixture", register_priors=lambda register: register("angle", "torch.nn:A")))
    assert states(Registry())["both"] == ("ok", "")


def test_a_misspelt_hook_is_refused_with_its_nearest(install: Install) -> None:
    install("typo", loss_plugin("angle", register_encodrs=failing))
    registry = Registry()
    assert states(registry)["typo"] == (
        "failed",
        "it implements an unknown hook 'register_encodrs', did you mean 'register_encoders'?",
    )
    assert not registry.has("loss", "angle")


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (("MyLoss", "m:L"), "loss name 'MyLoss' is not in snake_case (letters, digits and _)"),
        (("my-loss", "m:L"), "loss name 'my-loss' is not in snake_case (letters, digits and _)"),
        (("mine", "m.L"), "loss 'mine' has target 'm.L', expected the form 'module:Object'"),
    ],
)
def test_malformed_names_and_targets_are_errors(install: Install, entry: tuple[str, str], reason: str) -> None:
    install("odd", registering("register_losses", entry))
    assert states(Registry())["odd"] == ("failed", reason)


def test_a_config_is_a_package_without_an_object(install: Install) -> None:
    install("a_good", registering("register_configs", ("good", "package.conf")))
    install("b_bad", registering("register_configs", ("bad", "package.conf:Object")))
    registry = Registry()
    assert registry.entry("config", "good").target == "package.conf"
    assert states(registry)["b_bad"] == (
        "failed",
        "config 'bad' has target 'package.conf:Object', expected the form 'package'",
    )


# -- plain files -----------------------------------------------------------------------------------------------------

FILE = """
from aeframe import hookimpl

class Mine: ...

@hookimpl
def register_losses(register):
    register("mine", "{name}:Mine")
"""


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    """Write a plugin file with a module name that no other test uses."""
    path = tmp_path / "plugin_file_of_test_registry.py"
    path.write_text(FILE.format(name=path.stem), encoding="utf-8")
    yield path
    sys.modules.pop(path.stem, None)


def test_a_file_is_a_plugin_and_its_objects_are_found_by_its_name(install: Install, file: Path) -> None:
    registry = Registry([file])
    assert registry.load("loss", "mine").__name__ == "Mine"
    assert (registry.plugins[-1].distribution, registry.plugins[-1].version) == (str(file), "file")


def test_a_file_that_is_missing_broken_or_disabled_does_not_stop_the_others(
    install: Install, file: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken_file_of_test_registry.py"
    broken.write_text("1 / 0", encoding="utf-8")
    missing = tmp_path / "missing.py"
    off = tmp_path / "off.py"
    registry = Registry([missing, broken, off, file], disabled=["off"])
    assert states(registry) == {
        "core": ("ok", ""),
        "missing": ("failed", f"there is no Python file '{missing}'"),
        broken.stem: ("failed", "its import failed with ZeroDivisionError: division by zero"),
        "off": ("disabled", "named in AEFRAME_DISABLE"),
        file.stem: ("ok", ""),
    }
    assert broken.stem not in sys.modules


def test_environment_variables_configure_the_registry(
    install: Install, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("loud", RuntimeError("never imported"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "aeplugin.py").write_text("", encoding="utf-8")
    trust(tmp_path)
    monkeypatch.setenv("AEFRAME_PLUGIN_FILES", str(file))
    monkeypatch.setenv("AEFRAME_DISABLE", "loud,other")
    monkeypatch.setenv("AEFRAME_STRICT_PLUGINS", "1")
    registry_module.reset()
    try:
        found = registry_module.registry()
        assert states(found) == {
            "core": ("ok", ""),
            "loud": ("disabled", "named in AEFRAME_DISABLE"),
            file.stem: ("ok", ""),
            "aeplugin": ("ok", ""),
        }
        assert registry_module.registry() is found
    finally:
        registry_module.reset()
        sys.modules.pop("aeplugin", None)


# -- pluggy calls the hooks --------------------------------------------------------------------------------------

FIRST = """
from aeframe import hookimpl

@hookimpl{options}
def register_losses(register):
    register("{name}", "aeframe.parts.losses.distances:SquaredError")
"""
WRAPPER = """
from aeframe import hookimpl

calls = []

@hookimpl(wrapper=True)
def register_losses(register):
    calls.append("before")
    result = yield
    calls.append("after")
    return result
"""


def write_plugins(folder: Path, **contents: str) -> list[Path]:
    paths = [folder / f"{name}.py" for name in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        path.write_text(content, encoding="utf-8")
    return paths


def new_losses(registry: Registry) -> list[str]:
    core = {entry.name for entry in registry.plugins[0].entries if entry.kind == "loss"}
    files = {plugin.name for plugin in registry.plugins if plugin.version == "file"}
    return [entry.name for entry in registry.entries("loss") if entry.name not in core and entry.plugin in files]


def test_hooks_are_called_in_pluggy_s_order(tmp_path: Path) -> None:
    options = {"plug_a": "", "plug_b": "(trylast=True)", "plug_c": "(tryfirst=True)", "plug_d": ""}
    files = write_plugins(
        tmp_path, **{name: FIRST.format(options=each, name=f"of_{name}") for name, each in options.items()}
    )
    registry = Registry(files)
    try:
        assert new_losses(registry) == ["of_plug_c", "of_plug_a", "of_plug_d", "of_plug_b"]
    finally:
        registry.forget_files()


def test_of_two_equal_names_that_of_the_first_called_plugin_stays(tmp_path: Path) -> None:
    files = write_plugins(
        tmp_path,
        plug_a=FIRST.format(options="", name="squares"),
        plug_b=FIRST.format(options="(tryfirst=True)", name="squares"),
    )
    registry = Registry(files)
    try:
        assert [plugin.name for plugin in registry.plugins if plugin.state == "failed"] == ["plug_a"]
        assert registry.entry("loss", "squares").plugin == "plug_b"
    finally:
        registry.forget_files()


def test_a_wrapper_surrounds_the_hooks_of_every_plugin(tmp_path: Path) -> None:
    files = write_plugins(tmp_path, plug_w=WRAPPER, plug_a=FIRST.format(options="", name="squares"))
    registry = Registry(files)
    try:
        calls = sys.modules["plug_w"].calls
        with_losses = [plugin for plugin in registry.plugins if any(e.kind == "loss" for e in plugin.entries)]
        assert calls == ["before", "after"] * len(with_losses)
        assert registry.has("loss", "squares")
    finally:
        registry.forget_files()
