"""Core is plugin zero: what a third party's parts are asked, ours are asked too."""

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
        "condition:decoder=reshape": "it has no layer that could hear a condition, and refuses one by its size",
        "two processes:corruption=salt_pepper": (
            "where a domain has no ends it takes those of the batch, of which a process sees its share only"
        ),
    }
