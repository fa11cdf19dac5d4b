"""Players: who optimises what, and when. A VAE has one; a model with a discriminator has two."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from aeframe.autoencoder import Autoencoder
from aeframe.batch import Clock, Pass, Terms
from aeframe.build import build
from aeframe.errors import AeframeError, did_you_mean
from aeframe.parts.objectives.base import Opponent
from aeframe.parts.schedules import Schedule

AUTOENCODER = "autoencoder"
"""The name of the first player: everything that no opponent owns."""


@dataclass(frozen=True, slots=True)
class Rules:
    """When and how one player moves."""

    optimizer: Mapping[str, Any]
    """``{name: adam, lr: a number or a schedule, options}``."""
    clip: float | None = None
    accumulate: int = 1
    every: int = 1
    start: int = 0


class Player:
    """Some parameters, their optimiser, a learning rate that follows a schedule, and a rule for when it moves."""

    def __init__(self, name: str, parameters: list[nn.Parameter], rules: Rules, opponent: Opponent | None) -> None:
        self.name = name
        self.parameters = parameters
        self.rules = rules
        self.opponent = opponent
        options = dict(rules.optimizer)
        if "lr" not in options:
            raise AeframeError(f"player '{name}': its optimizer has no learning rate; set optimizer.lr=...")
        self.rate = Schedule.from_config(options.pop("lr"), build)
        # A rate to begin with: each step asks for its own, when the run's length is known.
        self.optimizer: Optimizer = build(
            "optimizer", {**options, "lr": self.rate(Clock(planned=1))}, params=parameters
        )
        self.gradient_norm: Tensor | None = None
        """The norm before clipping at the last step; None without clipping."""

    def moves(self, clock: Clock) -> bool:
        """Say whether it moves at this batch."""
        return clock.batch >= self.rules.start and (clock.batch - self.rules.start) % self.rules.every == 0

    def terms(self, model: Autoencoder, p: Pass, clock: Clock) -> Terms:
        """Return what it minimises; an opponent sees a pass that is cut from the graph."""
        return model.terms(p, clock) if self.opponent is None else self.opponent.terms(model, p.detach(), clock)

    def move(
        self, loss: Tensor, clock: Clock, *, backward: Callable[[Tensor], None], last: bool, scaler: Any | None
    ) -> None:
        """Take the gradient of a scalar loss, and step when enough batches have been added up.

        `last` says that the epoch ends here, where whatever was accumulated is spent, so that an epoch's end leaves
        nothing pending.
        """
        due = self.rules.accumulate
        backward(loss if due == 1 else loss / due)
        if not last and (clock.batch_in_epoch // self.rules.every + 1) % due:
            return
        rate = self.rate(clock)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        if scaler is not None:
            scaler.unscale_(self.optimizer)
        if self.rules.clip is not None:
            self.gradient_norm = nn.utils.clip_grad_norm_(self.parameters, self.rules.clip)
        if scaler is not None:
            scaler.step(self.optimizer)
        else:
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def make_players(
    model: Autoencoder,
    optimizer: Mapping[str, Any],
    settings: Mapping[str, Any],
    *,
    clip: float | None,
    accumulate: int,
) -> list[Player]:
    """Return the players of a model, the autoencoder first.

    Args:
        model: Its opponents each become a player.
        optimizer: The run's optimiser, ``{name, lr, ...}``.
        settings: By player's name, what differs: see `PlayerSettings`.
        clip: The run's gradient clipping, for players without their own.
        accumulate: The same for accumulation.

    Raises:
        AeframeError: Settings for a player that does not exist, or a player with nothing to train.
    """
    opponents = model.opponents()
    owned = {id(parameter) for opponent in opponents.values() for parameter in opponent.parameters()}
    names = [AUTOENCODER, *opponents]
    for name in settings:
        if name not in names:
            raise AeframeError(
                f"settings name an unknown player '{name}'{did_you_mean(name, names)}; "
                f"this model's players are {', '.join(names)}"
            )
    own = [p for p in model.parameters() if p.requires_grad and id(p) not in owned]
    parameters = {AUTOENCODER: own}
    parameters |= {name: [p for p in module.parameters() if p.requires_grad] for name, module in opponents.items()}
    players = []
    for name in names:
        if not parameters[name]:
            raise AeframeError(f"player '{name}' has no trainable parameters, so there is nothing to train")
        chosen = dict(settings.get(name) or {})
        override = chosen.get("optimizer") or {}
        rules = Rules(
            optimizer=override if "name" in override else {**optimizer, **override},
            clip=clip if chosen.get("clip") is None else chosen["clip"],
            accumulate=accumulate if chosen.get("accumulate") is None else chosen["accumulate"],
            every=chosen.get("every", 1),
            start=chosen.get("start", 0),
        )
        if rules.accumulate < 1 or rules.every < 1 or rules.start < 0:
            raise AeframeError(
                f"player '{name}' needs accumulate >= 1, every >= 1 and start >= 0, "
                f"found {rules.accumulate}, {rules.every} and {rules.start}"
            )
        players.append(Player(name, parameters[name], rules, opponents.get(name)))
    return players


def check_ownership(module: nn.Module, players: list[Player]) -> None:
    """Assert that every trainable parameter of `module` belongs to exactly one player.

    Raises:
        AeframeError: Naming the parameter that none, or more than one, would train.
    """
    owners: dict[int, list[str]] = {}
    for player in players:
        for parameter in player.parameters:
            owners.setdefault(id(parameter), []).append(player.name)
    for name, parameter in module.named_parameters():
        found = owners.get(id(parameter), [])
        if parameter.requires_grad and len(found) != 1:
            who = f"by {' and '.join(found)}" if found else "by no player"
            raise AeframeError(
                f"parameter '{name}' is trained {who}, expected exactly one; "
                "freeze it (requires_grad=False) or hold it in one part only"
            )


@contextmanager
def alone(player: Player, players: list[Player]) -> Iterator[None]:
    """Freeze the other players' parameters inside, so that no gradient reaches them.

    Gradients still flow *through* them, as from a discriminator to the code it judges.
    """
    if len(players) == 1:
        yield
        return
    others = [p for other in players if other is not player for p in other.parameters]
    for parameter in others:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in others:
            parameter.requires_grad_(True)


def scaler_of(trainer: Any) -> torch.amp.GradScaler | None:
    """Return the gradient scaler of a trainer in float16, or None."""
    scaler: torch.amp.GradScaler | None = getattr(trainer.precision_plugin, "scaler", None)
    return scaler
