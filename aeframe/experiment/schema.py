"""The typed settings of a run, next to its named parts. Every key here can be set from the command line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

Count: TypeAlias = Annotated[int, Field(ge=0)]
PositiveCount: TypeAlias = Annotated[int, Field(ge=1)]
Positive: TypeAlias = Annotated[float, Field(gt=0)]


@dataclass
class TrainerSettings:
    """Where and how a run computes. Any other argument of `lightning.pytorch.Trainer` may be set next to these."""

    accelerator: str = "auto"
    devices: int | Literal["auto"] | list[int] = 1
    """How many, ``auto`` or -1 for all, or a list of indices: ``[0, 1]``."""
    num_nodes: PositiveCount = 1
    strategy: str = "auto"
    """As Lightning registers them: ``ddp``, ``fsdp``, ...; ``auto`` is ``ddp`` on several devices."""
    precision: str = "32-true"
    """As Lightning names them: ``32-true``, ``bf16-mixed``, ``16-mixed``, ``64-true``."""
    compile: bool = False
    """Compile encoder and decoder in place; it gains nothing on most CPUs."""
    allocator: bool = True
    """Let glibc keep freed memory instead of faulting it in again at each step (Linux)."""
    threads: PositiveCount | None = None
    """Torch's CPU threads; null leaves torch's own choice."""


@dataclass
class OptimizerGroupSettings:
    """How one optimizer group is updated; null takes the run's own setting."""

    optimizer: dict[str, Any] | None = None
    """Options over those of the run's optimizer, such as ``{lr: 1e-4}``; a ``name`` replaces it whole."""
    clip: Positive | None = None
    """Largest norm of this group's gradient."""
    accumulate: int | None = None
    """Batches whose gradients are added up for one step of this group."""
    every: int = 1
    """Batches between two updates."""
    start: int = 0
    """The first batch with an update."""


@dataclass
class RunSettings:
    """All settings of a run except its parts."""

    # numpy's generators take no larger seed.
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    batch_size: int = 64
    """Samples in a batch, over all devices together."""
    workers: Count = 0
    """Processes that load data; data in memory need none."""
    max_epochs: PositiveCount = 50
    max_batches: PositiveCount | None = None
    """End after this many batches, wherever in an epoch that is."""
    steps_per_call: PositiveCount | Literal["auto"] = "auto"
    """Batches inside one call of `training_step`: the same numbers, less overhead; ``auto`` chooses."""
    log_every: PositiveCount = 50
    """Batches between two lines of training metrics."""
    gradient_norms: bool = True
    """Log the gradient norm of each loss term, once an epoch: `gradient_norm/TERM`."""
    clip: Positive | None = None
    """Largest norm of the gradient of an optimizer group; null for no clipping."""
    accumulate: int = 1
    """Batches whose gradients are added up for one step."""
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of an average of the weights, used for evaluation and the saved model; null for none."""
    monitor: str = "bound"
    """The number of the validation split that chooses the best weights: `bound` (no weight in it), `loss` (weighted as
    in training), `reconstruction`, or any metric."""
    monitor_mode: Literal["min", "max"] | None = None
    """Whether the best is the lowest or the highest; null takes the metric's own direction."""
    patience: PositiveCount | None = None
    """Stop when the monitored number has not improved for this many epochs; null never does."""
    checkpoint_every: int | str | None = None
    """Write a checkpoint also within epochs: every so many batches (``500``), or after a time (``10min``, ``90s``)."""
    stretch_schedules: bool = False
    """On resume, spread schedules that are fractions of the run over its new length."""
    condition_encoder: bool = True
    """Show the condition to the encoder too, where the data have one; the decoder always has it."""
    label_classes: Count = 0
    """Condition the model on each sample's label, one-hot of this many classes; 0 leaves labels alone."""
    pairs: bool = False
    """Pair each training sample with another of its label, or with any other where there are no labels."""
    penalties: dict[str, Any] = field(default_factory=dict)
    """``{label: {name: ..., weight: ...}}``; the label is the penalty's name where none is given, and null takes one of
    the recipe away."""
    critics: dict[str, Any] = field(default_factory=dict)
    """Networks with an optimizer of their own, ``{label: {name: ..., options}}``, which objective and penalties name by
    label; written like penalties."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """Metrics over those of the modality, ``{name: {options}}``; null takes one away."""
    callbacks: dict[str, Any] = field(default_factory=dict)
    """Lightning callbacks by label: ``{label: {name: ..., options}}`` for a registered one, ``{label: {class:
    package.module.Class, options}}`` for any other; null takes one away."""
    logger: dict[str, Any] = field(default_factory=dict)
    """Lightning loggers by label, written like callbacks; ``logger=NAME`` adds a registered one under its name."""
    optimizers: dict[str, OptimizerGroupSettings] = field(default_factory=dict)
    """Settings of single optimizer groups, by the group's name."""
    trainer: TrainerSettings = field(default_factory=TrainerSettings)
    pictures: bool = True
    progress: bool | None = None
    """Null shows a bar on a terminal only."""
    root: str = "runs"
    """Where run folders are made."""
    folder: str | None = None
    """This run's folder; null makes a new one below `root`."""
    resume: str | None = None
    """The folder of a run to resume; ``auto`` starts the run in `folder`, or resumes it where it has a checkpoint."""
