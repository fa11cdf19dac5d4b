"""The built-in parts pass the conformance suite of plugins."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from aeframe.testing import PluginSuite

torch.set_num_threads(1)


class TestCore(PluginSuite):
    plugin = "core"
    options: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "sampler=two_stage": {"steps": 3},
        "schedule=constant": {"value": 0.5},
        "schedule=step": {"value": 0.5},
        "schedule=warmup": {"peak": 1e-3},
    }
    not_applicable: ClassVar[Mapping[str, str]] = {
        "condition:decoder=reshape": "it has no layer that could use a condition, and rejects one by its size",
        "two processes:corruption=salt_pepper": (
            "for a domain without bounds it uses those of the batch, and a process has only a part of the batch"
        ),
    }
