"""Small model configs with matching data, in which one part is tested.

A part may declare which properties it requires of the latent, such as ``posterior`` (z has a distribution q(z | x)); a
latent declares which of them it provides. A part may also declare the domains of its data (which values x takes:
``real``, ``unit``, ``count``, ...) and the spaces of its z.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from aeframe.data.modality import Modality
from aeframe.data.vector import Vector
from aeframe.errors import AeframeError
from aeframe.factory import build, defaults
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.noise import noise_of
from aeframe.parts.networks.base import Encoder
from aeframe.registry import registry
from aeframe.testing.own_modules import own_modules
from aeframe.types import Batch, DataSpec, Domain, Shape, TrainingProgress

BATCH_SIZE = 7
"""Samples in a test batch. No dimension of a reference model is a multiple of it, as `RowNoise` requires."""
NUM_ROWS = 32
"""Samples in a `ReferenceSetup`."""
PROGRESS = TrainingProgress(batch=5, planned=10)
"""The training progress at which loss terms are compared: half of the run."""
CPU = torch.device("cpu")

# The last shape has the size of the point latent's z, for a decoder that only reshapes z.
_SHAPES: tuple[Shape, ...] = ((12,), (1, 8, 8), (2, 16), (1, 4, 4, 4), (3,))
_SET_SHAPE: Shape = (8, 3)
"""Eight unordered elements of three numbers."""
_DOMAINS = ("real", "unit", "signed", "binary", "count", "category(5)", "simplex", "mixed(0*3,5,2,0*4,3,4,2)")
_LOSSES = {
    "real": "mse",
    "unit": "bernoulli",
    "signed": {"name": "mse", "activation": "tanh"},
    "binary": "bernoulli",
    "category": "categorical",
    "simplex": "kl_divergence",
    "mixed": "mixed",
}
_EUCLIDEAN = frozenset({"euclidean"})
# Properties that a part may require, and the config of a small latent that provides them.
_LATENTS: tuple[tuple[frozenset[str], dict[str, Any]], ...] = (
    (frozenset(), {"name": "point", "dim": 3}),
    (frozenset({"posterior"}), {"name": "gaussian", "dim": 3}),
    (frozenset({"codes"}), {"name": "vq", "dim": 2, "codebook_size": 8, "tokens": 4}),
    # z in [0, 1], for penalties on the mean activity of each unit.
    (frozenset({"activity"}), {"name": "point", "dim": 3, "activation": "sigmoid"}),
)


@dataclass(frozen=True)
class ReferenceSetup:
    """The config of a small model that contains one part, and data for it."""

    config: dict[str, Any]
    spec: DataSpec
    rows: Batch
    """`NUM_ROWS` samples, fewer if the training split has fewer."""
    modality: Modality
    """The modality of the data; `Vector` for synthetic data."""

    def model(self) -> Autoencoder:
        """Return a new model in training mode; its initial weights are the same at each call."""
        with noise_of(CPU, 1):
            return assemble(self.config, self.spec, modules=own_modules(self.config))

    def batch(self, num: int = BATCH_SIZE) -> Batch:
        """Return a copy of the first `num` samples."""
        return self.rows.rows(torch.arange(num))

    def with_condition(self) -> ReferenceSetup:
        """Return a copy in which each sample has a condition, a one-hot vector of 3 numbers."""
        condition = torch.eye(3)[torch.arange(len(self.rows)) % 3]
        # The condition encoder appends the condition to x as channels, which is impossible for class indices.
        config = {**self.config, "condition_encoder": self.spec.domain.kind != "category"}
        rows = replace(self.rows, condition=condition)
        return ReferenceSetup(config, replace(self.spec, condition=3), rows, self.modality)

    @property
    def length_axis(self) -> int:
        """The axis of a sample that padding extends: that of its elements, or else the last one, such as time."""
        return 0 if self.spec.unordered else len(self.spec.shape) - 1

    def padded(self) -> ReferenceSetup:
        """Return a copy with samples of twice the length, whose second half is masked, and has other values."""
        axis = self.length_axis
        shape = tuple(2 * size if number == axis else size for number, size in enumerate(self.spec.shape))
        rows = self.rows
        whole = torch.ones(rows.x.shape[: axis + 2], dtype=torch.bool)
        mask = whole if rows.mask is None else whole & _extended(rows.mask, axis + 2)
        if rows.mask is not None and rows.mask.ndim > mask.ndim:
            mask = rows.mask
        mask = torch.cat([mask, torch.zeros_like(mask)], axis + 1)
        x = torch.cat([rows.x, rows.x.flip(0)], axis + 1)
        return replace(
            self, spec=replace(self.spec, shape=shape, extras={}), rows=replace(rows, x=x, mask=mask, extras={})
        )

    def shortened(self, batch: Batch, size: int) -> Batch:
        """Return a batch of `padded` without the padding: the first `size` elements."""
        dim = self.length_axis + 1
        mask = None if batch.mask is None else batch.mask.narrow(dim, 0, size)
        return replace(batch, x=batch.x.narrow(dim, 0, size), mask=mask)

    def with_domain(self, domain: Domain) -> ReferenceSetup:
        """Return a copy with synthetic data of another domain."""
        spec = replace(self.spec, domain=domain)
        return replace(self, spec=spec, rows=synthetic_batch(spec))


def _extended(mask: Tensor, ndim: int) -> Tensor:
    """Return a mask with dimensions of size 1 behind, up to `ndim`."""
    return mask.reshape(*mask.shape, *[1] * max(0, ndim - mask.ndim))


def synthetic_batch(spec: DataSpec) -> Batch:
    """Return `NUM_ROWS` samples whose values cover the domain of `spec`; each has another sample as its partner."""
    generator = torch.Generator().manual_seed(11)
    shape = (NUM_ROWS, *spec.shape)
    normal, uniform = torch.randn(shape, generator=generator), torch.rand(shape, generator=generator)
    x = spec.domain.values(uniform, normal)
    # Some objectives are trained on pairs of samples.
    return Batch(x, index=torch.arange(NUM_ROWS)).paired(Batch(x.roll(1, 0)))


def synthetic_setups(kind: str, part: Mapping[str, Any]) -> Iterator[ReferenceSetup]:
    """Yield a setup with `part` for each combination of shape and domain of synthetic data.

    Domains that the part excludes are left out; a shape may still turn out not to fit the part.

    Args:
        kind: The kind of the part.
        part: The config of the part.
    """
    target = registry().load(kind, part["name"])
    domains = getattr(target, "domains", None)
    # A loss that does not compare by position is for unordered data only; other parts are tried on those last.
    of_sets = kind == "loss" and not getattr(target, "by_position", True)
    for shape in (_SET_SHAPE,) if of_sets else (*_SHAPES, _SET_SHAPE):
        unordered = shape == _SET_SHAPE
        for name in _DOMAINS:
            domain = Domain.parse(name)
            if domains is not None and domain.kind not in domains:
                continue
            if domain.kind == "mixed" and shape != (len(domain.element_classes),):
                continue
            loss = part if kind == "loss" else _loss_for(domain, unordered=unordered)
            if loss is None:
                continue
            spec = DataSpec(shape, domain, extras={"partner": shape}, unordered=unordered)
            modality_config = {"name": "vector", "domain": name, "scale": "none"}
            encoder = {"name": "mlp", "hidden": [16]}
            config = {**minimal_config(kind, part, loss=loss, encoder=encoder), "modality": modality_config}
            modality = Vector(domain=name, scale="none")
            modality.load_state({"shape": list(shape), "columns": None})
            yield ReferenceSetup(config, spec, synthetic_batch(spec), modality)


def minimal_config(kind: str, part: Mapping[str, Any], *, loss: Any, encoder: Any) -> dict[str, Any]:
    """Return the config of a small model that contains `part`, and the latent and objective that the part requires."""
    target = registry().load(kind, part["name"])
    requires: frozenset[str] = getattr(target, "requires", frozenset())
    if kind == "prior":
        # A prior is trained through a divergence, which is computed from a posterior.
        requires |= {"posterior"}
    spaces: frozenset[str] = getattr(target, "spaces", None) or _EUCLIDEAN
    latent = part if kind == "latent" else _latent_for(requires, spaces)
    latent_class = registry().load("latent", latent["name"])
    provides: frozenset[str] = latent_class.provides
    config: dict[str, Any] = {
        "model": {"name": "reference"},
        "activation": "tanh",
        "corruption": "none",
        "encoder": encoder,
        "latent": latent,
        "prior": _prior_for(provides, latent_class.space),
        "decoder": "mirror" if _has_mirror(kind, target) else "mlp",
        "loss": loss,
        "objective": "elbo" if "posterior" in provides else "deterministic",
        "penalties": {},
        "critics": {},
        "sampler": {"name": "prior"},
        "optimizer": {"name": "adam", "lr": 1e-2},
    }
    if kind in ("objective", "penalty"):
        # An objective or penalty that has an option `critic` requires the critic that the option names.
        label = {**defaults(kind, part["name"]), **part}.get("critic")
        config["critics"] = {label: {}} if label is not None and registry().has("critic", label) else {}
    if kind == "penalty":
        config["penalties"] = {part["name"]: dict(part)}
    elif kind == "critic":
        config["critics"] = {part["name"]: dict(part)}
        config |= _user_of_critic(part["name"], target)
    elif kind != "modality":
        config[kind] = dict(part)
    return config


def _has_mirror(kind: str, target: Any) -> bool:
    """Return whether the encoder of a model that contains a part may have a mirrored decoder."""
    inherited = Encoder.mirrored_decoder_config
    return kind != "encoder" or getattr(target, "mirrored_decoder_config", None) is not inherited


def _user_of_critic(name: str, critic: Any) -> dict[str, Any]:
    """Return the config of the objective and penalties that call a critic's methods.

    It is empty for a critic whose methods no other part calls, since only its own loss terms train it.
    """
    config: dict[str, Any] = {}
    if hasattr(critic, "logit"):
        config["objective"] = {"name": "adversarial", "critic": name}
    penalties = {"adversarial": "generator_loss", "feature_matching": "features"}
    users = {penalty: {"critic": name} for penalty, method in penalties.items() if hasattr(critic, method)}
    return config | ({"penalties": users} if users else {})


def _latent_for(requires: frozenset[str], spaces: frozenset[str] = _EUCLIDEAN) -> dict[str, Any]:
    """Return the config of a latent that provides all of `requires`, and whose z lies in one of `spaces`."""
    for provides, latent in _LATENTS:
        if requires <= provides and spaces >= _EUCLIDEAN:
            return latent
    for name, target in _importable("latent"):
        if requires <= target.provides and target.space in spaces:
            return {"name": name}
    raise AeframeError(
        f"no installed latent provides {' and '.join(sorted(requires))} in {' or '.join(sorted(spaces))} space"
    )


def _prior_for(provides: frozenset[str], space: str) -> str:
    """Return the name of a prior on the space of the latent's z."""
    if space in _EUCLIDEAN:
        return "normal"
    matching = (name for name, prior in _importable("prior") if space in prior.spaces and prior.requires <= provides)
    return next(matching, "normal")


