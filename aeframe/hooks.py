"""The plugin contract: one hook for each kind of part. Imports nothing heavy.

A plugin is a module that implements some of these hooks. It is named in the entry-point group ``aeframe`` of its
distribution, or it is a plain file: one that ``--plugin FILE`` names, or a trusted ``aeplugin.py``. Each hook is
called once, with a function ``register(name, target, *, summary="")``. `name` is what configs contain
(``snake_case``); `target` is ``"package.module:Object"``, imported only when the name is used; `summary` is one line
for listings.

The signature of a target is the only description of its options. **Positional parameters without a default are
injected by the framework, by parameter name. All others are options**, which a config or the command line sets; the
ones after the ``*`` without a default are required. The docstring of each hook lists the parameters that the framework
can inject. Every part of a model can also take `spec`, the `DataSpec` of the data.
"""

from collections.abc import Callable
from typing import Protocol

import pluggy

PROJECT = "aeframe"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Register(Protocol):
    """The type of a hook's argument."""

    def __call__(self, name: str, target: str, *, summary: str = "") -> None:
        """Register `target` (``"module:Object"``) under `name`."""


RegisterFunction = Callable[..., None]


@hookspec
def register_modalities(register: Register) -> None:
    """Register kinds of data: subclasses of `aeframe.data.Modality`.

    A modality defines shape and domain of its data, its default encoder, decoder and loss, how samples are plotted, and
    how files are read and written. Injected: nothing.
    """


@hookspec
def register_datasets(register: Register) -> None:
    """Register named sources of data (``data=NAME``): subclasses of `aeframe.data.Dataset`.

    A dataset names its modality, describes its data without loading them, and loads them for the modality to split.
    Injected: nothing.
    """


@hookspec
def register_corruptions(register: Register) -> None:
    """Register corruptions of x in front of the encoder: subclasses of `aeframe.parts.Corruption`.

    Injected: `shape` and `domain` of the data.
    """


@hookspec
def register_encoders(register: Register) -> None:
    """Register networks from data to features ``(B, C, *positions)``: subclasses of `aeframe.parts.Encoder`.

    Injected: `shape` of the encoder's input (with the channels of the condition, if any) and `domain` of the data.
    """


@hookspec
def register_decoders(register: Register) -> None:
    """Register networks from z to the loss's parameters ``(B, outputs, *shape)``: subclasses of
    `aeframe.parts.Decoder`, or functions that return one.

    Injected: `z_shape` (with the condition), `out_shape` ``(outputs, *shape)``, the model's `encoder`, and the
    function `build`, which builds another part by name.
    """


@hookspec
def register_latents(register: Register) -> None:
    """Register latent spaces, which map features to z and its posterior: subclasses of `aeframe.parts.LatentSpace`.

    Injected: `feature_shape` ``(C, *positions)``.
    """


@hookspec
def register_priors(register: Register) -> None:
    """Register priors of z: subclasses of `aeframe.parts.Prior`.

    Injected: `z_shape`, and the model's `encoder` and `latent`.
    """


@hookspec
def register_losses(register: Register) -> None:
    """Register likelihoods and distances between x and the decoder's output: subclasses of `aeframe.parts.Loss`.

    Injected: `shape` and `domain` of the data.
    """


@hookspec
def register_objectives(register: Register) -> None:
    """Register objectives, which return the weighted terms to minimise: subclasses of `aeframe.parts.Objective`.

    Injected: `z_shape` and `shape`.
    """


@hookspec
def register_penalties(register: Register) -> None:
    """Register penalties, each one more term of the loss: subclasses of `aeframe.parts.Penalty`.

    Injected: `z_shape` and `shape`.
    """


@hookspec
def register_activations(register: Register) -> None:
    """Register activations: `torch.nn.Module` classes. A class attribute ``traits = ActivationTraits(...)`` declares
    the range, which is checked before a run. Injected: nothing.
    """


@hookspec
def register_schedules(register: Register) -> None:
    """Register schedules of a number over a run: subclasses of `aeframe.parts.Schedule`. Injected: nothing."""


@hookspec
def register_samplers(register: Register) -> None:
    """Register ex-post densities (``sampler=NAME``), from which new z are drawn: subclasses of `aeframe.parts.Sampler`.

    Injected: `model`, the trained `Autoencoder`.
    """


@hookspec
def register_optimizers(register: Register) -> None:
    """Register optimisers: subclasses of `torch.optim.Optimizer`. Injected: `params`."""


@hookspec
def register_metrics(register: Register) -> None:
    """Register metrics on held-out data: subclasses of `aeframe.evaluation.metrics.base.ModelMetric`.

    Injected: `model`.
    """


@hookspec
def register_callbacks(register: Register) -> None:
    """Register Lightning callbacks. Injected: nothing."""


@hookspec
def register_loggers(register: Register) -> None:
    """Register Lightning loggers. Injected: `folder` (the run folder) and `run_name`."""


@hookspec
def register_configs(register: Register) -> None:
    """Register a package of YAML files (recipes, experiments); its target is ``"package.conf"``, without an object."""


@hookspec
def register_commands(register: Register) -> None:
    """Register subcommands of ``aeframe``: subclasses of `aeframe.cli.Command`. Injected: nothing."""
