"""Shard the weights, gradients and optimizer states of a model over devices by FSDP2 (`fully_shard` of torch).

torch has no public way back from `fully_shard`: only this file uses private names of it, written for torch 2.13, and
``tests/training/test_strategies.py`` fails with another minor version.

Zhao et al. 2023, "PyTorch FSDP", arXiv 2304.11277; Rajbhandari et al. 2020, "ZeRO", arXiv 1910.02054.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.distributed.tensor import empty as empty_dtensor

from aeframe.errors import AeframeError

_T = TypeVar("_T")


class ShardedParameters:
    """The parameters of a model, sharded over devices between `begin` and `end`; else nothing changes.

    Between two steps each device holds its share of every parameter, gradient and optimizer state. A pass (see
    `compute`) gathers the parameters, and the backward pass averages each gradient over the devices, of which each one
    keeps its share. Parts may use one another's parameters and differentiate inside the pass, since all parameters are
    gathered at once. The model keeps its class and the names of its tensors.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._root: _Pass | None = None

    @property
    def active(self) -> bool:
        """Whether the parameters are sharded."""
        return self._root is not None

    def begin(self, mesh: DeviceMesh) -> None:
        """Replace the parameters of the model by sharded ones, over a mesh of one dimension."""
        check_shardable(self._model)
        self._root = _Pass(self._model)
        fully_shard(self._root, mesh=mesh)
        self._root.sharded = dict(self._model.named_parameters())

    def compute(self, function: Callable[[], _T]) -> _T:
        """Return what `function` returns, which may use every parameter.

        Args:
            function: A function that returns the tensors to differentiate, alone or in tuples, lists and dicts. The
                backward pass must begin at these.
        """
        if self._root is None:
            return function()
        result: _T = self._root(function)
        return result

    def gather(self) -> None:
        """Gather the parameters until `release` is called, for evaluation; changes of them are lost."""
        if self._root is not None:
            self._fsdp().unshard()

    def release(self) -> None:
        """Free the gathered parameters."""
        if self._root is not None:
            self._fsdp().reshard()

    def end(self) -> None:
        """Give the model ordinary parameters again, with the same values on all devices."""
        if self._root is None:
            return
        self.release()
        self.gather()
        copies: dict[int, nn.Parameter] = {}
        places = []
        for module in self._model.modules():
            for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
                if id(parameter) not in copies:
                    copies[id(parameter)] = nn.Parameter(parameter.detach().clone(), parameter.requires_grad)
                places.append((module, name, copies[id(parameter)]))
        # It puts the sharded parameters into the model.
        self.release()
        for module, name, parameter in places:
            setattr(module, name, parameter)
        _remove_hooks(self._fsdp())
        self._root = None

    def _fsdp(self) -> FSDPModule:
        # `fully_shard` changes the class of the module.
        return cast("FSDPModule", self._root)


class _Pass(nn.Module):
    """The module whose forward pass is that of the model and of its loss terms."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.sharded: dict[str, nn.Parameter] = {}
        """The sharded parameters by name. Not registered, since this is no `nn.ParameterDict`."""

    def forward(self, function: Callable[[], _T]) -> _T:
        versions = {name: parameter._version for name, parameter in self.model.named_parameters()}
        result = function()
        for name, parameter in self.model.named_parameters():
            if parameter._version != versions[name]:
                # Changed in place, as when k-means sets a learned codebook; the gathered copy is freed after the pass.
                _copy_share(parameter, self.sharded[name])
        return result


@torch.no_grad()
def _copy_share(value: Tensor, sharded: Tensor) -> None:
    """Copy this device's share of a value, which is equal on all devices, into a sharded tensor."""
    local(sharded).copy_(local(sharded_like(value.detach(), sharded)))


def _remove_hooks(root: FSDPModule) -> None:
    """Remove the hooks on the modules of a model that put sharded parameters into it when its state is read."""
    for group in root._get_fsdp_state()._fsdp_param_groups:
        handles = [
            *group._module_to_pre_save_state_dict_hook_handle.values(),
            *group._module_to_pre_load_state_dict_hook_handle.values(),
            *(parameter._post_load_hook_handle for parameter in group.fsdp_params),
        ]
        for handle in handles:
            handle.remove()


