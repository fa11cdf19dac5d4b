"""What a run is: the typed settings beside the named parts. Every key here can be set from the command line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

GROUPS = (
    "activation",
    "corruption",
    "encoder",
    "decoder",
    "latent",
    "prior",
    "loss",
    "objective",
    "sampler",
    "optimizer",
    "modality",
    "data",
    "logger",
)
"""Keys of a run that hold one part: ``{name: ..., options}``. ``data`` is of kind ``dataset``."""


@dataclass
class TrainerSettings:
    """Where and how a run computes."""

    accelerator: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    strategy: str = "auto"
    precision: str = "32-true"
    """As Lightning names them: ``32-true``, ``bf16-mixed``, ``16-mixed``, ``64-true``."""
    compile: bool = False
    """Compile encoder and decoder in place; it gains nothing on most CPUs."""
    allocator: bool = True
    """Let glibc keep freed memory instead of faulting it in again at each step (Linux)."""
    threads: int | None = None
    """Torch's CPU threads; null leaves torch's own choice."""


@dataclass
class PlayerSettings:
    """How one player moves; null takes the run's own setting."""

    optimizer: dict[str, Any] | None = None
    """Options over those of the run's optimiser, such as ``{lr: 1e-4}``; a ``name`` replaces it whole."""
    clip: float | None = None
    """Largest norm of this player's gradient."""
    accumulate: int | None = None
    """Batches whose gradients are added up before it moves."""
    every: int = 1
    """It moves at every n-th batch."""
    start: int = 0
    """The first batch at which it moves."""


@dataclass
class RunSettings:
    """Everything of a run but its parts."""

    seed: int = 0
    batch_size: int = 64
    """Samples in a batch, over all devices together."""
    workers: int = 0
    """Processes that load data; data in memory need none."""
    max_epochs: int = 50
    max_batches: int | None = None
    """End after this many batches, wherever in an epoch that is."""
    steps_per_call: int = 8
    """Batches inside one call of the trainer: the same numbers, less overhead."""
    log_every: int = 50
    """Batches between two lines of training metrics."""
    gradient_norms: bool = True
    """Log how hard each term pulls, once in an epoch: `gradient_norm/TERM`."""
    clip: float | None = None
    """The longest that the gradient of a player may be; null leaves it alone."""
    accumulate: int = 1
    """Batches whose gradients are added up for one step."""
    ema: float | None = None
    """Decay of an average of the weights, used for evaluation and the saved model; null for none."""
    monitor: str = "bound"
    """What of the validation split chooses the best weights, the lowest: `bound` (no weight in it), `loss` (weighted as
    in training) or `reconstruction`."""
    patience: int | None = None
    """Stop when that has not improved for this many epochs; null never does."""
    condition_encoder: bool = True
    """Show the condition to the encoder too, where the data have one; the decoder always has it."""
    label_classes: int = 0
    """Give the model the label of each sample as a condition, one-hot of this many classes; 0 leaves labels alone."""
    pairs: bool = False
    """Give each training sample a partner: another of its label, or any other where there are no labels."""
    penalties: dict[str, Any] = field(default_factory=dict)
    """``{label: {name: ..., weight: ...}}``; the label is the penalty's name where none is given, and null takes one of
    the recipe away."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """Metrics over those of the modality, ``{name: {options}}``; null takes one away."""
    callbacks: dict[str, Any] = field(default_factory=dict)
    """Callbacks of Lightning that plugins bring, ``{name: {options}}``."""
    players: dict[str, PlayerSettings] = field(default_factory=dict)
    trainer: TrainerSettings = field(default_factory=TrainerSettings)
    pictures: bool = True
    progress: bool | None = None
    """Null shows a bar on a terminal only."""
    root: str = "runs"
    """Where run folders are made."""
    folder: str | None = None
    """This run's folder; null makes a new one below `root`."""
    resume: str | None = None
    """A run folder to go on with."""
