"""The whole plugin contract: one hook for each kind of part. Imports nothing heavy.

A plugin is a module that implements some of the hooks below and is named in the entry-point group ``aeframe`` of
its distribution, or is a plain file: one that ``--plugin FILE`` names, or a trusted ``aeplugin.py``. Each hook is
called once with a function ``register(name, target, *, summary="")``: `name` is what people write in a config
(``snake_case``), `target` is ``"package.module:Object"`` and is imported only when the name is used, `summary` is one
line for listings.

The signature of a target is the only description of its options. **What stands before the** ``*`` **without a
default is given by the house, by name; every keyword with a default is an option** that a config or the command
line may set. What the house can give to each kind is listed in the hook's docstring.
"""

from collections.abc import Callable
from typing import Protocol

import pluggy

PROJECT = "aeframe"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Register(Protocol):
    """The function that a hook is given."""

    def __call__(self, name: str, target: str, *, summary: str = "") -> None:
        """Make `target` (``"module:Object"``) known as `name`."""


RegisterFunction = Callable[..., None]


@hookspec
def register_modalities(register: Register) -> None:
    """Register kinds of data: subclasses of `aeframe.data.Modality`.

    A modality says which values its data take, which encoder, decoder and loss are its defaults, how a person looks
    at a sample, and how a file is read and written. Given: nothing.
    """


@hookspec
def register_datasets(register: Register) -> None:
    """Register named sources of data (``data=NAME``): subclasses of `aeframe.data.Dataset`.

    A dataset names the modality it belongs to, describes itself before loading, and loads what its modality splits.
    Given: nothing.
    """


@hookspec
def register_corruptions(register: Register) -> None:
    """Register what is done to x before the encoder sees it: subclasses of `aeframe.parts.Corruption`.

    Given: `shape` and `domain` of the data.
    """


@hookspec
def register_encoders(register: Register) -> None:
    """Register networks from data to features ``(B, C, *positions)``: subclasses of `aeframe.parts.Encoder`.

    Given: `shape` of what the encoder sees (with condition channels, where it has them) and `domain` of the data.
    """


@hookspec
def register_decoders(register: Register) -> None:
    """Register networks from z to the loss's parameters ``(B, outputs, *shape)``: subclasses of
    `aeframe.parts.Decoder`, or functions that return one.

    Given: `z_shape` (with condition), `out_shape` ``(outputs, *shape)``, the `encoder` that was built, and `build`.
    """


@hookspec
def register_latents(register: Register) -> None:
    """Register ways from features to z and what is known about it: subclasses of `aeframe.parts.LatentSpace`.

    Given: `feature_shape` ``(C, *positions)``.
    """


@hookspec
def register_priors(register: Register) -> None:
    """Register what z is compared with and sampled from: subclasses of `aeframe.parts.Prior`.

    Given: `z_shape`, and the `encoder` and `latent` that were built.
    """


@hookspec
def register_losses(register: Register) -> None:
    """Register likelihoods and distances between x and the decoder's output: subclasses of `aeframe.parts.Loss`.

    Given: `shape` and `domain` of the data.
    """


@hookspec
def register_objectives(register: Register) -> None:
    """Register how the terms become the number that is minimised: subclasses of `aeframe.parts.Objective`.

    Given: `z_shape` and `shape`.
    """


@hookspec
def register_penalties(register: Register) -> None:
    """Register extra terms: subclasses of `aeframe.parts.Penalty`.

    Given: `z_shape` and `shape`.
    """


@hookspec
def register_critics(register: Register) -> None:
    """Register networks with an optimizer and loss terms of their own, such as discriminators: subclasses of
    `aeframe.parts.Critic`. Objectives and penalties name the critic they use by its label in ``critics:``.

    Given: `z_shape` and `shape`.
    """


@hookspec
def register_activations(register: Register) -> None:
    """Register activations: `torch.nn.Module` classes. A class attribute ``traits = ActivationTraits(...)`` states
    the true range, for the checks. Given: nothing.
    """


@hookspec
def register_schedules(register: Register) -> None:
    """Register how a number moves during a run: subclasses of `aeframe.parts.Schedule`. Given: nothing."""


@hookspec
def register_samplers(register: Register) -> None:
    """Register ex-post densities that new z are drawn from: subclasses of `aeframe.parts.Sampler`.

    Given: `model` (the `Autoencoder`).
    """


@hookspec
def register_optimizers(register: Register) -> None:
    """Register optimisers: subclasses of `torch.optim.Optimizer`. Given: `params`."""


@hookspec
def register_metrics(register: Register) -> None:
    """Register measurements on held-out data: subclasses of `aeframe.evaluation.metrics.base.ModelMetric`.

    Given: `model`.
    """


@hookspec
def register_callbacks(register: Register) -> None:
    """Register Lightning callbacks. Given: nothing."""


@hookspec
def register_loggers(register: Register) -> None:
    """Register Lightning loggers. Given: `folder` (the run folder) and `run_name`."""


@hookspec
def register_configs(register: Register) -> None:
    """Register a package of YAML options (recipes, experiments): here the target is only ``"package.conf"``."""


@hookspec
def register_commands(register: Register) -> None:
    """Register verbs of the command ``aeframe``: subclasses of `aeframe.cli.Command`. Given: nothing."""
