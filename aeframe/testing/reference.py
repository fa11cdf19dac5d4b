"""Small reference models: what one part is put into, so that it can be tried alone."""

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
from aeframe.registry import registry
from aeframe.types import Batch, DataSpec, Domain, Shape, TrainingProgress

SAMPLES = 7
"""Samples in a batch: no size of a reference model is a multiple of it, see `RowNoise`."""
NUM_ROWS = 32
PROGRESS = TrainingProgress(batch=5, planned=10)
"""Where a run stands when terms are compared."""
CPU = torch.device("cpu")

# The last is as large as the point latent's z, for a decoder that changes nothing but the shape.
_SHAPES: tuple[Shape, ...] = ((12,), (1, 8, 8), (2, 16), (1, 4, 4, 4), (3,))
_DOMAINS = ("real", "unit", "signed", "binary", "count", "category(5)", "simplex")
_LOSSES = {
    "real": "mse",
    "unit": "bernoulli",
    "signed": {"name": "mse", "activation": "tanh"},
    "binary": "bernoulli",
    "category": "categorical",
    "simplex": "kl_divergence",
}
_EUCLIDEAN = frozenset({"euclidean"})
_LATENTS: tuple[tuple[frozenset[str], dict[str, Any]], ...] = (
    (frozenset(), {"name": "point", "dim": 3}),
    (frozenset({"posterior"}), {"name": "gaussian", "dim": 3}),
    (frozenset({"codes"}), {"name": "vq", "dim": 2, "codebook_size": 8, "tokens": 4}),
    # What a latent gives by an option: numbers in [0, 1].
    (frozenset({"activity"}), {"name": "point", "dim": 3, "activation": "sigmoid"}),
)


@dataclass(frozen=True)
class Reference:
    """A recipe around one part, and some rows of data for it."""

    config: dict[str, Any]
    spec: DataSpec
    rows: Batch
    modality: Modality
    """The one whose data these are; `Vector` for synthetic ones."""

    def model(self) -> Autoencoder:
        """Return a new model, with the same first weights each time; in training mode."""
        with noise_of(CPU, 1):
            return assemble(self.config, self.spec)

    def batch(self, num: int = SAMPLES) -> Batch:
        """Return the first rows, copied."""
        return self.rows.rows(torch.arange(num))

    def conditioned(self) -> Reference:
        """Return the same for data with a condition of 3 numbers."""
        condition = torch.eye(3)[torch.arange(len(self.rows)) % 3]
        # Classes leave no room for other channels beside them.
        config = {**self.config, "condition_encoder": self.spec.domain.kind != "category"}
        rows = replace(self.rows, condition=condition)
        return Reference(config, replace(self.spec, condition=3), rows, self.modality)

    def in_domain(self, domain: Domain) -> Reference:
        """Return the same for synthetic data of another domain."""
        spec = replace(self.spec, domain=domain)
        return replace(self, spec=spec, rows=synthetic(spec))


def synthetic(spec: DataSpec) -> Batch:
    """Return `NUM_ROWS` rows that lie in the domain and fill it."""
    generator = torch.Generator().manual_seed(11)
    shape = (NUM_ROWS, *spec.shape)
    normal, even = torch.randn(shape, generator=generator), torch.rand(shape, generator=generator)
    classes = spec.domain.classes or 1
    x: Tensor = {
        "real": normal,
        "unit": even,
        "signed": 2 * even - 1,
        "binary": (even < 0.5).float(),
        "count": (6 * even * even).floor(),
        "category": (even * classes).floor().clamp(max=classes - 1).long(),
        "simplex": normal.softmax(-1),
    }[spec.domain.kind]
    # A second sample beside each, for parts that learn from pairs.
    return Batch(x, index=torch.arange(NUM_ROWS)).paired(Batch(x.roll(1, 0)))


def synthetic_references(kind: str, part: Mapping[str, Any]) -> Iterator[Reference]:
    """Yield recipes with `part` in its place, for one kind of synthetic data after another that it may accept."""
    claimed = getattr(registry().load(kind, part["name"]), "domains", None)
    for shape in _SHAPES:
        for name in _DOMAINS:
            domain = Domain.parse(name)
            if claimed is not None and domain.kind not in claimed:
                continue
            loss = part if kind == "loss" else _loss_for(domain)
            if loss is None:
                continue
            spec = DataSpec(shape, domain, extras={"partner": shape})
            modality = {"name": "vector", "domain": name, "scale": "none"}
            config = {**recipe(kind, part, loss=loss, encoder={"name": "mlp", "hidden": [16]}), "modality": modality}
            prepared = Vector(domain=name, scale="none")
            prepared.load_state({"shape": list(shape), "columns": None})
            yield Reference(config, spec, synthetic(spec), prepared)