def check_shardable(model: nn.Module) -> None:
    """Raise an `AeframeError` for a parameter without dimensions, which FSDP2 cannot divide among devices."""
    for name, parameter in model.named_parameters():
        if parameter.ndim == 0:
            raise AeframeError(
                f"trainer.strategy=fsdp2 cannot shard the parameter '{name}', which has no dimension; set "
                "trainer.strategy=ddp, or give the parameter the shape (1,)"
            )


def gathered(value: Any) -> Any:
    """Return a tensor, or mappings and lists of tensors, with sharded tensors gathered on the CPU.

    A collective operation if a tensor is sharded. Tensors that are not sharded are returned as they are.
    """
    if isinstance(value, Tensor):
        return whole(value.detach()).cpu() if isinstance(value, DTensor) else value
    if isinstance(value, Mapping):
        return {key: gathered(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(gathered(item) for item in value)
    return value


def empty_like(value: Tensor, references: Iterable[Tensor]) -> Tensor:
    """Return a tensor without values, sharded as the first sharded one of `references`; on the CPU if none is.

    Args:
        value: A tensor with the shape and type, on any device.
        references: Tensors such as the parameters of a module.
    """
    reference = next((each for each in references if isinstance(each, DTensor)), None)
    if reference is None:
        return torch.empty_like(value, device="cpu")
    mesh, placements = reference.device_mesh, reference.placements
    empty: Tensor = empty_dtensor(value.shape, dtype=value.dtype, device_mesh=mesh, placements=placements)
    return empty


def as_written(value: Any, strategy: object) -> Any:
    """Return tensors as a strategy writes them to checkpoints: sharded if it writes shards, else gathered.

    A collective operation if a tensor is gathered. See `aeframe.training.strategies.FSDP2Strategy`.
    """
    return value if getattr(strategy, "writes_shards", False) else gathered(value)


def sharded_like(value: Tensor, reference: Tensor) -> Tensor:
    """Return a tensor that every device holds, sharded as `reference` if that is sharded; no communication.

    A tensor that is sharded already is returned as it is, or gathered if `reference` is not sharded.
    """
    if isinstance(value, DTensor) and not isinstance(reference, DTensor):
        return whole(value)
    if isinstance(reference, DTensor) and not isinstance(value, DTensor) and value.shape == reference.shape:
        on_device = value.to(reference.to_local().device)
        return distribute_tensor(on_device, reference.device_mesh, reference.placements, src_data_rank=None)
    return value


def sharded_state(state: Mapping[str, Tensor], reference: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a state dict that every device holds, sharded as those of `reference`."""
    return {name: sharded_like(value, reference.get(name, value)) for name, value in state.items()}


def is_sharded(value: Tensor) -> bool:
    """Return whether a tensor is sharded over devices."""
    return isinstance(value, DTensor)


def has_shares(value: Tensor) -> bool:
    """Return whether a tensor is sharded, so that each device holds a part of its elements and no sum or copy."""
    return isinstance(value, DTensor) and all(placement.is_shard() for placement in value.placements)


def local(value: Tensor) -> Tensor:
    """Return this device's share of a sharded tensor; any other tensor as it is."""
    return value.to_local() if isinstance(value, DTensor) else value


def whole(value: Tensor) -> Tensor:
    """Return a sharded tensor gathered on its device, a collective operation; any other tensor as it is."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def load_optimizer_state(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Restore the state of an optimizer, in which tensors are whole, or sharded as its parameters are."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    by_number = dict(zip(numbers, parameters, strict=True))
    sharded = {
        number: {
            name: sharded_like(value, by_number[number]) if isinstance(value, Tensor) else value
            for name, value in each.items()
        }
        for number, each in state["state"].items()
    }
    optimizer.load_state_dict({**state, "state": sharded})
