"""The typed settings of a run, except its named parts, such as the loss ``mse``.

Each can be set on the command line. The help of ``aeframe-train`` shows the docstrings below.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from aeframe.training.launchers import TIMEOUT

Count: TypeAlias = Annotated[int, Field(ge=0)]
PositiveCount: TypeAlias = Annotated[int, Field(ge=1)]
Positive: TypeAlias = Annotated[float, Field(gt=0)]


@dataclass
class TrainerSettings:
    """Where and how a run computes. Any other argument of `lightning.pytorch.Trainer` may be set next to these."""

    accelerator: str = "auto"
    devices: int | Literal["auto"] | list[int] | None = None
    """Devices of each node: a number, ``auto`` or -1 for all, or a list of indices, ``[0, 1]``; null is the number of
    processes that torchrun or srun has started on a node, or else 1."""
    num_nodes: PositiveCount | None = None
    """Machines; null is the number that torchrun or srun has started processes on, or else 1."""
    strategy: str = "auto"
    """How several devices train together: ``ddp`` (each has all weights), ``ddp_spawn`` (the same, in processes that
    the run starts itself), ``fsdp2`` (weights and optimizer states are divided); ``auto`` is ``ddp``."""
    precision: str = "32-true"
    """A precision of Lightning: ``32-true``, ``bf16-mixed``, ``16-mixed``, ``64-true``."""
    compile: bool = False
    """Compile encoder and decoder in place; it gains nothing on most CPUs."""
    allocator: bool = True
    """Let glibc keep freed memory instead of faulting it in again at each step (Linux)."""
    threads: PositiveCount | None = None
    """CPU threads of torch; null for torch's default."""
    timeout: Positive = TIMEOUT
    """Seconds that a device waits for the other ones, at the start and in each operation, before the run ends."""


@dataclass
class OptimizerGroupSettings:
    """How one optimizer group is updated; null means the setting of the run."""

    optimizer: dict[str, Any] | None = None
    """Options that override those of the run's optimizer, such as ``{lr: 1e-4}``; a ``name`` replaces the optimizer."""
    clip: Positive | None = None
    """Clip the gradient of this group to this norm."""
    accumulate: int | None = None
    """Batches whose gradients are averaged for one step of this group."""
    every: int = 1
    """Batches between two updates."""
    start: int = 0
    """The first batch with an update."""


