"""`KINDS`: all kinds of part, such as ``loss``. Imports nothing heavy.

A part is a class that a plugin registers under a name, such as the loss ``mse``. A hook is the function of a plugin
that registers its parts of one kind. Parts of most kinds are chosen under a key of a run's config: ``loss=mse``.

Hooks, config keys, checks, the banner, saved models and the conformance suite are derived from this list, so a new kind
of part is one more entry.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of part, such as ``loss``."""

    name: str
    doc: str
    """The docstring of its hook: the base class of its parts, and the constructor arguments that are injected."""
    base: str | None = None
    """``"module:Class"`` of the base class of its parts; None if packages are registered instead of classes."""
    key: str = ""
    """The key of a run's config for parts of this kind; empty for options of other parts, and for kinds without one."""
    labelled: bool = False
    """Whether the key contains several parts by label, ``{label: {name: ..., options}}``, instead of one."""
    slot: bool = False
    """Whether `aeframe.model.autoencoder.Autoencoder` has a slot for it: an attribute named like the key."""
    saved: bool = False
    """Whether a saved model stores its parts, to be built again when the model is opened."""
    default: str = ""
    """The name of the part that is used if a config names none; empty if there is no default."""
    configured: bool = True
    """Whether the options of its constructors can be set in a config."""
    plural: str = ""
    """The plural of its name, if it is not formed by an s."""
    usage: str = ""
    """How a config chooses such a part, for the reference page."""

    @property
    def hook(self) -> str:
        """The name of the hook that registers it: ``register_losses``."""
        return f"register_{self.plural or self.name + 's'}"

    def base_class(self) -> type:
        """Import and return the base class."""
        assert self.base is not None
        module, _, name = self.base.partition(":")
        base_class: type = getattr(importlib.import_module(module), name)
        return base_class


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "modality",
            """Register kinds of data: subclasses of `aeframe.data.Modality`.

            A modality defines shape and domain of its data, its default encoder, decoder and loss, how samples are
            plotted, and how files are read and written. Injected: nothing.
            """,
            base="aeframe.data.modality:Modality",
            key="modality",
            saved=True,
            plural="modalities",
        ),
        Kind(
            "dataset",
            """Register named sources of data (``data=NAME``): subclasses of `aeframe.data.Dataset`.

            A dataset names its modality, describes its data without loading them, and loads them for the modality
            to split. Injected: `samples`, what `aeframe.fit` received, for datasets of samples in memory.
            """,
            base="aeframe.data.modality:Dataset",
            key="data",
        ),
        Kind(
            "corruption",
            """Register corruptions of x in front of the encoder: subclasses of `aeframe.parts.Corruption`.

            Injected: `shape` and `domain` of the data.
            """,
            base="aeframe.parts.corruptions:Corruption",
            key="corruption",
            default="none",
            slot=True,
            saved=True,
        ),
        Kind(
            "encoder",
            """Register networks from data to features ``(B, C, *positions)``: subclasses of
            `aeframe.parts.Encoder`.

            Injected: `shape` of the encoder's input (with the channels of the condition, if any) and `domain` of
            the data.
            """,
            base="aeframe.parts.networks.base:Encoder",
            key="encoder",
            slot=True,
            saved=True,
        ),
        Kind(
            "latent",
            """Register latent spaces, which map features to z and its posterior: subclasses of
            `aeframe.parts.LatentSpace`.

            Injected: `feature_shape` ``(C, *positions)``.
            """,
            base="aeframe.parts.latents.base:LatentSpace",
            key="latent",
            slot=True,
            saved=True,
        ),
        Kind(
            "prior",
            """Register priors of z: subclasses of `aeframe.parts.Prior`.

            Injected: `z_shape`, and the model's `encoder` and `latent`.
            """,
            base="aeframe.parts.priors.base:Prior",
            key="prior",
            default="normal",
            slot=True,
            saved=True,
        ),
        Kind(
            "decoder",
            """Register networks from z to the loss's parameters ``(B, outputs, *shape)``: subclasses of
            `aeframe.parts.Decoder`, or functions that return one.

            Injected: `z_shape` (with the condition), `out_shape` ``(outputs, *shape)``, the model's `encoder`, and
            the function `build`, which builds another part by name.
            """,
            base="aeframe.parts.networks.base:Decoder",
            key="decoder",
            default="mirror",
            slot=True,
            saved=True,
        ),
        Kind(
            "loss",
            """Register likelihoods and distances between x and the decoder's output: subclasses of
            `aeframe.parts.Loss`.

            Injected: `shape` and `domain` of the data.
            """,
            base="aeframe.parts.losses.base:Loss",
            key="loss",
            slot=True,
            saved=True,
            plural="losses",
        ),
        Kind(
            "objective",
            """Register objectives, which return the weighted terms to minimise: subclasses of
            `aeframe.parts.Objective`.

            Injected: `z_shape` and `shape`.
            """,
            base="aeframe.parts.objectives.base:Objective",
            key="objective",
            default="deterministic",
            slot=True,
            saved=True,
        ),
        Kind(
            "penalty",
            """Register penalties, each one more term of the loss: subclasses of `aeframe.parts.Penalty`.

            Injected: `z_shape` and `shape`.
            """,
            base="aeframe.parts.penalties.base:Penalty",
            key="penalties",
            labelled=True,
            slot=True,
            saved=True,
            plural="penalties",
            usage="`penalties.NAME.weight=...`",
        ),
        Kind(
            "critic",
            """Register networks with an optimizer and loss terms of their own, such as discriminators: subclasses of
            `aeframe.parts.Critic`.

            The objective and the penalties name the critic that they use by its label in ``critics:``.
            Injected: `z_shape` and `shape`.
            """,
            base="aeframe.parts.critics.base:Critic",
            key="critics",
            labelled=True,
            slot=True,
            saved=True,
            usage="`critics.NAME={}`",
        ),
        Kind(
            "activation",
            """Register activations: `torch.nn.Module` classes. A class attribute ``traits = ActivationTraits(...)``
            declares the range, which is checked before a run.

            Injected: nothing.
            """,
            base="torch.nn:Module",
            key="activation",
            default="relu",
            saved=True,
        ),
        Kind(
            "schedule",
            """Register schedules of a number over a run: subclasses of `aeframe.parts.Schedule`.

            Injected: nothing.
            """,
            base="aeframe.parts.schedules:Schedule",
            usage="replaces a number: `{name: NAME, ...}`",
        ),
        Kind(
            "sampler",
            """Register ex-post densities (``sampler=NAME``), from which new z are drawn: subclasses of
            `aeframe.parts.Sampler`.

            Injected: `model`, the trained `Autoencoder`.
            """,
            base="aeframe.parts.samplers.base:Sampler",
            key="sampler",
            saved=True,
        ),
        Kind(
            "optimizer",
            """Register optimisers: subclasses of `torch.optim.Optimizer`.

            Injected: `params`.
            """,
            base="torch.optim:Optimizer",
            key="optimizer",
        ),
        Kind(
            "metric",
            """Register metrics on held-out data: subclasses of `aeframe.evaluation.metrics.base.ModelMetric`.

            Injected: `model`; `modality`, for values in the unit of the data.
            """,
            base="aeframe.evaluation.metrics.base:ModelMetric",
            key="metrics",
            labelled=True,
            usage="`metrics.NAME={}`",
        ),
        Kind(
            "feature_space",
            """Register spaces in which samples of a model are compared with held-out ones: subclasses of
            `aeframe.evaluation.feature_spaces.FeatureSpace`.

            A modality names its own in `Modality.feature_spaces`. Injected: `modality` and `spec` of the model.
            """,
            base="aeframe.evaluation.feature_spaces:FeatureSpace",
            usage="`aeframe evaluate RUN --features NAME`",
        ),
        Kind(
            "callback",
            """Register Lightning callbacks.

            Injected: nothing.
            """,
            base="lightning.pytorch.callbacks:Callback",
            key="callbacks",
            labelled=True,
            usage="`callbacks.NAME={}`",
        ),
        Kind(
            "logger",
            """Register Lightning loggers.

            Injected: `folder` (the run folder) and `run_name`.
            """,
            base="lightning.pytorch.loggers:Logger",
            key="logger",
            labelled=True,
            usage="`logger=NAME`",
        ),
        Kind(
            "config",
            """Register a package of YAML files (recipes, experiments); its target is ``"package.conf"``, without an
            object.
            """,
            configured=False,
            usage="adds options to `model=`, `experiment=`, ...",
        ),
        Kind(
            "command",
            """Register subcommands of ``aeframe``: subclasses of `aeframe.cli.Command`.

            Injected: nothing.
            """,
            base="aeframe.cli:Command",
            configured=False,
            usage="`aeframe NAME`",
        ),
    )
}
"""Every kind by name; parts of a model are in the order in which data pass through them."""

SLOTS: tuple[Kind, ...] = tuple(kind for kind in KINDS.values() if kind.slot)
"""The kinds for which a model has a slot."""
SAVED: tuple[Kind, ...] = tuple(kind for kind in KINDS.values() if kind.saved)
"""The kinds that a saved model stores."""
BY_KEY: dict[str, Kind] = {kind.key: kind for kind in KINDS.values() if kind.key}
"""Kinds by their key in a run's config: ``data`` is the key of kind ``dataset``."""
GROUPS: tuple[str, ...] = tuple(key for key, kind in BY_KEY.items() if not kind.labelled)
"""Keys of a run's config with one part each, ``{name: ..., options}``; each is a config group of Hydra."""
LABELLED: dict[str, Kind] = {key: kind for key, kind in BY_KEY.items() if kind.labelled}
"""Kinds by their key, for keys with several parts by label."""
LOGGER = "logger"
"""The one labelled key that is also a config group: ``logger=NAME`` adds a registered logger under its name."""
