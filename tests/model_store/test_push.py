"""`aeframe.push`, and `aeframe.load` from where it has put a model: folders, URLs, and repositories of a hub."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
import yaml
from huggingface_hub import errors

import aeframe
from aeframe.cli.main import main
from aeframe.data.fingerprint import DataRecord
from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.model_store.card import make_card
from aeframe.model_store.locations import MODEL_FILES
from aeframe.model_store.writer import save_model
from aeframe.types import Batch

from .conftest import Save

FILES = ["README.md", "config.yaml", "modality.json", "modality.safetensors", "model.safetensors"]
X = torch.linspace(-1, 1, 60).reshape(2, 30)


class Hub:
    """A hub on disk, with the functions of `huggingface_hub.HfApi` that a push uses."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.error: Exception | None = None
        self.patterns: list[str] = []

    def path(self, name: str, revision: str | None) -> Path:
        return self.folder / name.replace("/", "--") / (revision or "main")

    def create_repo(self, name: str, *, private: bool, exist_ok: bool) -> None:
        if self.error is not None:
            raise self.error
        self.path(name, None).mkdir(parents=True, exist_ok=exist_ok)
        (self.path(name, None) / ".gitattributes").touch()

    def create_branch(self, name: str, *, branch: str, exist_ok: bool) -> None:
        if not self.path(name, branch).exists():
            shutil.copytree(self.path(name, None), self.path(name, branch))

    def list_repo_files(self, name: str, *, revision: str | None) -> list[str]:
        return [path.name for path in self.path(name, revision).iterdir()]

    def upload_folder(
        self,
        *,
        repo_id: str,
        folder_path: Path,
        revision: str | None,
        commit_message: str,
        delete_patterns: Sequence[str] | None,
    ) -> None:
        for name in delete_patterns or ():
            (self.path(repo_id, revision) / name).unlink()
        shutil.copytree(folder_path, self.path(repo_id, revision), dirs_exist_ok=True)

    def snapshot_download(self, name: str, *, revision: str | None, allow_patterns: Sequence[str]) -> str:
        if self.error is not None:
            raise self.error
        self.patterns = list(allow_patterns)
        copy = self.folder / "cache" / name / (revision or "main")
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir(parents=True)
        for path in self.path(name, revision).iterdir():
            if path.name in allow_patterns:
                shutil.copy(path, copy)
        return str(copy)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    hub = Hub(tmp_path / "hub")
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: hub)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.snapshot_download)
    return hub


def test_a_model_is_the_same_after_a_push_to_the_hub(save: Save, hub: Hub, tmp_path: Path) -> None:
    model, _ = save()
    pushed = aeframe.push(tmp_path / "run", "hub:me/vae", license="apache-2.0")
    assert (pushed.location, pushed.shortened, pushed.license) == ("hub:me/vae", (), "apache-2.0")
    assert sorted(path.name for path in hub.path("me/vae", None).iterdir()) == [".gitattributes", *FILES]
    assert torch.equal(aeframe.load("hub:me/vae").encode(X), model.encode(X))
    assert sorted(hub.patterns) == sorted(MODEL_FILES)
    assert main(["push", str(tmp_path / "run"), "hub:me/vae@v1"]) == 2
    assert main(["push", str(tmp_path / "run"), "hub:me/vae@v1", "--overwrite"]) == 0
    assert torch.equal(aeframe.load(Path("hub:me/vae@v1")).encode(X), model.encode(X))


def test_only_the_files_of_a_model_are_fetched_and_their_hashes_are_checked(
    save: Save, hub: Hub, tmp_path: Path
) -> None:
    save()
    aeframe.push(tmp_path / "run", "hub:me/vae")
    stored = hub.path("me/vae", None)
    (stored / "modeling.py").write_text("raise SystemExit", encoding="utf-8")
    aeframe.load("hub:me/vae")
    assert not list((hub.folder / "cache").rglob("modeling.py"))
    (stored / "modality.json").write_text("{}", encoding="utf-8")
    with pytest.raises(AeframeError, match=r"modality\.json' is damaged: its SHA-256 is"):
        aeframe.load("hub:me/vae")


def test_a_push_replaces_a_model_only_if_told_and_never_other_files(save: Save, hub: Hub, tmp_path: Path) -> None:
    save()
    for target, name, place in (
        ("hub:me/vae", "'hub:me/vae'", hub.path("me/vae", None)),
        (str(tmp_path / "copy"), f"'{tmp_path / 'copy'}'", tmp_path / "copy"),
    ):
        aeframe.push(tmp_path / "run", target)
        # Of a model that was saved with scores.
        (place / "scores.safetensors").touch()
        with pytest.raises(AeframeError) as error:
            aeframe.push(tmp_path / "run", target)
        assert str(error.value) == f"{name} has a model already; choose another target, or replace it with --overwrite"
        aeframe.push(tmp_path / "run", target, overwrite=True)
        aeframe.load(target)
        (place / "thesis.tex").touch()
        with pytest.raises(AeframeError) as error:
            aeframe.push(tmp_path / "run", target, overwrite=True)
        assert str(error.value) == (
            f"{name} has other files (thesis.tex), which a push would mix with the model; choose a new one"
        )
        assert (place / "thesis.tex").exists()