@dataclass
class RunSettings:
    """All settings of a run except its parts."""

    # numpy's generators take no larger seed.
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    batch_size: int | Literal["auto"] | None = None
    """Samples in a batch, over all devices together; null chooses it, see default_batch_size; ``auto`` measures which
    size trains fastest on this device. A resumed run keeps its size."""
    default_batch_size: Annotated[int, Field(ge=2)] | None = None
    """The batch size where batch_size is null, which recipes set: at most the number of training samples. Null is 64,
    less for fewer than 128 training samples, and up to 1,024 for more than 256,000."""
    workers: Count = 0
    """Processes that load data; data in memory need none."""
    max_epochs: PositiveCount | None = None
    """Passes over the training samples; null is 50, more for few samples (at least 1,000 batches) and fewer for many
    (at most 50,000)."""
    max_batches: PositiveCount | None = None
    """End after this many batches, also within an epoch."""
    max_hours: Positive | None = None
    """End after this many hours of training, over all resumptions since it was set; the run is tested and saved."""
    steps_per_call: PositiveCount | Literal["auto"] = "auto"
    """Batches in one call of `training_step`: more have less overhead and the same results; ``auto`` chooses."""
    log_every: PositiveCount = 50
    """Batches between two lines of training metrics."""
    gradient_norms: bool = True
    """Log the gradient norm of each loss term, once an epoch: `gradient_norm/TERM`."""
    clip: Positive | None = None
    """Clip the gradient of each optimizer group to this norm; null for no clipping."""
    accumulate: int = 1
    """Batches whose gradients are averaged for one step."""
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of a moving average of the weights, used for evaluation and the saved model; null for none."""
    monitor: str = "bound"
    """The validation metric that selects the best weights: `bound` (terms without their weights), `loss` (weighted as
    in training), `reconstruction`, or any metric."""
    monitor_mode: Literal["min", "max"] | None = None
    """Whether the lowest or the highest value is best; null means the direction in which the metric improves."""
    patience: PositiveCount | None = None
    """Stop when the monitored metric has not improved for this many epochs; null never stops early."""
    checkpoint_every: int | str | None = None
    """Also write checkpoints within epochs, at an interval in batches (``500``) or in time (``10min``, ``90s``)."""
    stretch_schedules: bool = False
    """On resume, spread schedules that are fractions of the run over its new length."""
    condition_encoder: bool = True
    """Pass the condition, if the data have one, to the encoder too; the decoder always receives it."""
    label_classes: Count = 0
    """Condition the model on each sample's label, one-hot over this many classes; 0 ignores labels."""
    pairs: bool = False
    """Pair each training sample with another one of the same label, or with any other if there are no labels."""
    penalties: dict[str, Any] = field(default_factory=dict)
    """``{label: {name: ..., weight: ...}}``; without a ``name`` the label is the name; null removes a penalty of the
    recipe."""
    critics: dict[str, Any] = field(default_factory=dict)
    """Networks with an optimizer of their own, ``{label: {name: ..., options}}``, which objective and penalties name by
    label; written like penalties."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """Metrics in addition to those of the modality, ``{name: {options}}``; null removes one."""
    test_only: list[str] = field(default_factory=list)
    """Metrics that the test computes but validation does not, because they take long, such as ``[nll]``."""
    callbacks: dict[str, Any] = field(default_factory=dict)
    """Lightning callbacks by label: ``{label: {name: ..., options}}`` for a registered one, ``{label: {class:
    package.module.Class, options}}`` for any other; null removes one."""
    logger: dict[str, Any] = field(default_factory=dict)
    """Lightning loggers by label, written like callbacks; ``logger=NAME`` adds a registered one under its name."""
    optimizers: dict[str, OptimizerGroupSettings] = field(default_factory=dict)
    """Settings of single optimizer groups, by the group's name."""
    init: str | None = None
    """A finished run or a saved model whose weights initialise the model, as far as names and shapes fit."""
    init_parts: list[str] = field(default_factory=list)
    """The parts that `init` initialises, such as ``[encoder,latent]``; all if empty."""
    freeze: list[str] = field(default_factory=list)
    """Parts that are not trained, such as ``[encoder,critics.LABEL]``: their parameters and buffers do not change."""
    lr_factors: dict[str, Positive] = field(default_factory=dict)
    """Factors of the learning rate of single parts, such as ``{encoder: 0.1}``: at each step a part's rate is its
    factor times that of the optimizer."""
    trainer: TrainerSettings = field(default_factory=TrainerSettings)
    pictures: bool = True
    verbose: bool = True
    """Whether to print the parts, the test metrics, notes and advice."""
    progress: bool | None = None
    """Whether to show a progress bar; null shows it only on a terminal."""
    profile: bool = False
    """Whether to print where the time went, and to write it to ``time.json``."""
    packed: bool = False
    """Train the points of a sweep (``-m``) in one process, and compute the steps of those that differ in numbers only
    together. A run by itself is trained as usual."""
    dry_run: bool = False
    """Whether to print what the run would cost, from a few batches (parameters, memory, time of an epoch), instead of
    training it; nothing is written."""
    root: str = "runs"
    """The folder in which run folders are created."""
    folder: str | None = None
    """This run's folder; null creates a new one below `root`."""
    resume: str | Literal[False] | None = None
    """The folder of a run to resume. ``auto`` begins the run in `folder`, continues it, or finds it complete; null is
    ``auto`` in a Slurm job and under torchrun, where `folder` may be left out. ``false`` always begins a new run."""
