"""The zoo: `zoo/build.py` trains its models, and `aeframe.load` opens them as ``zoo:NAME``."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import aeframe
from aeframe.cli.main import main
from aeframe.errors import AeframeError
from aeframe.experiment.compose import compose
from aeframe.model_store.zoo import add_to_index

BUILD = Path(__file__).parents[2] / "zoo" / "build.py"
COMMON = {"metric": "mse", "expected": 0.0, "tolerance": 10.0, "license": "cc-by-4.0", "data": "a table, CC BY 4.0"}
ENTRIES: dict[str, dict[str, Any]] = {
    "rows_ae": {
        "summary": "rows",
        "overrides": ["model=ae", "data=breast_cancer", "latent.dim=2", "encoder.hidden=[8]", "max_batches=5"],
        **COMMON,
    },
    "tiny_digits": {
        "summary": "digits",
        "overrides": ["model=vae", "data=digits", "latent.dim=2", "encoder=mlp", "encoder.hidden=[8]", "max_batches=5"],
        **COMMON,
    },
}


@pytest.fixture(scope="module")
def build() -> Any:
    spec = importlib.util.spec_from_file_location("zoo_build", BUILD)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # `dataclass` looks the module up to resolve its annotations.
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("sys").modules, "zoo_build", module)
        spec.loader.exec_module(module)
        yield module


@pytest.fixture(scope="module")
def zoo(build: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zoo")
    (folder / "list.yaml").write_text(yaml.safe_dump(ENTRIES))
    assert build.main([str(folder / "zoo"), "--models", str(folder / "list.yaml")]) == 0
    return folder / "zoo"


def message(name: str) -> str:
    with pytest.raises(AeframeError) as caught:
        aeframe.load(f"zoo:{name}")
    return str(caught.value)


@pytest.mark.parametrize("as_url", [False, True])
def test_models_of_the_zoo_open(zoo: Path, as_url: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEFRAME_ZOO", zoo.as_uri() if as_url else str(zoo))
    assert aeframe.load("zoo:rows_ae").reconstruct(torch.zeros(3, 30)).shape == (3, 30)
    assert aeframe.load("zoo:tiny_digits").sample(2).shape == (2, 1, 8, 8)


def test_commands_take_a_model_of_the_zoo(zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEFRAME_ZOO", str(zoo))
    assert main(["push", "zoo:rows_ae", str(tmp_path / "copy")]) == 0
    assert aeframe.load(tmp_path / "copy").name == "ae"


def test_the_index_and_the_card(zoo: Path) -> None:
    models = json.loads((zoo / "index.json").read_text())["models"]
    assert list(models) == ["rows_ae", "tiny_digits"]
    assert models["rows_ae"]["metrics"].keys() == {"mse"}
    assert "README.md" in models["rows_ae"]["sha256"]
    assert "license: cc-by-4.0" in (zoo / "rows_ae" / "README.md").read_text()


def test_files_below_the_folder_of_a_model(zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = shutil.copytree(zoo, tmp_path / "zoo")
    monkeypatch.setenv("AEFRAME_ZOO", str(copy))
    (copy / "rows_ae" / "pictures").mkdir()
    picture = copy / "rows_ae" / "pictures" / "a.png"
    picture.write_bytes(b"1")
    assert message("rows_ae").startswith(f"'{picture}' is not in the index of the zoo; remove it")
    add_to_index(copy, "rows_ae", summary="rows", data="a table", metrics={})
    assert aeframe.load("zoo:rows_ae").name == "ae"
    picture.write_bytes(b"2")
    assert message("rows_ae").startswith(f"'{picture}' is damaged")
    with pytest.raises(AeframeError, match="none' cannot enter the index of the zoo: there is no such folder"):
        add_to_index(copy, "none", summary="", data="", metrics={})


def test_an_unknown_model(zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEFRAME_ZOO", str(zoo))
    assert message("row_ae") == (
        f"the zoo '{zoo}' has no model 'row_ae', did you mean 'rows_ae'?; it has rows_ae, tiny_digits"
    )
    assert message("../rows_ae") == (
        "'zoo:../rows_ae' is no address of a model of the zoo; write zoo:NAME, such as zoo:digits_vae"
    )


def test_a_missing_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AEFRAME_ZOO", raising=False)
    assert message("a").startswith(
        "'zoo:a' needs the folder of the zoo, and AEFRAME_ZOO is not set; set it to a folder"
    )
    monkeypatch.setenv("AEFRAME_ZOO", str(tmp_path))
    assert message("a").startswith(f"'{tmp_path}' is no zoo: there is no index.json in it; set AEFRAME_ZOO to")
    monkeypatch.setenv("AEFRAME_ZOO", "hub:owner/name")
    assert message("a") == "AEFRAME_ZOO is 'hub:owner/name', expected a folder or its file:// URL"
    (tmp_path / "index.json").write_text('{"models": {"a": {}}}')
    monkeypatch.setenv("AEFRAME_ZOO", str(tmp_path))
    assert message("a").endswith("has no hashes of the model 'a'; copy the zoo again")


def test_missing_added_and_changed_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    (folder / "config.yaml").write_text("a: 1\n")
    add_to_index(tmp_path, "one", summary="a model", data="simulated", metrics={"mse": 1.0})
    monkeypatch.setenv("AEFRAME_ZOO", str(tmp_path))
    # config.yaml is covered too, unlike by the hashes that it contains itself.
    (folder / "config.yaml").write_text("a: 2\n")
    assert message("one").startswith(f"'{folder / 'config.yaml'}' is damaged: its SHA-256 is ")
    (folder / "code.py").touch()
    assert message("one").startswith(f"'{folder / 'code.py'}' is not in the index of the zoo")
    (folder / "code.py").unlink()
    (folder / "config.yaml").unlink()
    assert message("one").startswith(f"there is no file '{folder / 'config.yaml'}', which the zoo's index lists")


def test_the_zoo_is_read_only(zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEFRAME_ZOO", str(zoo))
    with pytest.raises(AeframeError, match="'zoo:new' is read only; push to a folder, or to hub:owner/name"):
        aeframe.push("zoo:rows_ae", "zoo:new")


def test_a_model_that_is_not_as_expected_is_not_saved(
    build: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = {**ENTRIES["rows_ae"], "expected": 0.0, "tolerance": 1e-6}
    (tmp_path / "list.yaml").write_text(yaml.safe_dump({"a": entry}))
    assert build.main([str(tmp_path / "zoo"), "--models", str(tmp_path / "list.yaml")]) == 1
    assert "expected 0 +- 1e-06" in capsys.readouterr().err
    assert not (tmp_path / "zoo").exists()


def test_every_model_of_the_list_composes(build: Any) -> None:
    entries = yaml.safe_load(build.MODELS.read_text(encoding="utf-8"))
    assert len(entries) == 10
    modalities = {str(compose(build.Entry(**entry).overrides)["modality"]["name"]) for entry in entries.values()}
    assert modalities == {"image", "vector", "table", "series", "text", "audio", "video", "omics"}
