"""A framework for autoencoders assembled from named parts. Importing it imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aeframe.errors import AeframeError
from aeframe.hooks import hookimpl
from aeframe.registry import register
from aeframe.version import __version__

if TYPE_CHECKING:
    from aeframe.data.samples import Samples
    from aeframe.experiment.api import build, fit
    from aeframe.experiment.many_runs import fit_many
    from aeframe.experiment.tuning.search import tune
    from aeframe.model_store.export.export import export_model
    from aeframe.model_store.imputation import impute
    from aeframe.model_store.push import push
    from aeframe.model_store.reader import load
    from aeframe.model_store.trained_model import TrainedModel

_LAZY = {
    "build": "aeframe.experiment.api:build",
    "export_model": "aeframe.model_store.export.export:export_model",
    "fit": "aeframe.experiment.api:fit",
    "fit_many": "aeframe.experiment.many_runs:fit_many",
    "impute": "aeframe.model_store.imputation:impute",
    "load": "aeframe.model_store.reader:load",
    "push": "aeframe.model_store.push:push",
    "Samples": "aeframe.data.samples:Samples",
    "TrainedModel": "aeframe.model_store.trained_model:TrainedModel",
    "tune": "aeframe.experiment.tuning.search:tune",
}


def __getattr__(name: str) -> Any:
    """Import what needs torch on first use only."""
    if name not in _LAZY:
        raise AttributeError(f"module 'aeframe' has no attribute '{name}'")
    import importlib

    module, _, attribute = _LAZY[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


__all__ = [
    "AeframeError",
    "Samples",
    "TrainedModel",
    "__version__",
    "build",
    "export_model",
    "fit",
    "fit_many",
    "hookimpl",
    "impute",
    "load",
    "push",
    "register",
    "tune",
]
