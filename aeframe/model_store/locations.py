"""Where saved models are: folders, ``file://`` URLs, repositories of a hub, ``hub:owner/name@revision``, and models of
the zoo, ``zoo:NAME``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urlsplit

from aeframe.errors import AeframeError
from aeframe.model_store.integrity import HASHED
from aeframe.model_store.zoo import PLACE, configured_place, zoo_model

MODEL_FILES = ("config.yaml", "card.md", *HASHED)
"""The files of a saved model. No other file of a repository is fetched."""
HUB, ZOO, FILE_URL = "hub:", "zoo:", "file:"
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
_REPOSITORY = re.compile(rf"({_NAME}/{_NAME})(?:@([A-Za-z0-9][A-Za-z0-9._/-]*))?")


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository of the hub."""

    name: str
    """``owner/name``."""
    revision: str | None = None
    """A branch, tag or commit; None for the main branch."""

    def __str__(self) -> str:
        return f"{HUB}{self.name}" + ("" if self.revision is None else f"@{self.revision}")


@dataclass(frozen=True, slots=True)
class ZooModel:
    """A model of the zoo, the folder that ``AEFRAME_ZOO`` names."""

    name: str

    def __str__(self) -> str:
        return f"{ZOO}{self.name}"


def parse_location(location: str | Path) -> Path | Repository | ZooModel:
    """Return the folder, repository or model of the zoo that a path or an address names.

    Raises:
        AeframeError: An address that is malformed.
    """
    text = str(location)
    if text.startswith(HUB):
        match = _REPOSITORY.fullmatch(text.removeprefix(HUB))
        if match is None:
            raise AeframeError(
                f"'{text}' is no address of a repository; write hub:owner/name or hub:owner/name@revision"
            )
        return Repository(match.group(1), match.group(2))
    if text.startswith(ZOO):
        if re.fullmatch(_NAME, text.removeprefix(ZOO)) is None:
            raise AeframeError(f"'{text}' is no address of a model of the zoo; write zoo:NAME, such as zoo:digits_vae")
        return ZooModel(text.removeprefix(ZOO))
    if not text.startswith(FILE_URL):
        return Path(location)
    url = urlsplit(text)
    if url.netloc not in ("", "localhost") or not url.path.startswith("/"):
        raise AeframeError(f"'{text}' is no URL of a folder on this machine; write file:///path/of/the/folder")
    return Path(unquote(url.path))


def local_folder(location: str | Path) -> Path:
    """Return the folder that a location names; the model of a repository is fetched, or taken from the cache.

    Only the files of a saved model are fetched, and none of them is code. Those of the zoo are compared with its index.

    Raises:
        AeframeError: The repository cannot be read, it has no saved model, or ``huggingface_hub`` is not installed; or
            the zoo has no such model, or a damaged one.
    """
    found = parse_location(location)
    if isinstance(found, Path):
        return found
    if isinstance(found, ZooModel):
        place = parse_location(configured_place(found.name))
        if not isinstance(place, Path):
            raise AeframeError(f"{PLACE} is '{place}', expected a folder or its file:// URL")
        return zoo_model(place.expanduser(), found.name)
    hub = huggingface_hub(f"to read '{found}'")
    with hub_errors(found, "read"):
        folder = Path(hub.snapshot_download(found.name, revision=found.revision, allow_patterns=list(MODEL_FILES)))
    if not (folder / "model.safetensors").is_file():
        raise AeframeError(f"'{found}' holds no saved model of aeframe: there is no model.safetensors in it")
    return folder


def huggingface_hub(purpose: str) -> ModuleType:
    """Return the module.

    Raises:
        AeframeError: It is not installed.
    """
    try:
        import huggingface_hub as module
    except ImportError as error:
        raise AeframeError(
            f"the package huggingface_hub is needed {purpose}, and is not installed; run pip install 'aeframe[hub]'"
        ) from error
    return module


@contextmanager
def hub_errors(repository: Repository, verb: str) -> Iterator[None]:
    """Context that raises errors of ``huggingface_hub`` as AeframeError.

    Args:
        repository: The repository that is used inside.
        verb: ``read`` or ``written``.
    """
    from huggingface_hub import errors

    # That of the HTTP library, whose errors of the network are of it too.
    network_error: type[Exception] = errors.HfHubHTTPError.__mro__[1]
    who = f"'{repository}' cannot be {verb}"
    log_in = "log in with hf auth login, or set HF_TOKEN"
    try:
        yield
    except errors.LocalTokenNotFoundError as error:
        raise AeframeError(f"{who}: you are not logged in to the hub; {log_in}") from error
    except errors.GatedRepoError as error:
        raise AeframeError(f"{who}: its owner has to grant access first; request it, and {log_in}") from error
    except errors.RevisionNotFoundError as error:
        raise AeframeError(f"{who}: it has no revision '{repository.revision}'; correct it, or leave it out") from error
    except errors.RepositoryNotFoundError as error:
        raise AeframeError(
            f"{who}: there is no such repository, or it is private; correct the name, or {log_in}"
        ) from error
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        if status in (401, 403):
            raise AeframeError(f"{who}: the hub denies access; {log_in}, with a token that may do this") from error
        raise AeframeError(f"{who}: the hub answers with status {status}; try again later") from error
    except (errors.LocalEntryNotFoundError, network_error, ConnectionError, TimeoutError) as error:
        raise AeframeError(
            f"{who}: the hub cannot be reached, and the cache has no complete copy; check the network and HF_ENDPOINT"
        ) from error
