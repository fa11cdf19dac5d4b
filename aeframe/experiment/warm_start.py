"""The setting ``init``: a run or a saved model whose weights initialise the model of a new run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aeframe.errors import AeframeError
from aeframe.model.autoencoder import Autoencoder
from aeframe.model_store.layout import resolved
from aeframe.model_store.reader import load


def init_source(config: Mapping[str, Any]) -> Autoencoder | None:
    """Return the model that the setting ``init`` of a run names; None if it names none.

    Raises:
        AeframeError: There is no saved model, it cannot be opened, or ``init_parts`` is set without ``init``.
    """
    path = config["init"]
    if path is None:
        if config["init_parts"]:
            raise AeframeError(
                "init_parts selects parts of the model that init names, but init is not set; set init=RUN, or leave "
                "init_parts out"
            )
        return None
    try:
        return load(path).model
    except AeframeError as error:
        raise AeframeError(f"init={path} cannot be used: {error}") from error


def with_absolute_init(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config with the path of ``init`` absolute, as a run stores it."""
    path = config.get("init")
    return {**config, "init": str(resolved(Path(path)))} if isinstance(path, str) else dict(config)
