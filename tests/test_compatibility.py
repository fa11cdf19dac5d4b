import importlib.metadata
from pathlib import Path

import pytest

from aeframe.compatibility import incompatibility
from aeframe.registry import Registry
from aeframe.version import __version__


def distribution(folder: Path, requires: list[str], *, name: str = "aeframe-old") -> importlib.metadata.Distribution:
    """Write a distribution of metadata and a module that raises on import."""
    information = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    information.mkdir()
    lines = ["Metadata-Version: 2.1", f"Name: {name}", "Version: 1.0", *(f"Requires-Dist: {each}" for each in requires)]
    (information / "METADATA").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (information / "entry_points.txt").write_text("[aeframe]\nold = aeframe_old\n", encoding="utf-8")
    (folder / "aeframe_old.py").write_text("raise SystemExit('imported')", encoding="utf-8")
    return importlib.metadata.Distribution.at(information)


@pytest.mark.parametrize(
    ("requires", "running", "reason"),
    [
        (["aeframe<0.2,>=0.1"], "0.1.3", None),
        (["numpy>=99"], "0.1.3", None),
        ([], "0.1.3", None),
        (["aeframe>=0.1"], "0.2.0.dev1", None),
        (["aeframe-image>=7"], "0.1.3", None),
        (['aeframe>=7; extra == "new"'], "0.1.3", None),
        (
            ["numpy", "aeframe<0.2,>=0.1"],
            "0.2.0",
            "it requires aeframe <0.2,>=0.1, found 0.2.0; upgrade the plugin",
        ),
        (
            ["aeframe<0.4,>=0.3"],
            "0.2.0",
            "it requires aeframe <0.4,>=0.3, found 0.2.0; upgrade aeframe, or install an older version of the plugin",
        ),
        (
            ["aeframe==0.3.*"],
            "0.2.0",
            "it requires aeframe ==0.3.*, found 0.2.0; upgrade aeframe, or install an older version of the plugin",
        ),
    ],
)
def test_the_supported_versions_are_those_of_the_requirement(
    tmp_path: Path, requires: list[str], running: str, reason: str | None
) -> None:
    assert incompatibility(distribution(tmp_path, requires), running) == reason


def test_a_plugin_without_a_distribution_supports_all_versions() -> None:
    assert incompatibility(None) is None


def test_an_incompatible_plugin_is_listed_as_failed_and_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distribution(tmp_path, ["aeframe>=99"])
    monkeypatch.syspath_prepend(tmp_path)
    plugin = next(each for each in Registry(disabled=["image"]).plugins if each.name == "old")
    assert (plugin.state, plugin.distribution, plugin.reason) == (
        "failed",
        "aeframe-old",
        f"it requires aeframe >=99, found {__version__}; upgrade aeframe, or install an older version of the plugin",
    )