def _status(kind: Callable[..., Exception], status: int) -> Exception:
    import httpx2

    return kind("no", response=httpx2.Response(status, request=httpx2.Request("GET", "http://hub")))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            lambda: _status(errors.RepositoryNotFoundError, 404),
            "there is no such repository, or it is private; correct the name, or log in with hf auth login, or set "
            "HF_TOKEN",
        ),
        (
            lambda: _status(errors.RevisionNotFoundError, 404),
            "it has no revision 'v9'; correct it, or leave it out",
        ),
        (
            lambda: _status(errors.HfHubHTTPError, 401),
            "the hub denies access; log in with hf auth login, or set HF_TOKEN, with a token that may do this",
        ),
        (lambda: _status(errors.HfHubHTTPError, 500), "the hub answers with status 500; try again later"),
        (
            lambda: errors.LocalTokenNotFoundError("no"),
            "you are not logged in to the hub; log in with hf auth login, or set HF_TOKEN",
        ),
        (
            lambda: errors.LocalEntryNotFoundError("no"),
            "the hub cannot be reached, and the cache has no complete copy; check the network and HF_ENDPOINT",
        ),
        (
            lambda: errors.HfHubHTTPError.__mro__[1]("no"),
            "the hub cannot be reached, and the cache has no complete copy; check the network and HF_ENDPOINT",
        ),
    ],
)
def test_errors_of_the_hub_are_sentences(
    save: Save, hub: Hub, tmp_path: Path, error: Callable[[], Exception], message: str
) -> None:
    save()
    hub.error = error()
    with pytest.raises(AeframeError) as found:
        aeframe.load("hub:me/vae@v9")
    assert str(found.value) == f"'hub:me/vae@v9' cannot be read: {message}"
    with pytest.raises(AeframeError) as found:
        aeframe.push(tmp_path / "run", "hub:me/vae@v9")
    assert str(found.value) == f"'hub:me/vae@v9' cannot be written: {message}"


def test_a_hub_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(AeframeError) as error:
        aeframe.load("hub:me/vae")
    assert str(error.value) == (
        "the package huggingface_hub is needed to read 'hub:me/vae', and is not installed; run pip install "
        "'aeframe[hub]'"
    )


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("hub:vae", "'hub:vae' is no address of a repository; write hub:owner/name or hub:owner/name@revision"),
        ("hub:../../x", "'hub:../../x' is no address of a repository; write hub:owner/name or hub:owner/name@revision"),
        ("file://host/x", "'file://host/x' is no URL of a folder on this machine; write file:///path/of/the/folder"),
    ],
)
def test_malformed_addresses(location: str, message: str) -> None:
    with pytest.raises(AeframeError) as error:
        aeframe.load(location)
    assert str(error.value) == message


def test_a_copy_has_no_paths_of_this_machine(save: Save, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, _ = save()
    path = tmp_path / "secret_project" / "table one.csv"
    config = {**model.config, "data": {"name": "numbers", "path": str(path), "label": "y"}}
    fingerprint = {"name": "numbers", "files": {"path": {"path": str(path), "sha256": "", "bytes": 1}}, "samples": 3}
    record = DataRecord(fingerprint, notes=(f"'{path}': 3 rows were left out",))
    sampler = build("sampler", "prior", model=model.model)
    save_model(tmp_path / "run" / "model", model.model, model.modality, config, sampler, metrics={}, data=record)
    assert main(["push", str(tmp_path / "run"), f"file://{tmp_path}/copy%201"]) == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'copy 1'}\n"
    assert f"note: the copy has the last component only of the path {path}\n" in err
    assert "note: the card says that the licence is unknown; set one with --license\n" in err
    for file in (tmp_path / "copy 1").iterdir():
        assert b"secret" not in file.read_bytes()
    loaded = aeframe.load(f"file://{tmp_path}/copy%201")
    assert loaded.config["data"]["path"] == "table one.csv"
    assert loaded.data.notes == ("'table one.csv': 3 rows were left out",)
    assert torch.equal(loaded.encode(Batch(X)), model.encode(X))


def test_the_card_has_front_matter_for_a_hub(save: Save, tmp_path: Path) -> None:
    model, _ = save()
    record = DataRecord({"rows": {"train": 400, "validation": 50, "test": 60}})
    card = make_card(model.config, {"mse": 0.25, "kl/1": 1.0, "bound": float("nan")}, 3, record)
    front: dict[str, Any] = yaml.safe_load(card.split("---\n")[1])
    assert front["license"] == "unknown"
    assert front["library_name"] == "aeframe"
    assert front["tags"] == ["autoencoder", "vae", "vector"]
    assert front["model-index"][0]["results"][0]["metrics"] == [{"type": "mse", "value": 0.25}]
    assert front["model-index"][0]["results"][0]["dataset"]["name"] == "breast_cancer"
    assert "Of 60 test samples; the model was trained on 400 and chosen on 50 others. " in card
    assert huggingface_hub.ModelCard(card).data.eval_results[0].metric_value == 0.25
    with pytest.raises(AeframeError) as error:
        aeframe.push(tmp_path / "run", tmp_path / "copy", license="free for all")
    assert str(error.value) == "license expects an identifier such as apache-2.0 or cc-by-4.0, found 'free for all'"
    assert not (tmp_path / "copy").exists()
    aeframe.push(tmp_path / "run", tmp_path / "copy", license="mit")
    text = (tmp_path / "copy" / "README.md").read_text(encoding="utf-8")
    assert huggingface_hub.ModelCard(text).data.license == "mit"
    assert "- License: mit\n" in text
