"""The built-in parts pass the conformance suite of plugins."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch

from aeframe.testing import PluginSuite
from aeframe.testing.fixtures import pretrained_mlp

torch.set_num_threads(1)
# The options of the suite are read when it is collected, before any fixture.
_FOLDER = tempfile.TemporaryDirectory()


class TestCore(PluginSuite):
    plugin = "core"
    options: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "encoder=pretrained": pretrained_mlp(Path(_FOLDER.name)),
        "sampler=two_stage": {"steps": 3},
        "schedule=constant": {"value": 0.5},
        "schedule=step": {"value": 0.5},
        "schedule=warmup": {"peak": 1e-3},
    }
    not_applicable: ClassVar[Mapping[str, str]] = {
        "condition:decoder=reshape": "it has no layer that could use a condition, and rejects one by its size",
        "condition:encoder=pretrained": "its network has no input for a condition, and it rejects one",
        "metric of padding:metric=nll": "it is an estimate, whose draws are a function of the sample and its mask",
        "two processes:corruption=salt_pepper": (
            "for a domain without bounds it uses those of the batch, and a process has only a part of the batch"
        ),
    }
