"""A training step of every recipe and part: it reads nothing to the host, and the model pickles and copies."""

from __future__ import annotations

import collections
import copy
import io
import pickle  # noqa: TID251 -- users pickle models to send them to other processes
import tempfile
import traceback
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from aeframe.data.pairs import Paired
from aeframe.experiment.checks import check
from aeframe.experiment.compose import compose
from aeframe.experiment.composition.option_files import core_recipes
from aeframe.kinds import SLOTS
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.noise import noise_of
from aeframe.registry import registry
from aeframe.testing.fixtures import pretrained_mlp
from aeframe.testing.options import SuiteOptions
from aeframe.testing.suite_runner import SuiteRunner
from aeframe.types import Batch, TrainingProgress

torch.set_num_threads(1)

_FOLDER = tempfile.TemporaryDirectory()
CPU = torch.device("cpu")
SAMPLES = 7
PARTS = ("activation", *(kind.name for kind in SLOTS))
# What no reference model can be made around: they change the shape, or take images only.
ALONE = ("activation=glu", "activation=softmax2d")
# Operations whose result, or the shape of it, the host waits for on a GPU. Some of them read nothing on a CPU.
READS = (
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "unique",
    "unique2",
    "unique_dim",
    "bincount",
    "equal",
    "repeat_interleave",
)


@pytest.fixture(autouse=True)
def _as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what torch and some losses read on a CPU only, and take torch's defaults for distributions."""

    def one_hot(x: Tensor, classes: int) -> Tensor:
        return (x.unsqueeze(-1) == torch.arange(classes)).long()

    monkeypatch.setattr("torch.nn.functional.one_hot", one_hot)
    monkeypatch.setattr("aeframe.parts.losses.counts._is_faster_by_index", lambda x: False)
    monkeypatch.setattr(torch.distributions.Distribution, "_validate_args", True)


