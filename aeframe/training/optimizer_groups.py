"""Optimizer groups: parameters with their optimizer, loss terms and schedule of updates.

A model has the group ``autoencoder``, and one group for each of its critics.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.optim import Optimizer

from aeframe.devices import mean_over_devices
from aeframe.errors import AeframeError, did_you_mean
from aeframe.factory import build
from aeframe.model.autoencoder import Autoencoder
from aeframe.model.part_names import part_of, selected_parts
from aeframe.parts.critics.base import Critic
from aeframe.parts.schedules import Schedule
from aeframe.training.fused import with_fused_kernel
from aeframe.training.learning_rate import ScheduledLR
from aeframe.training.sharding import as_written, is_sharded, local, sharded_like, whole
from aeframe.types import ForwardOutput, LossTerms, TrainingProgress

if TYPE_CHECKING:
    import lightning.pytorch as L

AUTOENCODER = "autoencoder"
"""The name of the first group, which has every parameter outside the critics."""


@dataclass(frozen=True, slots=True)
class GroupSettings:
    """The optimizer of one group, and the batches at which it is updated."""

    optimizer: Mapping[str, Any]
    """``{name: adam, lr: a number or a schedule, options}``."""
    clip: float | None = None
    """The largest norm of the group's gradient; None for no clipping."""
    accumulate: int = 1
    """Batches whose gradients are averaged for one step."""
    every: int = 1
    """Batches from one update to the next."""
    start: int = 0
    """The first batch with an update."""


@dataclass(frozen=True, slots=True)
class ScaledParameters:
    """The parameters of a part, and the factor of their learning rate."""

    parameters: list[nn.Parameter]
    factor: float


