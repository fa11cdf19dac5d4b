"""Optimizer groups: which parameters an optimizer trains, by which terms, and at which batches.

A VAE has one group, the autoencoder; a model with a discriminator has two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from aeframe.devices import mean_over_devices
from aeframe.errors import AeframeError, did_you_mean
from aeframe.factory import build
from aeframe.model.autoencoder import Autoencoder
from aeframe.parts.objectives.base import Critic
from aeframe.parts.schedules import Schedule
from aeframe.training.learning_rate import ScheduledLR
from aeframe.types import ForwardOutput, LossTerms, TrainingProgress

AUTOENCODER = "autoencoder"
"""The name of the first group: every parameter that no opponent owns."""


@dataclass(frozen=True, slots=True)
class GroupSettings:
    """How one group is optimised, and when."""

    optimizer: Mapping[str, Any]
    """``{name: adam, lr: a number or a schedule, options}``."""
    clip: float | None = None
    accumulate: int = 1
    every: int = 1
    start: int = 0


class OptimizerGroup:
    """Some parameters, their optimizer, its learning rate, and the terms that are minimised.

    The group is due at every ``every``-th batch from ``start`` on. It takes a step once the gradients of
    ``accumulate`` due batches are summed, each divided by their number. The last step of an epoch takes what is left,
    divided by what is left, so that no gradient is carried over.
    """

    def __init__(
        self, name: str, parameters: list[nn.Parameter], settings: GroupSettings, critic: Critic | None
    ) -> None:
        self.name, self.parameters, self.settings, self.critic = name, parameters, settings, critic
        self.prefix = "" if critic is None else f"{name}/"
        """Stands before the names of its terms."""
        options = dict(settings.optimizer)
        if "lr" not in options:
            raise AeframeError(f"optimizer group '{name}' has no learning rate; set optimizer.lr=...")
        self._rate = Schedule.from_config(options.pop("lr"), build)
        # A rate to construct it with: the real one is set when the length of the run is known.
        rate = self._rate(TrainingProgress(planned=1))
        try:
            self.optimizer: Optimizer = build("optimizer", {**options, "lr": rate}, params=parameters)
        except ValueError as error:
            first = str(error).partition("\n")[0]
            raise AeframeError(f"optimizer group '{name}' cannot be made: {first}; change optimizer.*") from error
        self.gradient_norm: Tensor | None = None
        """The norm before clipping at the last step; None without clipping."""
        self.num_summed = 0
        """Batches whose gradients are summed since the last step."""
        self._size = 1

    def is_due(self, progress: TrainingProgress) -> bool:
        """Return whether the group is trained at this batch."""
        since = progress.batch - self.settings.start
        return since >= 0 and since % self.settings.every == 0

    def terms(self, model: Autoencoder, output: ForwardOutput, progress: TrainingProgress) -> LossTerms:
        """Return what the group minimises; an opponent gets the output without its graph."""
        if self.critic is None:
            return model.terms(output, progress)
        return self.critic.terms(model, output.detach(), progress)

    def make_scheduler(self, progress: TrainingProgress) -> ScheduledLR:
        """Return the scheduler that keeps the learning rate at its schedule."""
        return ScheduledLR(self.optimizer, self._rate, progress)

    def next_sum(self, progress: TrainingProgress, batches_per_epoch: float) -> tuple[int, bool]:
        """Count one more due batch; return how many the step sums, and whether this is the last of them."""
        if self.num_summed == 0:
            due = -(-(batches_per_epoch - progress.batch_in_epoch) // self.settings.every)
            self._size = int(max(1, min(self.settings.accumulate, due)))
        self.num_summed += 1
        return self._size, self.num_summed >= self._size

    def clip_gradients(self, clip: float | None, algorithm: str) -> None:
        """Limit the gradient's norm (or each value), and keep the norm before; None leaves the gradients alone."""
        if clip is None:
            return
        if algorithm == "value":
            nn.utils.clip_grad_value_(self.parameters, clip)
        else:
            self.gradient_norm = nn.utils.clip_grad_norm_(self.parameters, clip)

    def state_dict(self) -> dict[str, Any]:
        """Return the counters, and the gradients that are summed so far."""
        gradients = {str(row): p.grad for row, p in enumerate(self.parameters) if p.grad is not None}
        return {
            "num_summed": self.num_summed,
            "size": self._size,
            "gradients": gradients if self.num_summed else {},
            "gradient_norm": self.gradient_norm,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set the counters and gradients."""
        self.num_summed, self._size = state["num_summed"], state["size"]
        norm = state["gradient_norm"]
        self.gradient_norm = None if norm is None else norm.to(self.parameters[0].device)
        for row, parameter in enumerate(self.parameters):
            gradient = state["gradients"].get(str(row))
            parameter.grad = None if gradient is None else gradient.to(parameter)


def make_optimizer_groups(
    model: Autoencoder,
    optimizer: Mapping[str, Any],
    settings: Mapping[str, Any] | None = None,
    *,
    clip: float | None = None,
    accumulate: int = 1,
) -> list[OptimizerGroup]:
    """Return the optimizer groups of a model, the autoencoder first.

    Args:
        model: Each of its opponents is a group of its own.
        optimizer: The run's optimizer, ``{name, lr, ...}``.
        settings: By group, what differs from it: ``{optimizer, clip, accumulate, every, start}``.
        clip: The largest gradient norm of groups without their own.
        accumulate: The same for accumulation.

    Raises:
        AeframeError: Settings for a group that does not exist, or a group without trainable parameters.
    """
    critics = model.critics()
    owned = {id(parameter) for critic in critics.values() for parameter in critic.parameters()}
    names = [AUTOENCODER, *critics]
    settings = settings or {}
    for name in settings:
        if name not in names:
            raise AeframeError(
                f"settings name an unknown optimizer group '{name}'{did_you_mean(name, names)}; "
                f"the groups of this model are {', '.join(names)}"
            )
    own = [p for p in model.parameters() if p.requires_grad and id(p) not in owned]
    parameters = {AUTOENCODER: own}
    parameters |= {name: [p for p in module.parameters() if p.requires_grad] for name, module in critics.items()}
    groups = []
    for name in names:
        if not parameters[name]:
            raise AeframeError(f"optimizer group '{name}' has no trainable parameters; unfreeze some, or leave it out")
        chosen = dict(settings.get(name) or {})
        override = chosen.get("optimizer") or {}
        group = GroupSettings(
            optimizer=override if "name" in override else {**optimizer, **override},
            clip=clip if chosen.get("clip") is None else chosen["clip"],
            accumulate=accumulate if chosen.get("accumulate") is None else chosen["accumulate"],
            every=chosen.get("every", 1),
            start=chosen.get("start", 0),
        )
        if group.accumulate < 1 or group.every < 1 or group.start < 0:
            raise AeframeError(
                f"optimizer group '{name}' needs accumulate >= 1, every >= 1 and start >= 0, "
                f"found {group.accumulate}, {group.every} and {group.start}"
            )
        if (critic := critics.get(name)) is not None:
            # Terms that it judges have no weight before it is trained.
            critic.start = group.start
        groups.append(OptimizerGroup(name, parameters[name], group, critic))
    return groups


def check_ownership(module: nn.Module, groups: list[OptimizerGroup]) -> None:
    """Check that every trainable parameter of `module` belongs to exactly one group.

    Raises:
        AeframeError: Naming the parameter that no optimizer, or more than one, would train.
    """
    owners: dict[int, list[str]] = {}
    for group in groups:
        for parameter in group.parameters:
            owners.setdefault(id(parameter), []).append(group.name)
    for name, parameter in module.named_parameters():
        found = owners.get(id(parameter), [])
        if parameter.requires_grad and len(found) != 1:
            who = f"by {' and '.join(found)}" if found else "by no optimizer"
            raise AeframeError(
                f"parameter '{name}' is trained {who}, expected exactly one; "
                "freeze it (requires_grad=False) or keep it in one part only"
            )


def synchronized_states(groups: list[OptimizerGroup]) -> dict[str, dict[str, Any]]:
    """Return the state of every group by name, with the gradients of all devices averaged; all must call it."""
    states = {group.name: group.state_dict() for group in groups}
    for state in states.values():
        state["gradients"] = {row: mean_over_devices(gradient) for row, gradient in state["gradients"].items()}
    return states
