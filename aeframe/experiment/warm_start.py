"""The setting ``init``: a run or a saved model whose weights initialise the model of a new run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aeframe.errors import AeframeError
from aeframe.experiment.objects import RunObjects

if TYPE_CHECKING:
    from aeframe.model.autoencoder import Autoencoder

INIT_IN_MEMORY = "a model in memory"
"""The value of ``init`` in the config of a run that started from a `TrainedModel` of the caller's program."""


def init_source(config: Mapping[str, Any], objects: RunObjects) -> Autoencoder | None:
    """Return the model that the setting ``init`` of a run names, or that `aeframe.fit` received; None without one.

    Raises:
        AeframeError: There is no saved model, it cannot be opened, or ``init_parts`` is set without ``init``.
    """
    if objects.init is not None:
        return objects.init.model
    path = config["init"]
    if path is None:
        if config["init_parts"]:
            raise AeframeError(
                "init_parts selects parts of the model that init names, but init is not set; set init=RUN, or leave "
                "init_parts out"
            )
        return None
    # Torch takes long to import, and the module is imported for every command.
    from aeframe.model_store.reader import load, own_kinds

    try:
        # The source may have the modules that the new run has.
        kinds = own_kinds(path) & objects.modules.keys()
        return load(path, **{kind: objects.modules[kind] for kind in kinds}).model
    except AeframeError as error:
        raise AeframeError(f"init={path} cannot be used: {error}") from error


def with_absolute_init(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config with the path of ``init`` absolute, as a run stores it."""
    # It imports torch, which takes long.
    from aeframe.model_store.layout import resolved

    path = config.get("init")
    if not isinstance(path, str) or path == INIT_IN_MEMORY:
        return dict(config)
    return {**config, "init": str(resolved(Path(path)))}
