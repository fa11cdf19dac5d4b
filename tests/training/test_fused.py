"""Fused kernels: which optimizers use them, and that their steps are those of torch's loop."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import aeframe
from aeframe.training.fused import with_fused_kernel
from aeframe.training.optimizer_groups import GroupSettings, OptimizerGroup

OPTIONS: dict[str, dict[str, Any]] = {
    "adam": {}, "adamw": {"weight_decay": 0.1}, "sgd": {"momentum": 0.9}, "adagrad": {},
}  # fmt: skip


def weights(device: str = "cpu", dtype: torch.dtype = torch.float32) -> list[nn.Parameter]:
    draw = torch.Generator().manual_seed(1)
    return [
        nn.Parameter(torch.randn(*shape, generator=draw).to(device, dtype)) for shape in ((7, 5), (5,), (1,), (33, 4))
    ]


@pytest.mark.parametrize("name", OPTIONS)
def test_steps_are_those_of_the_loop(name: str) -> None:
    results: list[list[Tensor]] = []
    for options in ({}, {"fused": False}):
        parameters = weights()
        settings = GroupSettings({"name": name, "lr": 0.01, **OPTIONS[name], **options})
        group = OptimizerGroup("autoencoder", list(parameters), settings, critic=None)
        assert group.optimizer.defaults["fused"] is (not options)
        draw = torch.Generator().manual_seed(2)
        for _ in range(20):
            for parameter in parameters:
                parameter.grad = torch.randn(parameter.shape, generator=draw)
            group.optimizer.step()
        results.append([parameter.detach() for parameter in parameters])
    for fused, looped in zip(*results, strict=True):
        torch.testing.assert_close(fused, looped, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({"name": "adam", "foreach": True}, weights()),
        ({"name": "adam", "differentiable": True}, weights()),
        ({"name": "radam"}, weights()),
        ({"name": "adam"}, weights(device="meta")),
        ({"name": "adam"}, weights(dtype=torch.complex64)),
        ({"name": "an_unknown_name"}, weights()),
        ({"name": "adam"}, [nn.Parameter(torch.ones(3, 2).T)]),
    ],
    ids=["another implementation", "an option that is set", "no kernel", "no processor", "complex", "unknown", "order"],
)
def test_other_optimizers_are_left_alone(options: dict[str, Any], parameters: list[nn.Parameter]) -> None:
    assert with_fused_kernel(options, parameters) == options


@pytest.mark.parametrize(
    ("optimizer", "fused"),
    [("adam", True), ("adamw", True), ("sgd", True), ({"name": "adam", "fused": False}, False),
     ({"name": "adam", "foreach": True}, None), ({"name": "adam", "capturable": True}, None)],
)  # fmt: skip
def test_a_composed_run_fuses_its_steps_unless_another_is_chosen(optimizer: Any, fused: bool | None) -> None:
    # A composed config holds every option of the optimizer with its default.
    module, _ = aeframe.build(data="digits", model="ae", optimizer=optimizer)
    module.configure_optimizers()
    assert [each["fused"] for each in module.groups[0].optimizer.param_groups] == [fused]
