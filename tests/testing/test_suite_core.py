"""The built-in parts pass the conformance suite of plugins."""

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors.torch import save

from aeframe.testing import PluginSuite

torch.set_num_threads(1)
# The options of the suite are read when it is collected, before any fixture.
_FOLDER = tempfile.TemporaryDirectory()


def pretrained() -> dict[str, Any]:
    """Return the options of an encoder from a file, for data of 12 numbers."""
    generator = torch.Generator().manual_seed(0)
    weights = {
        "layers.0.weight": torch.randn(4, 12, generator=generator),
        "layers.0.bias": torch.randn(4, generator=generator),
    }
    content = save(weights)
    path = Path(_FOLDER.name, "mlp.safetensors")
    path.write_bytes(content)
    architecture = {"name": "mlp", "hidden": [4]}
    return {"path": str(path), "sha256": hashlib.sha256(content).hexdigest(), "architecture": architecture}


class TestCore(PluginSuite):
    plugin = "core"
    options: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "encoder=pretrained": pretrained(),
        "sampler=two_stage": {"steps": 3},
        "schedule=constant": {"value": 0.5},
        "schedule=step": {"value": 0.5},
        "schedule=warmup": {"peak": 1e-3},
    }
    not_applicable: ClassVar[Mapping[str, str]] = {
        "condition:decoder=reshape": "it has no layer that could use a condition, and rejects one by its size",
        "condition:encoder=pretrained": "its network has no input for a condition, and it rejects one",
        "two processes:corruption=salt_pepper": (
            "for a domain without bounds it uses those of the batch, and a process has only a part of the batch"
        ),
    }