class HostReads(TorchDispatchMode):
    """Count the operations that make the host wait for a device, by the line of code that called them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: collections.Counter[str] = collections.Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        if (
            name.strip("_") in {each.strip("_") for each in READS}
            or _indexes_by_mask(name, args)
            or _checks(name, args)
        ):
            frames = [frame for frame in traceback.extract_stack() if "/aeframe" in frame.filename]
            at = f"{frames[-1].filename.rpartition('/aeframe')[2]}:{frames[-1].lineno}" if frames else "elsewhere"
            self.found[f"{name} in {at}"] += 1
        return func(*args, **(kwargs or {}))


def _indexes_by_mask(name: str, args: tuple[Any, ...]) -> bool:
    indices = args[1] if name in ("index", "index_put", "index_put_", "_index_put_impl_") else ()
    return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in indices)


def _checks(name: str, args: tuple[Any, ...]) -> bool:
    """Say whether torch checks the probabilities of a draw on the host: for one draw, or without replacement."""
    return name == "multinomial" and (args[1] == 1 or len(args) < 3 or not args[2])


def step(model: Autoencoder, batch: Batch, progress: TrainingProgress) -> None:
    """Train on one batch, the critics after the autoencoder."""
    theirs = {id(parameter) for parameter in model.critics.parameters()}
    model.set_progress(progress)
    p = model(batch, num_samples=model.objective.num_samples)
    for critic in (None, *model.critics.values()):
        terms = model.terms(p, progress) if critic is None else critic.terms(model, p.detach(), progress)
        model.zero_grad()
        terms.total().mean().backward()
        own = critic.parameters() if critic is not None else model.parameters()
        chosen = [each for each in own if each.grad is not None and (critic is not None or id(each) not in theirs)]
        if chosen:
            torch.optim.SGD(chosen, lr=1e-4).step()
    progress.advance()


def host_reads(model: Autoencoder, batch: Batch) -> dict[str, int]:
    """Return the host reads of the third training step; in the first, codebooks may read whether they are placed."""
    progress = TrainingProgress(planned=100, rows=400)
    model.train()
    with noise_of(CPU, 5):
        step(model, batch, progress)
        step(model, batch, progress)
        with HostReads() as reads:
            step(model, batch, progress)
    return dict(reads.found)


@cache
def of_recipe(recipe: str) -> tuple[Callable[[], Autoencoder], Batch]:
    """Return what makes the model of a recipe, and a batch of digits."""
    overrides = ["data=digits", f"model={recipe}"]
    ours, plain = compose(overrides), compose(["data=digits", "model=ae"])
    if ours["encoder"] == plain["encoder"]:
        overrides.append("encoder.channels=[8,16]")
    if "dead_after" in ours["latent"]:
        # So few samples that features are dead in the third step.
        overrides.append("latent.dead_after=10")
    config = compose(overrides)
    modality, dataset, spec = check(config)
    source = modality.prepare(dataset).train
    batch = (Paired(source) if "partner" in spec.extras else source).batch(torch.arange(SAMPLES))
    return lambda: assemble(config, spec), batch


def made(build: Callable[[], Autoencoder]) -> Autoencoder:
    with noise_of(CPU, 6):
        return build()


def answer(model: Autoencoder, batch: Batch) -> list[Tensor]:
    """Return what a model computes in evaluation."""
    with noise_of(CPU, 7), torch.no_grad():
        p = model.eval()(batch)
        return [p.output, p.latent.z, *model.terms(p, TrainingProgress(planned=100, rows=400)).raw.values()]


def assert_travels(model: Autoencoder, batch: Batch) -> None:
    """Check that a pickled, a saved and a copied model compute the same, before and after they trained."""
    saved = io.BytesIO()
    torch.save(model, saved)
    saved.seek(0)
    # The file is the one just written.
    copies = [pickle.loads(pickle.dumps(model)), torch.load(saved, weights_only=False), copy.deepcopy(model)]
    expected = answer(model, batch)
    for each in copies:
        assert all(torch.equal(*pair) for pair in zip(answer(each, batch), expected, strict=True))
    for each in (model, *copies):
        with noise_of(CPU, 8):
            step(each.train(), batch, TrainingProgress(planned=100, rows=400))
    trained = answer(model, batch)
    for each in copies:
        assert all(torch.equal(*pair) for pair in zip(answer(each, batch), trained, strict=True))


needs_digits = pytest.mark.skipif(not registry().has("dataset", "digits"), reason="digits come with the image plugin")


@needs_digits
@pytest.mark.parametrize("recipe", core_recipes())
def test_a_training_step_of_a_recipe_reads_nothing_to_the_host(recipe: str) -> None:
    build, batch = of_recipe(recipe)
    assert host_reads(made(build), batch) == {}


@needs_digits
@pytest.mark.parametrize("recipe", core_recipes())
def test_a_recipe_pickles_and_copies(recipe: str) -> None:
    build, batch = of_recipe(recipe)
    assert_travels(made(build), batch)


# -- parts -------------------------------------------------------------------------------------------------------


def parts() -> list[tuple[str, str]]:
    """Return ``(plugin, "kind=name")`` of every part of a model that is registered by an installed plugin of ours."""
    return [
        (plugin.name, f"{entry.kind}={entry.name}")
        for plugin in registry().plugins
        for entry in plugin.entries
        if entry.kind in PARTS and f"{entry.kind}={entry.name}" not in ALONE
    ]


@cache
def runner(plugin: str) -> SuiteRunner:
    options = {"encoder=pretrained": pretrained_mlp(Path(_FOLDER.name))} if plugin == "core" else {}
    return SuiteRunner(SuiteOptions(plugin, options=options))


def of_part(plugin: str, part: str) -> tuple[Autoencoder, Batch]:
    setup = runner(plugin).part(part).setup
    return setup.model(), setup.batch()


@pytest.mark.parametrize(("plugin", "part"), parts())
def test_a_training_step_of_a_part_reads_nothing_to_the_host(plugin: str, part: str) -> None:
    assert host_reads(*of_part(plugin, part)) == {}


@pytest.mark.parametrize(("plugin", "part"), parts())
def test_a_part_pickles_and_copies(plugin: str, part: str) -> None:
    assert_travels(*of_part(plugin, part))


def test_host_reads_are_found() -> None:
    x = torch.rand(5)
    for read in (
        lambda: x.sum().item(),
        lambda: bool(x.any()),
        lambda: x[x > 0.5],
        lambda: x.nonzero(),
        lambda: torch.multinomial(x, 1),
        lambda: x.unique(),
    ):
        with HostReads() as reads:
            read()
        assert sum(reads.found.values()) == 1
    with HostReads() as reads:
        torch.where(x > 0.5, x, 0.0)[torch.tensor([1])].masked_fill(x[:1] > 0.5, 0.0)
        torch.multinomial(x, 9, replacement=True)
    assert reads.found == {}