def _loss_for(domain: Domain, *, unordered: bool) -> Any:
    """Return a loss for data of `domain`, None if none is installed; for unordered data, one of sets."""
    if domain.kind in _LOSSES and not unordered:
        return _LOSSES[domain.kind]
    fitting = (name for name, target in _importable("loss") if domain.kind in getattr(target, "domains", ()))
    return next((name for name in fitting if not (unordered and registry().load("loss", name).by_position)), None)


def _importable(kind: str) -> Iterator[tuple[str, Any]]:
    """Yield the name and class of each part of a kind, except parts that cannot be imported."""
    for name in registry().names(kind):
        try:
            yield name, registry().load(kind, name)
        except AeframeError:
            continue


def modality_setup(
    kind: str, part: Mapping[str, Any], modality: Mapping[str, Any], dataset: Mapping[str, Any]
) -> ReferenceSetup:
    """Return the setup of a modality's default parts on a dataset of the modality, with `part` in place of its kind.

    Args:
        kind: The kind of the part.
        part: The config of the part.
        modality: The config of the modality.
        dataset: The config of the dataset.
    """
    built_modality: Modality = build("modality", modality)
    built_dataset = build("dataset", dataset)
    spec = built_modality.spec(built_dataset)
    train = built_modality.prepare(built_dataset).train
    with noise_of(CPU, 2):
        rows = train.batch(torch.arange(min(NUM_ROWS, len(train))))
    own_defaults = dict(built_modality.defaults)
    config = {
        **minimal_config(kind, part, loss=own_defaults.pop("loss"), encoder=own_defaults.pop("encoder")),
        **{key: value for key, value in own_defaults.items() if key != kind},
        "modality": dict(modality),
        "data": dict(dataset),
    }
    if kind not in ("modality", "penalty", "critic"):
        config[kind] = dict(part)
    return ReferenceSetup(config, spec, rows, built_modality)
