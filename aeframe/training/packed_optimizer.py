"""`PackedOptimizer`: one step of torch's optimizer for the stacked parameters of many models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, Optimizer, RAdam, RMSprop

_LINEAR = frozenset({SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, RAdam, RMSprop})
"""Optimizers whose update is the learning rate times a function of the gradients, apart from weight decay."""
_BY_MODEL = frozenset({"params", "lr", "initial_lr", "weight_decay", "name"})
"""Options that may differ from model to model."""


class PackedOptimizer:
    """Step the optimizers of M models at once; their learning rates and weight decays may differ.

    The update of these optimizers is proportional to the learning rate. torch's optimizer therefore trains a tensor of
    updates with the rate 1, which is 0 before each step, and the updates are then multiplied by the rate of each model.
    The state of each model's own optimizer becomes views of the stacked state, so that checkpoints contain it.

    Args:
        optimizers: The optimizer of each model.
        parameters: The parameters of each model by name.
        stacks: The stacked parameters ``(M, ...)`` by name.
    """

    def __init__(
        self,
        optimizers: Sequence[Optimizer],
        parameters: Sequence[Mapping[str, nn.Parameter]],
        stacks: Mapping[str, Tensor],
    ) -> None:
        self._optimizers, self._own, self._stacks = list(optimizers), list(parameters), stacks
        names = {id(parameter): name for name, parameter in parameters[0].items()}
        first = optimizers[0]
        self._names = [[names[id(p)] for p in group["params"]] for group in first.param_groups]
        self._updates = [[torch.zeros_like(stacks[name]) for name in group] for group in self._names]
        options = [
            {**{key: value for key, value in group.items() if key not in _BY_MODEL}, "lr": 1.0, "weight_decay": 0.0}
            for group in first.param_groups
        ]
        groups: list[dict[str, Any]] = [
            {**option, "params": updates} for option, updates in zip(options, self._updates, strict=True)
        ]
        self._decoupled = [bool(option.get("decoupled_weight_decay", type(first) is AdamW)) for option in options]
        # Every option of a parameter group is set there; the constructor only needs one of its own.
        kind: Any = type(first)
        self._optimizer: Optimizer = kind(groups, lr=1.0)
        for group, option in zip(self._optimizer.param_groups, options, strict=True):
            group.update(option)
        self._is_linked = False
        self._load()

    @staticmethod
    def supports(optimizers: Sequence[Optimizer]) -> bool:
        """Return whether optimizers can step at once: of one class and options, and with the same number of steps."""
        first = optimizers[0]
        if type(first) not in _LINEAR:
            return False
        groups = [[_comparable(group) for group in optimizer.param_groups] for optimizer in optimizers]
        return (
            all(type(optimizer) is type(first) for optimizer in optimizers)
            and all(each == groups[0] for each in groups)
            and not any(group.get("maximize") for group in first.param_groups)
            and all(
                isinstance(group[key], (int, float))
                for optimizer in optimizers
                for group in optimizer.param_groups
                for key in ("lr", "weight_decay")
            )
            and all(p.ndim > 0 for group in first.param_groups for p in group["params"])
            and len({_scalars(optimizer) for optimizer in optimizers}) == 1
        )

    @torch.no_grad()
    def step(self, gradients: Mapping[str, Tensor | None]) -> None:
        """Update the stacked parameters with gradients ``(M, ...)`` by name."""
        for number, (names, updates) in enumerate(zip(self._names, self._updates, strict=True)):
            used = [row for row, name in enumerate(names) if gradients.get(name) is not None]
            decays = [float(each.param_groups[number]["weight_decay"]) for each in self._optimizers]
            rates = [float(each.param_groups[number]["lr"]) for each in self._optimizers]
            stacks = [self._stacks[names[row]] for row in used]
            of_used = [gradients[names[row]] for row in used]
            if any(decays) and used:
                if self._decoupled[number]:
                    factors = [1 - rate * decay for rate, decay in zip(rates, decays, strict=True)]
                    torch._foreach_mul_(stacks, _by_model(factors, stacks))
                else:
                    terms = torch._foreach_mul(stacks, _by_model(decays, stacks))
                    of_used = list(torch._foreach_add(of_used, terms))  # type: ignore[arg-type]
            for update in updates:
                update.grad = None
            for row, gradient in zip(used, of_used, strict=True):
                updates[row].grad = gradient
            torch._foreach_zero_(updates)
        self._optimizer.step()
        for number, (names, updates) in enumerate(zip(self._names, self._updates, strict=True)):
            rates = [float(each.param_groups[number]["lr"]) for each in self._optimizers]
            stacks = [self._stacks[name] for name in names]
            if len(set(rates)) == 1:
                torch._foreach_add_(stacks, updates, alpha=rates[0])
            else:
                torch._foreach_addcmul_(stacks, updates, _by_model(rates, stacks))
        if not self._is_linked:
            self._link()

    def _load(self) -> None:
        """Stack the state of the models' optimizers, if they have any."""
        for names, updates in zip(self._names, self._updates, strict=True):
            for name, update in zip(names, updates, strict=True):
                states = [
                    optimizer.state.get(own[name], {})
                    for optimizer, own in zip(self._optimizers, self._own, strict=True)
                ]
                if not states[0]:
                    continue
                shape = self._own[0][name].shape
                self._optimizer.state[update] = {
                    key: torch.stack([state[key] for state in states])
                    if isinstance(value, Tensor) and value.shape == shape
                    else (value.clone() if isinstance(value, Tensor) else value)
                    for key, value in states[0].items()
                }

    def _link(self) -> None:
        """Make the state of the models' optimizers views of the stacked state."""
        for names, updates in zip(self._names, self._updates, strict=True):
            for name, update in zip(names, updates, strict=True):
                for row, (optimizer, own) in enumerate(zip(self._optimizers, self._own, strict=True)):
                    if update in self._optimizer.state:
                        optimizer.state[own[name]] = {
                            key: value[row] if isinstance(value, Tensor) and value.shape == update.shape else value
                            for key, value in self._optimizer.state[update].items()
                        }
        self._is_linked = all(update in self._optimizer.state for updates in self._updates for update in updates)

    def unlink(self) -> None:
        """Give the optimizer of each model a state of its own."""
        for optimizer, own in zip(self._optimizers, self._own, strict=True):
            for name in (name for group in self._names for name in group):
                state = optimizer.state.get(own[name])
                if state is not None:
                    optimizer.state[own[name]] = {
                        key: value.clone() if isinstance(value, Tensor) else value for key, value in state.items()
                    }


