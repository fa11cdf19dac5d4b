"""`RunObjects`: the objects of a caller's program that take part in a run, and that a config cannot hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning.pytorch.callbacks import Callback
    from lightning.pytorch.loggers import Logger

    from aeframe.data.in_memory import SampleSplits
    from aeframe.model_store.trained_model import TrainedModel


@dataclass(frozen=True, slots=True)
class RunObjects:
    """Objects that `aeframe.fit` received, next to the config of the run; empty for a run of the command line."""

    samples: SampleSplits | None = None
    """The data, for the config ``data.name=..._in_memory``."""
    modules: Mapping[str, Any] = field(default_factory=dict)
    """Modules and functions by the kind of part whose config names ``own``: encoder, decoder, loss."""
    callbacks: Sequence[Callback] = ()
    loggers: Sequence[Logger] = ()
    init: TrainedModel | None = None
    """The model whose weights initialise the new one."""
