"""One training step for every model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import lightning.pytorch as L
import torch
from torch import Tensor
from torch.optim import Optimizer

from aeframe.autoencoder import Autoencoder
from aeframe.batch import Batch, Clock
from aeframe.errors import AeframeError
from aeframe.noise import TRAINING, seed_noise
from aeframe.training.checkpoint import check_fits
from aeframe.training.ema import WeightAverage
from aeframe.training.gate import Gate, Sink
from aeframe.training.gradients import gradient_norms as pulls_of
from aeframe.training.players import AUTOENCODER, Player, alone, check_ownership, make_players, scaler_of


class Evaluation(Protocol):
    """What measures held-out batches (see `aeframe.evaluation.Evaluator`)."""

    def to(self, device: torch.device) -> Any:
        """Move its states."""

    def update(self, batch: Batch, clock: Clock, index: int) -> None:
        """Take in one batch."""

    def compute(self) -> dict[str, float]:
        """Return the numbers, added up over devices."""

    def reset(self) -> None:
        """Forget what was taken in."""


class AutoencoderModule(L.LightningModule):
    """Train an `Autoencoder` by manual optimisation: forward once, then let each player move.

    The clock is the only time there is. It counts batches (not optimiser steps, calls or Lightning's epochs), lives in
    the checkpoint, and schedules, the sampler's position and the noise of each batch are functions of it; so a
    resumed run is the same run.

    Args:
        model: The picture.
        clock: Shared with the data's loader; `planned` is the length of the run in batches.
        batches_per_epoch: How many batches the loader gives in one epoch.
        evaluator: Measures validation and test batches.
        optimizer: ``{name, lr, ...}`` of every player.
        players: What differs for a player, by name (see `PlayerSettings`).
        seed: Of the noise.
        gradient_norms: Measure how hard each term pulls, at the first batch of every epoch.
        config: Plain values, kept in the checkpoint so that it can say what it is of.
    """

    def __init__(
        self,
        model: Autoencoder,
        *,
        clock: Clock,
        batches_per_epoch: int,
        evaluator: Evaluation,
        optimizer: Mapping[str, Any],
        players: Mapping[str, Any] | None = None,
        seed: int = 0,
        clip: float | None = None,
        accumulate: int = 1,
        ema: float | None = None,
        log_every: int = 50,
        gradient_norms: bool = True,
        sinks: list[Sink] | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model = model
        self.clock = clock
        self.batches_per_epoch = batches_per_epoch
        self.seed = seed
        self.gate = Gate(log_every, sinks if sinks is not None else [])
        # Kept outside nn.Module's registry: neither is part of the model.
        self.__dict__["evaluator"] = evaluator
        self.__dict__["players"] = []
        self.measured: dict[str, dict[str, float]] = {}
        """The newest numbers of each split."""
        self.average = None if ema is None else WeightAverage(model.named_parameters(), ema)
        self._config = dict(config or {})
        self._settings = (dict(optimizer), dict(players or {}), clip, accumulate)
        self._scaler: torch.amp.GradScaler | None = None
        self._direct_backward = False
        self._measures_pulls = gradient_norms
        self._pulls: dict[str, Tensor] = {}

    # -- players -------------------------------------------------------------------------------------------------

    def configure_optimizers(self) -> list[Optimizer]:
        """Make the players; every trainable parameter must belong to exactly one."""
        optimizer, settings, clip, accumulate = self._settings
        players = make_players(self.model, optimizer, settings, clip=clip, accumulate=accumulate)
        check_ownership(self, players)
        self.__dict__["players"] = players
        return [player.optimizer for player in players]

    def on_fit_start(self) -> None:
        """Settle what stays the same for the whole run."""
        self._scaler = scaler_of(self.trainer)
        # One device and no scaler: nothing that Lightning wraps around a backward pass is needed.
        self._direct_backward = self._scaler is None and self.trainer.world_size == 1
        progress = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress.total
        progress.ready = progress.completed = self.clock.batch
        epochs = self.trainer.fit_loop.epoch_progress.current
        for state in ("ready", "started", "processed", "completed"):
            setattr(epochs, state, self.clock.epoch)

    def on_train_epoch_start(self) -> None:
        """Validate where an epoch ends. Lightning counts calls instead, and an epoch that goes on has fewer."""
        self.trainer.val_check_batch = float("inf")

    # -- the step ------------------------------------------------------------------------------------------------

    def training_step(self, batches: list[Batch], _: int) -> None:
        """Train on some batches, one after another; several in one call cost less and give the same numbers."""
        for batch in batches:
            self._train_on(batch)
        # Lightning's step is our batch, whoever moved.
        progress = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress.total
        progress.ready = progress.completed = self.clock.batch
        if self.clock.planned and self.clock.batch >= self.clock.planned:
            self.trainer.should_stop = True

    def _train_on(self, batch: Batch) -> None:
        clock, players = self.clock, self._players
        seed_noise(batch.x.device, self.seed, TRAINING, self.trainer.global_rank, clock.batch)
        last = clock.batch_in_epoch + 1 >= self.batches_per_epoch
        self.model.at(clock)
        p = self.model(batch, num_samples=self.model.objective.num_samples)
        for player in players:
            if not player.moves(clock):
                continue
            with alone(player, players):
                terms = player.terms(self.model, p, clock)
                prefix = "" if player.name == AUTOENCODER else f"{player.name}/"
                loss = self.gate.add(prefix, player.name, terms, clock)
                if self._measures_pulls and clock.batch_in_epoch == 0:
                    norms = pulls_of(terms, player.parameters)
                    self._pulls |= {f"gradient_norm/{prefix}{name}": norm for name, norm in norms.items()}
                player.move(loss, clock, backward=self._backward, last=last, scaler=self._scaler)
        if self._scaler is not None:
            self._scaler.update()
        if self.average is not None:
            self.average.update(clock.batch)
        clock.tick()
        self.gate.tick(clock, self._readings)

    def _backward(self, loss: Tensor) -> None:
        if self._direct_backward:
            loss.backward()
        else:
            self.manual_backward(loss)

    @property
    def _players(self) -> list[Player]:
        players: list[Player] = self.__dict__["players"]
        return players

    def _readings(self) -> dict[str, float]:
        """Return what is worth a host sync once in a window only."""
        readings: dict[str, float] = {}
        for player in self._players:
            readings[f"lr/{player.name}"] = float(player.optimizer.param_groups[0]["lr"])
            if player.gradient_norm is not None:
                readings[f"gradient_norm/{player.name}"] = float(player.gradient_norm)
        readings |= {name: float(norm) for name, norm in self._pulls.items()}
        self._pulls.clear()
        return readings

    def on_train_epoch_end(self) -> None:
        """Close the epoch: a checkpoint written after this begins the next one."""
        self.gate.end_epoch(self.clock, self._readings)
        self._begin_next_epoch()

    def _begin_next_epoch(self) -> None:
        if self.clock.batch_in_epoch >= self.batches_per_epoch:
            self.clock.epoch += 1
            self.clock.batch_in_epoch = 0

    # -- evaluation ----------------------------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        """Measure the average where there is one."""
        self.gate.flush(self.clock, self._readings())
        self._begin_evaluation()

    def validation_step(self, batch: Batch, index: int) -> None:
        """Measure one batch."""
        self._evaluator.update(batch, self.clock, index)

    def on_validation_epoch_end(self) -> None:
        """Log the numbers, and leave them where early stopping and checkpoints look."""
        self._end_evaluation("val")

    def on_test_epoch_start(self) -> None:
        """Measure the average where there is one."""
        self._begin_evaluation()

    def test_step(self, batch: Batch, index: int) -> None:
        """Measure one batch."""
        self._evaluator.update(batch, self.clock, index)

    def on_test_epoch_end(self) -> None:
        """Log the numbers."""
        self._end_evaluation("test")

    @property
    def _evaluator(self) -> Evaluation:
        evaluator: Evaluation = self.__dict__["evaluator"]
        return evaluator

    def _begin_evaluation(self) -> None:
        self._evaluator.to(self.device)
        self._evaluator.reset()
        if self.average is not None and not self.average.swapped:
            self.average.swap()

    def _end_evaluation(self, split: str) -> None:
        numbers = self._evaluator.compute()
        self.measured[split] = numbers
        if self.average is not None and self.average.swapped:
            # Before any callback writes a checkpoint of the weights.
            self.average.swap()
        for sink in self.gate.sinks:
            sink(numbers, self.clock, split)
        self.log_dict({f"{split}/{name}": value for name, value in numbers.items()}, logger=False)

    # -- checkpoints ---------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the clock, the average and the config, all in plain values and tensors."""
        checkpoint["aeframe"] = {
            "clock": self.clock.state_dict(),
            "seed": self.seed,
            "config": self._config,
            "average": None if self.average is None else self.average.state_dict(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Set the clock, from which everything else follows.

        Raises:
            AeframeError: A checkpoint that this module did not write, or that another model's did.
        """
        ours = checkpoint.get("aeframe")
        if ours is None:
            raise AeframeError(
                "this checkpoint was not written by aeframe: it has no clock; resume from a run's folder"
            )
        check_fits(self.state_dict(), checkpoint["state_dict"])
        self.clock.load_state_dict(ours["clock"])
        # A run that was ended during its validation had no batch left in that epoch.
        self._begin_next_epoch()
        if self.average is not None and ours["average"] is not None:
            self.average.load_state_dict(ours["average"])
        # Lightning's own counters would place the loader a second time; the clock has placed it already.
        checkpoint.pop("loops", None)