def recipe(kind: str, part: Mapping[str, Any], *, loss: Any, encoder: Any) -> dict[str, Any]:
    """Return the smallest recipe that has `part` in it and gives it what it needs."""
    target = registry().load(kind, part["name"])
    requires: frozenset[str] = getattr(target, "requires", frozenset())
    if kind == "prior":
        # A prior is learned through a divergence, which needs a posterior.
        requires |= {"posterior"}
    spaces: frozenset[str] = getattr(target, "spaces", None) or _EUCLIDEAN
    latent = part if kind == "latent" else _latent_for(requires, spaces)
    chosen = registry().load("latent", latent["name"])
    provides: frozenset[str] = chosen.provides
    config: dict[str, Any] = {
        "model": {"name": "reference"},
        "activation": "tanh",
        "corruption": "none",
        "encoder": encoder,
        "latent": latent,
        "prior": _prior_for(provides, chosen.space),
        "decoder": "mirror",
        "loss": loss,
        "objective": "elbo" if "posterior" in provides else "deterministic",
        "penalties": {},
        "critics": {},
        "sampler": {"name": "prior"},
        "optimizer": {"name": "adam", "lr": 1e-2},
    }
    if kind in ("objective", "penalty"):
        # The critic that its option names by default.
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


def _user_of_critic(name: str, critic: Any) -> dict[str, Any]:
    """Return the objective and penalties that call a critic's methods; none where it has only terms."""
    config: dict[str, Any] = {}
    if hasattr(critic, "logit"):
        config["objective"] = {"name": "adversarial", "critic": name}
    penalties = {"adversarial": "generator_loss", "feature_matching": "features"}
    users = {penalty: {"critic": name} for penalty, method in penalties.items() if hasattr(critic, method)}
    return config | ({"penalties": users} if users else {})


def _latent_for(requires: frozenset[str], spaces: frozenset[str] = _EUCLIDEAN) -> dict[str, Any]:
    """Return a latent that gives what is needed, its codes in one of the spaces."""
    for provides, latent in _LATENTS:
        if requires <= provides and spaces >= _EUCLIDEAN:
            return latent
    for name, target in _loadable("latent"):
        if requires <= target.provides and target.space in spaces:
            return {"name": name}
    raise AeframeError(
        f"no latent that is installed gives {' and '.join(sorted(requires))} in {' or '.join(sorted(spaces))} space"
    )


def _prior_for(provides: frozenset[str], space: str) -> str:
    """Return a prior that is a density where a latent's codes live."""
    if space in _EUCLIDEAN:
        return "normal"
    fitting = (name for name, prior in _loadable("prior") if space in prior.spaces and prior.requires <= provides)
    return next(fitting, "normal")


def _loss_for(domain: Domain) -> Any:
    if domain.kind in _LOSSES:
        return _LOSSES[domain.kind]
    return next((name for name, target in _loadable("loss") if domain.kind in getattr(target, "domains", ())), None)


def _loadable(kind: str) -> Iterator[tuple[str, Any]]:
    """Yield every part of a kind that can be imported: another that cannot is no fault of the one under test."""
    for name in registry().names(kind):
        try:
            yield name, registry().load(kind, name)
        except AeframeError:
            continue


def modality_reference(
    kind: str, part: Mapping[str, Any], modality: Mapping[str, Any], dataset: Mapping[str, Any]
) -> Reference:
    """Return the recipe of a modality's defaults on its own data, with `part` in its place."""
    made: Modality = build("modality", modality)
    source = build("dataset", dataset)
    spec = made.spec(source)
    train = made.prepare(source).train
    with noise_of(CPU, 2):
        rows = train.batch(torch.arange(min(NUM_ROWS, len(train))))
    chosen = dict(made.defaults)
    config = {
        **recipe(kind, part, loss=chosen.pop("loss"), encoder=chosen.pop("encoder")),
        **{key: value for key, value in chosen.items() if key != kind},
        "modality": dict(modality),
        "data": dict(dataset),
    }
    if kind not in ("modality", "penalty", "critic"):
        config[kind] = dict(part)
    return Reference(config, spec, rows, made)