class OptimizerGroup:
    """Parameters with their optimizer, learning rate and loss terms.

    The group is due at every ``every``-th batch from ``start`` on. It takes a step with the mean gradient of
    ``accumulate`` due batches. The last step of an epoch takes the mean of the remaining due batches, so that no
    gradient is carried over to the next epoch.
    """

    def __init__(
        self,
        name: str,
        parameters: list[nn.Parameter],
        settings: GroupSettings,
        critic: Critic | None,
        scaled: Mapping[str, ScaledParameters] | None = None,
        *,
        sparse_gradients: bool = False,
    ) -> None:
        self.name, self.parameters, self.settings, self.critic = name, parameters, settings, critic
        self.prefix = "" if critic is None else f"{name}/"
        """Prefix of the names of its terms in metrics."""
        options = dict(settings.optimizer)
        if "lr" not in options:
            raise AeframeError(f"optimizer group '{name}' has no learning rate; set optimizer.lr=...")
        self._rate = Schedule.from_config(options.pop("lr"), build)
        # A preliminary rate: the scheduler sets the real one when the length of the run is known.
        rate = self._rate(TrainingProgress(planned=1))
        self._scaled = dict(scaled or {})
        in_parts = {id(parameter) for part in self._scaled.values() for parameter in part.parameters}
        others = [parameter for parameter in parameters if id(parameter) not in in_parts]
        # An optimizer group is an optimizer with its terms; torch's parameter groups differ in their learning rate.
        torch_groups = [{"params": part.parameters, "name": label} for label, part in self._scaled.items()]
        if torch_groups and others:
            torch_groups.insert(0, {"params": others, "name": "others"})
        self._factors = [*([1.0] if others else []), *(part.factor for part in self._scaled.values())]
        try:
            self.optimizer: Optimizer = build(
                "optimizer",
                {**with_fused_kernel(options, parameters, sparse_gradients=sparse_gradients), "lr": rate},
                params=torch_groups if torch_groups else parameters,
            )
        except ValueError as error:
            first = str(error).partition("\n")[0]
            raise AeframeError(
                f"the optimizer of group '{name}' cannot be built: {first}; change optimizer.*"
            ) from error
        self.gradient_norm: Tensor | None = None
        """The norm before clipping, of the last step; None without clipping."""
        self.num_summed = 0
        """Number of batches with summed gradients since the last step."""
        self._size = 1
        """Number of batches that the current step sums."""

    def is_due(self, progress: TrainingProgress) -> bool:
        """Return whether the group is trained at this batch."""
        since_start = progress.batch - self.settings.start
        return since_start >= 0 and since_start % self.settings.every == 0

    def terms(self, model: Autoencoder, output: ForwardOutput, progress: TrainingProgress) -> LossTerms:
        """Return the terms that the group minimises; a critic receives the output detached from the graph."""
        if self.critic is None:
            return model.terms(output, progress)
        return self.critic.terms(model, output.detach(), progress)

    def make_scheduler(self, progress: TrainingProgress) -> ScheduledLR:
        """Return the scheduler that sets the learning rate by its schedule."""
        return ScheduledLR(self.optimizer, self._rate, progress, self._factors)

    def rates(self) -> dict[str, float]:
        """Return the current learning rates: of the group under its name, and of parts with a factor as
        ``GROUP/PART``.
        """
        labels = [f"{self.name}/{label}" for label in self._scaled]
        names = labels if len(labels) == len(self._factors) else [self.name, *labels]
        return {name: float(group["lr"]) for name, group in zip(names, self.optimizer.param_groups, strict=True)}

    def next_sum(self, progress: TrainingProgress, batches_per_epoch: float) -> tuple[int, bool]:
        """Count one more due batch; return how many batches the step sums, and whether this is the last of them."""
        if self.num_summed == 0:
            # The due batches that are left in this epoch, rounded up.
            num_due = -(-(batches_per_epoch - progress.batch_in_epoch) // self.settings.every)
            self._size = int(max(1, min(self.settings.accumulate, num_due)))
        self.num_summed += 1
        return self._size, self.num_summed >= self._size

    def clip_gradients(self, clip: float | None, algorithm: str) -> None:
        """Clip the norm of the gradient and store its value before, or clip each value (``algorithm="value"``).

        With None for `clip` the gradients are unchanged.
        """
        if clip is None:
            return
        if algorithm == "value":
            nn.utils.clip_grad_value_(self.parameters, clip)
        else:
            self.gradient_norm = whole(nn.utils.clip_grad_norm_(self.parameters, clip))

    def state_dict(self) -> dict[str, Any]:
        """Return the counters and the gradients summed so far."""
        gradients = {str(row): p.grad for row, p in enumerate(self.parameters) if p.grad is not None}
        return {
            "num_summed": self.num_summed,
            "size": self._size,
            "gradients": gradients if self.num_summed else {},
            "gradient_norm": self.gradient_norm,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the counters and gradients."""
        self.num_summed, self._size = state["num_summed"], state["size"]
        norm = state["gradient_norm"]
        self.gradient_norm = None if norm is None else norm.to(self.parameters[0].device)
        for row, parameter in enumerate(self.parameters):
            gradient = state["gradients"].get(str(row))
            if gradient is not None and not is_sharded(gradient):
                gradient = sharded_like(gradient.to(local(parameter)), parameter)
            parameter.grad = gradient


def make_optimizer_groups(
    model: Autoencoder,
    optimizer: Mapping[str, Any],
    settings: Mapping[str, Any] | None = None,
    *,
    clip: float | None = None,
    accumulate: int = 1,
    frozen: Collection[str] = (),
    lr_factors: Mapping[str, float] | None = None,
) -> list[OptimizerGroup]:
    """Return the optimizer groups of a model, the autoencoder first; a group whose parts are all frozen is left out.

    Args:
        model: The autoencoder; each of its critics is a group.
        optimizer: The run's optimizer, ``{name, lr, ...}``.
        settings: By group, the settings that differ from the run's: ``{optimizer, clip, accumulate, every, start}``.
        clip: The largest gradient norm, for groups without a setting of their own.
        accumulate: Batches whose gradients are averaged for a step, for groups without a setting of their own.
        frozen: The names of the frozen parts (see `aeframe.training.freezing.freeze`).
        lr_factors: By part of the autoencoder, the factor of its learning rate.

    Raises:
        AeframeError: Settings for a group that does not exist, a group without trainable parameters, only frozen
            groups, a factor for a part without trainable parameters, or a critic with the label of the first group.
    """
    critics: dict[str, Any] = dict(model.critics.items())
    if AUTOENCODER in critics:
        raise AeframeError(
            f"critic '{AUTOENCODER}' has the name of the autoencoder's optimizer group; choose another label"
        )
    in_critics = {id(parameter) for parameter in model.critics.parameters()}
    names = [AUTOENCODER, *critics]
    settings = settings or {}
    for name in settings:
        if name not in names:
            raise AeframeError(
                f"settings name an unknown optimizer group '{name}'{did_you_mean(name, names)}; the groups of this "
                f"model are {', '.join(names)}; remove the settings with '~optimizers.{name}'"
            )
    parameters = {AUTOENCODER: [p for p in model.parameters() if p.requires_grad and id(p) not in in_critics]}
    parameters |= {name: [p for p in critic.parameters() if p.requires_grad] for name, critic in critics.items()}
    scaled = _scaled_parameters(model, lr_factors or {})
    # As embeddings of torch have them.
    with_sparse_gradients = [module for module in model.modules() if getattr(module, "sparse", False) is True]
    sparse = {id(parameter) for module in with_sparse_gradients for parameter in module.parameters(recurse=False)}
    groups = []
    for name in names:
        if not parameters[name] and (f"critics.{name}" in frozen or (name == AUTOENCODER and frozen)):
            continue
        if not parameters[name]:
            raise AeframeError(f"optimizer group '{name}' has no trainable parameters; unfreeze some, or leave it out")
        own = dict(settings.get(name) or {})
        override = own.get("optimizer") or {}
        group = GroupSettings(
            optimizer=override if "name" in override else {**optimizer, **override},
            clip=clip if own.get("clip") is None else own["clip"],
            accumulate=accumulate if own.get("accumulate") is None else own["accumulate"],
            every=own.get("every", 1),
            start=own.get("start", 0),
        )
        if group.accumulate < 1 or group.every < 1 or group.start < 0:
            raise AeframeError(
                f"optimizer group '{name}' needs accumulate >= 1, every >= 1 and start >= 0, "
                f"found {group.accumulate}, {group.every} and {group.start}"
            )
        if (critic := critics.get(name)) is not None:
            # Other terms that are computed with the critic have weight 0 before its start.
            critic.start = group.start
        groups.append(
            OptimizerGroup(
                name,
                parameters[name],
                group,
                critic,
                scaled if critic is None else None,
                sparse_gradients=any(id(parameter) in sparse for parameter in parameters[name]),
            )
        )
    if not groups:
        raise AeframeError(f"freeze=[{','.join(frozen)}] leaves no parameter to train; freeze fewer parts")
    return groups


def _scaled_parameters(model: Autoencoder, factors: Mapping[str, float]) -> dict[str, ScaledParameters]:
    """Return the trainable parameters of each part with a factor; a parameter of two parts belongs to the first.

    Raises:
        AeframeError: An unknown part, a critic, or a part without trainable parameters.
    """
    for name in factors:
        if name.partition(".")[0] == "critics":
            raise AeframeError(
                f"lr_factors names '{name}', but a critic has an optimizer of its own; set "
                f"optimizers.{name.partition('.')[2] or 'LABEL'}.optimizer.lr"
            )
    parts = selected_parts(model, list(factors), "lr_factors")
    scaled: dict[str, ScaledParameters] = {}
    for name in parts:
        # `named_parameters` yields a parameter of two parts once, under the name of the first.
        parameters = [p for tensor, p in model.named_parameters() if part_of(tensor, [name]) and p.requires_grad]
        if not parameters:
            raise AeframeError(f"lr_factors names '{name}', which has no trainable parameters; leave it out")
        scaled[name] = ScaledParameters(parameters, factors[name])
    return scaled


def check_ownership(module: nn.Module, groups: list[OptimizerGroup]) -> None:
    """Check that every trainable parameter of `module` belongs to exactly one group.

    Raises:
        AeframeError: A parameter in no group, or in more than one.
    """
    owners: dict[int, list[str]] = {}
    for group in groups:
        for parameter in group.parameters:
            owners.setdefault(id(parameter), []).append(group.name)
    for name, parameter in module.named_parameters():
        names = owners.get(id(parameter), [])
        if parameter.requires_grad and len(names) != 1:
            raise AeframeError(
                f"parameter '{name}' is trained by {' and '.join(names) or 'no group'}, expected exactly one; "
                "freeze it (requires_grad=False) or use it in one part only"
            )


def readings_of(groups: Sequence[OptimizerGroup]) -> dict[str, float]:
    """Return the current learning rates and gradient norms by name; this copies the norms to the host."""
    readings: dict[str, float] = {}
    for group in groups:
        readings |= {f"lr/{name}": rate for name, rate in group.rates().items()}
        if group.gradient_norm is not None:
            readings[f"gradient_norm/{group.name}"] = float(group.gradient_norm)
    return readings


def synchronized_states(groups: list[OptimizerGroup], strategy: object) -> dict[str, dict[str, Any]]:
    """Return the state of every group by name, with gradients averaged over devices; every process must call this.

    Args:
        groups: The optimizer groups.
        strategy: The strategy of the Trainer, on which it depends whether sharded gradients are gathered.
    """
    states = {group.name: group.state_dict() for group in groups}
    for state in states.values():
        # A sharded gradient is averaged already.
        state["gradients"] = {
            row: as_written(gradient, strategy) if is_sharded(gradient) else mean_over_devices(gradient)
            for row, gradient in state["gradients"].items()
        }
    return states


def planned_batches(
    trainer: L.Trainer, groups: Sequence[OptimizerGroup], *, batches_per_epoch: float, max_batches: int | None
) -> int:
    """Return the number of batches that a Trainer plans, 0 if there is no limit."""
    limits: list[float] = [] if max_batches is None else [max_batches]
    if trainer.max_epochs is not None and trainer.max_epochs >= 0:
        limits.append(trainer.max_epochs * batches_per_epoch)
    if trainer.max_steps >= 0:
        # Lightning counts the steps of every optimizer.
        accumulate = min(group.settings.accumulate for group in groups)
        limits.append(trainer.max_steps * accumulate // len(groups))
    planned = min(limits, default=math.inf)
    return 0 if math.isinf(planned) else int(planned)
