"""`push`: copy a saved model to a repository of a hub, or to a folder, for others to load."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from aeframe.entrances import user_errors
from aeframe.errors import AeframeError
from aeframe.model_store.card import UNKNOWN
from aeframe.model_store.integrity import check_hashes
from aeframe.model_store.layout import put_in_place, resolved, sibling
from aeframe.model_store.locations import (
    MODEL_FILES,
    Repository,
    ZooModel,
    hub_errors,
    huggingface_hub,
    local_folder,
    parse_location,
)
from aeframe.model_store.portable import CARD, write_portable_copy
from aeframe.model_store.reader import model_folder, read_config

_OWN_FILES = frozenset({*MODEL_FILES, CARD})
# What a new repository of the hub has.
_HUB_FILES = frozenset({".gitattributes"})


@dataclass(frozen=True, slots=True)
class Pushed:
    """The result of `push`."""

    location: str
    """Where the model is: `aeframe.load` takes it."""
    shortened: tuple[str, ...]
    """Absolute paths of this machine that were replaced by their last component."""
    license: str
    """The licence in the card, ``unknown`` if none was set."""


@user_errors()
def push(
    model: str | Path, target: str | Path, *, license: str | None = None, private: bool = False, overwrite: bool = False
) -> Pushed:
    """Copy a saved model to a repository of the hub or to a folder, from where `aeframe.load` opens it.

    ```python
    aeframe.push("runs/vae", "hub:owner/name", license="apache-2.0")
    ```

    Nothing but the saved model is copied: no checkpoints, no logs and no samples. Absolute paths of the training data
    become their last component. The card becomes ``README.md``.

    Args:
        model: The folder of a run, or of a saved model.
        target: ``hub:owner/name``, or ``hub:owner/name@branch``; a folder, or its ``file://`` URL. A repository that
            does not exist is created; the hub is that of ``HF_ENDPOINT``, and needs a token (``hf auth login``).
        license: The identifier of the licence for the card, such as ``apache-2.0``.
        private: Whether a new repository is private.
        overwrite: Replace the saved model that the target has.

    Raises:
        AeframeError: The model cannot be read, the target has a model or other files, or the hub cannot be used.
    """
    folder = model_folder(local_folder(model))
    check_hashes(folder, read_config(folder)["sha256"])
    destination = parse_location(target)
    if isinstance(destination, ZooModel):
        raise AeframeError(f"'{destination}' is read only; push to a folder, or to hub:owner/name")
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / "model"
        shortened = tuple(write_portable_copy(folder, copy, license=license))
        if isinstance(destination, Repository):
            _push_to_hub(copy, destination, private=private, overwrite=overwrite)
            location = str(destination)
        else:
            location = str(_push_to_folder(copy, resolved(destination), overwrite=overwrite))
        return Pushed(location, shortened, license_of(copy / CARD))


def license_of(card: Path) -> str:
    """Return the licence in the front matter of a card, ``unknown`` without one."""
    lines = card.read_text(encoding="utf-8").splitlines() if card.is_file() else []
    return next((line.removeprefix("license: ") for line in lines if line.startswith("license: ")), UNKNOWN)


def _push_to_folder(copy: Path, folder: Path, *, overwrite: bool) -> Path:
    if folder.exists() and not folder.is_dir():
        raise AeframeError(f"'{folder}' is a file; choose a new folder")
    present = {path.name for path in folder.iterdir()} if folder.exists() else set[str]()
    _check_target(f"'{folder}'", present, overwrite=overwrite)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = sibling(folder, "partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(copy, partial)
    put_in_place(partial, folder)
    return folder


def _push_to_hub(copy: Path, repository: Repository, *, private: bool, overwrite: bool) -> None:
    hub = huggingface_hub(f"to write '{repository}'")
    api = hub.HfApi()
    with hub_errors(repository, "written"):
        api.create_repo(repository.name, private=private, exist_ok=True)
        if repository.revision is not None:
            api.create_branch(repository.name, branch=repository.revision, exist_ok=True)
        present = set(api.list_repo_files(repository.name, revision=repository.revision))
        _check_target(f"'{repository}'", present - _HUB_FILES, overwrite=overwrite)
        stale = sorted((present & _OWN_FILES) - {path.name for path in copy.iterdir()})
        api.upload_folder(
            repo_id=repository.name,
            folder_path=copy,
            revision=repository.revision,
            commit_message="Save the model",
            delete_patterns=stale or None,
        )


def _check_target(who: str, present: set[str], *, overwrite: bool) -> None:
    """Raise an error if a target has files that are not those of a model, or a model that is to be kept."""
    others = sorted(present - _OWN_FILES)
    if others:
        shown = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
        raise AeframeError(f"{who} has other files ({shown}), which a push would mix with the model; choose a new one")
    if present and not overwrite:
        raise AeframeError(f"{who} has a model already; choose another target, or replace it with --overwrite")