def clip_by_model(gradients: Mapping[str, Tensor | None], limits: Sequence[float | None]) -> Tensor:
    """Clip the norm of each model's gradient in place; return the norms ``(M,)`` before.

    Args:
        gradients: The gradients ``(M, ...)`` by name.
        limits: The largest norm of each model; None for no clipping.
    """
    present = [gradient for gradient in gradients.values() if gradient is not None]
    norms = norms_by_model(present)
    largest = norms.new_tensor([torch.inf if limit is None else limit for limit in limits])
    # As `torch.nn.utils.clip_grad_norm_`.
    factors = (largest / (norms + 1e-6)).clamp(max=1.0)
    torch._foreach_mul_(present, [_aligned(factors, gradient) for gradient in present])
    return norms


def norms_by_model(gradients: Sequence[Tensor | None]) -> Tensor:
    """Return the norm ``(M,)`` of each model's gradient, of the tensors ``(M, ...)`` of all parameters."""
    present = [gradient.reshape(len(gradient), -1) for gradient in gradients if gradient is not None]
    return torch.stack([gradient.square().sum(1) for gradient in present]).sum(0).sqrt()


def _by_model(numbers: Sequence[float], stacks: Sequence[Tensor]) -> list[Tensor]:
    """Return the numbers of the models ``(M,)`` in a shape that broadcasts with each of the stacks."""
    if not stacks:
        return []
    values = stacks[0].new_tensor(numbers)
    return [_aligned(values, stack) for stack in stacks]


def _aligned(values: Tensor, stack: Tensor) -> Tensor:
    return values.view(-1, *[1] * (stack.ndim - 1))


def _comparable(group: Mapping[str, Any]) -> dict[str, Any]:
    options = {key: value for key, value in group.items() if key not in _BY_MODEL}
    return {**options, "params": [tuple(p.shape) for p in group["params"]]}


def _scalars(optimizer: Optimizer) -> tuple[Any, ...]:
    """Return the state without the tensors in the shape of a parameter: the number of steps, for one."""
    return tuple(
        (key, float(value) if isinstance(value, Tensor) else value)
        for group in optimizer.param_groups
        for p in group["params"]
        for key, value in sorted(optimizer.state.get(p, {}).items())
        if not (isinstance(value, Tensor) and value.shape == p.shape)
    )
