"""Every registered recipe, on real data: what must hold of a model whatever it is made of."""

from __future__ import annotations

import copy
import itertools
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

import aeframe
from aeframe.data.modality import Splits
from aeframe.data.subset import random_batches
from aeframe.errors import AeframeError
from aeframe.evaluation.baselines import baseline_metrics, pca_error
from aeframe.evaluation.evaluator import Evaluator, evaluation_mode, metrics_of
from aeframe.experiment.checks import check
from aeframe.experiment.compose import compose
from aeframe.experiment.composition.option_files import core_recipes
from aeframe.experiment.finished_run import Run
from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.model.density import code_metrics
from aeframe.model_store.trained_model import TrainedModel
from aeframe.registry import registry
from aeframe.runs.folder import RunFolder
from aeframe.testing.freezing import freeze_others
from aeframe.testing.noise import RowNoise
from aeframe.testing.reference import ReferenceSetup
from aeframe.testing.reload import OUTPUTS, SETUP, evaluation_outputs
from aeframe.testing.short_run import train_shortly
from aeframe.testing.subprocess_io import read_result, write_setup
from aeframe.training.optimizer_groups import OptimizerGroup, check_ownership, make_optimizer_groups
from aeframe.types import Batch

torch.set_num_threads(1)

# Those of core: a plugin's are for its own modality, and are tried by its own tests.
RECIPES = core_recipes()
# Images through a plugin, with convolutions; and rows of numbers, with dense layers. GELU, since at the learning rate
# of these short runs a layer of ReLUs may be zero for all samples of a batch, and then passes no gradient.
SMALL = {
    "digits": ["encoder.channels=[8,16]"],
    "breast_cancer": ["encoder.hidden=[32,16]", "encoder.activation=gelu"],
}
# A sampler that is trained; and what is silent for thousands of samples before it is dead.
QUICK = {("sampler", "steps"): 50, ("latent", "dead_after"): 500}
BATCHES = 30
# No size in these models is a multiple of it, see `RowNoise`.
SAMPLES = 7
# A process that opens one model after the other: torch takes seconds to begin.
READER = """
import sys
from pathlib import Path
import torch
from aeframe.testing.reload import write_outputs
torch.set_num_threads(1)
for line in sys.stdin:
    write_outputs(Path(line.rstrip("\\n")))
    print("done", flush=True)
"""


@dataclass(frozen=True)
class Trained:
    """A recipe after some batches, opened again from its folder."""

    run: Run
    saved: TrainedModel
    splits: Splits

    @property
    def model(self) -> Autoencoder:
        """A copy that a test may do anything to."""
        return copy.deepcopy(self.saved.model)

    @property
    def batch(self) -> Batch:
        return self.splits.train.batch(torch.arange(SAMPLES))

    @property
    def setup(self) -> ReferenceSetup:
        """The recipe with 32 samples of its data, for a short run."""
        rows = self.splits.train.batch(torch.arange(32))
        config = RunFolder(self.run.folder).read_config()
        return ReferenceSetup(config, self.saved.spec, rows, self.saved.modality)

    def groups(self, model: Autoencoder) -> list[OptimizerGroup]:
        return make_optimizer_groups(model, {"name": "sgd", "lr": 0.1})


def small(recipe: str, data: str) -> list[str]:
    """Return what makes a recipe small: the encoder, where it is the modality's own, and `QUICK` where it has such."""
    ours, plain = (compose([f"data={data}", f"model={name}"]) for name in (recipe, "ae"))
    words = SMALL[data] if ours["encoder"] == plain["encoder"] else []
    quick = [f"{part}.{option}={value}" for (part, option), value in QUICK.items() if option in ours[part]]
    # Narrow layers, in which all units may be dead after the short training at a high rate.
    alive = ["activation=elu"] if data == "digits" and recipe in ("iaf_vae", "vqvae2") else []
    return [*words, *quick, *alive]


# Where a recipe makes no sense, and what it says there.
REFUSED = {
    ("mae", "breast_cancer"): (
        "corruption patches needs channels at positions, (C, T), (C, H, W) or (C, D, H, W), found the flat shape "
        "(30,); choose model=dae corruption=elements"
    ),
}


@pytest.mark.parametrize(("recipe", "data"), REFUSED)
def test_a_recipe_that_makes_no_sense_says_so_before_data_are_loaded(recipe: str, data: str) -> None:
    with pytest.raises(AeframeError) as error:
        check(compose([f"data={data}", f"model={recipe}"]))
    assert str(error.value) == REFUSED[recipe, data]


@pytest.fixture(
    scope="module",
    params=[case for case in itertools.product(RECIPES, SMALL) if case not in REFUSED],
    ids="-".join,
)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    recipe, data = request.param
    if not registry().has("dataset", data):
        pytest.skip(f"data '{data}' come with a plugin that is not installed")
    run = aeframe.fit(
        model=recipe,
        data=data,
        overrides=small(recipe, data),
        max_batches=BATCHES,
        optimizer={"lr": 1e-2},
        pictures=False,
        trainer={"threads": 1, "accelerator": "cpu"},
        folder=str(tmp_path_factory.mktemp(f"{recipe}-{data}") / "run"),
    )
    saved = aeframe.load(run.folder)
    dataset = build("dataset", saved.config["data"])
    return Trained(run, saved, saved.modality.prepare(dataset))


@pytest.fixture(scope="session")
def reader() -> Iterator[subprocess.Popen[str]]:
    words = [sys.executable, "-W", "ignore", "-c", READER]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def all_terms(trained: Trained, model: Autoencoder, batch: Batch) -> dict[str, Tensor]:
    """Return every term of every optimizer group, and the bound."""
    p = model(batch, num_samples=model.objective.num_samples)
    found: dict[str, Tensor] = {}
    for group in trained.groups(model):
        terms = group.terms(model, p, trained.saved.progress)
        found |= {f"{group.name}/{name}": value.detach() for name, value in terms.raw.items()}
        if terms.bound is not None:
            found[f"{group.name}/bound"] = terms.bound.detach()
    return found


def between_samples(model: Autoencoder) -> set[str]:
    """Return the names, as `all_terms` gives them, of what compares the samples of a batch with each other."""
    return {name if "/" in name else f"autoencoder/{name}" for name in model.batch_terms}


def test_terms_do_not_move_when_the_batch_is_doubled(trained: Trained) -> None:
    rows, k = torch.arange(SAMPLES), trained.saved.model.objective.num_samples
    # Copies: a codebook learns from what it sees in training.
    with RowNoise(rows, num_samples=k):
        once = all_terms(trained, trained.model.train(), trained.batch)
    with RowNoise(rows.repeat(2), num_samples=k):
        twice = all_terms(trained, trained.model.train(), trained.batch.rows(rows.repeat(2)))
    assert once.keys() == twice.keys()
    between = between_samples(trained.saved.model)
    for name, value in once.items():
        assert value.shape == (SAMPLES,), name
        if name in between:
            continue
        torch.testing.assert_close(twice[name], torch.cat([value, value]), msg=lambda text, n=name: f"{n}: {text}")


def test_terms_do_not_move_in_evaluation_either(trained: Trained) -> None:
    rows = torch.arange(SAMPLES)
    model, doubled = trained.saved.model, rows.repeat(2)
    # Noise by row: a corruption may stay where filling in is all that a model learns.
    with evaluation_mode(model), RowNoise(rows, num_samples=model.objective.num_samples):
        once = all_terms(trained, model, trained.batch)
    with evaluation_mode(model), RowNoise(doubled, num_samples=model.objective.num_samples):
        twice = all_terms(trained, model, trained.batch.rows(doubled))
    between = between_samples(trained.saved.model)
    for name, value in once.items():
        # The draws of an opponent's prior are not a function of the sample.
        if not name.endswith("/real") and name not in between:
            torch.testing.assert_close(twice[name], torch.cat([value, value]), msg=lambda text, n=name: f"{n}: {text}")


def test_every_term_with_a_weight_changes_a_gradient(trained: Trained) -> None:
    names: set[str] = set()
    moving: set[str] = set()
    # Some terms rest until a code is far enough from its prior (free bits): look there too.
    for scale in (1.0, 10.0):
        model = trained.model.train()
        with torch.no_grad():
            for parameter in model.latent.parameters():
                parameter.mul_(scale)
        p = model(trained.batch, num_samples=model.objective.num_samples)
        for group in trained.groups(model):
            terms = group.terms(model, p, trained.saved.progress)
            for name in (name for name, weight in terms.weights.items() if weight > 0):
                names.add(f"{group.name}/{name}")
                gradients = torch.autograd.grad(
                    terms.raw[name].sum(), group.parameters, retain_graph=True, allow_unused=True
                )
                if any(bool(gradient.any()) for gradient in gradients if gradient is not None):
                    moving.add(f"{group.name}/{name}")
    assert names
    assert moving == names


def test_gradients_reach_every_parameter_of_their_optimizer_group_and_no_other(trained: Trained) -> None:
    model = trained.model.train()
    groups = trained.groups(model)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    p = model(trained.batch, num_samples=model.objective.num_samples)
    for group in groups:
        with freeze_others(group, groups):
            group.terms(model, p, trained.saved.progress).total().mean().backward()
        for other in groups:
            for parameter in other.parameters:
                reached = parameter.grad is not None and bool(parameter.grad.any())
                assert reached == (other is group), f"{names[id(parameter)]} after the gradients of {group.name}"
        model.zero_grad(set_to_none=True)


def test_every_trainable_parameter_belongs_to_one_optimizer_group(trained: Trained) -> None:
    model = trained.model
    groups = trained.groups(model)
    check_ownership(model, groups)
    owned = [id(parameter) for group in groups for parameter in group.parameters]
    assert sorted(owned) == sorted(id(parameter) for parameter in model.parameters() if parameter.requires_grad)


def test_the_loss_falls(trained: Trained) -> None:
    torch.manual_seed(0)
    begun = assemble(trained.saved.config, trained.saved.spec)
    rows = trained.splits.train.batch(torch.arange(256))
    losses = []
    for model in (begun, trained.saved.model):
        with evaluation_mode(model), torch.no_grad():
            losses.append(float(model.terms(model(rows), trained.saved.progress).total().mean()))
    before, after = losses
    assert after < before - 0.02 * abs(before)


def test_the_saved_model_gives_the_numbers_of_the_run(trained: Trained) -> None:
    saved, test = trained.saved, trained.splits.test
    metrics = metrics_of(saved.modality.metrics, saved.config["metrics"])
    evaluator = Evaluator(saved.model, metrics, seed=saved.config["seed"], modality=saved.modality)
    batches = [test.batch(index) for index in torch.arange(len(test)).split(saved.config["batch_size"])]
    baseline = pca_error(saved.model, trained.splits.train, test, seed=saved.config["seed"])
    for index, batch in enumerate(batches):
        evaluator.update(batch.to(saved.device), saved.progress, index)
    evaluator.observe_training_samples(trained.splits.train, saved.device)
    measured = evaluator.compute()
    reconstruction = measured.get("reconstruction") if saved.model.loss.unit == "nats" else None
    tested = random_batches(test, len(test), saved.config["seed"], saved.config["batch_size"])
    of_codes = code_metrics(saved.sampler, saved.model, tested, reconstruction)
    assert measured | baseline_metrics(baseline) | of_codes == trained.run.metrics


def test_another_process_that_opens_it_gives_the_same_numbers(trained: Trained, reader: subprocess.Popen[str]) -> None:
    folder = trained.run.folder
    write_setup(trained.setup, folder / SETUP)
    assert reader.stdin is not None
    assert reader.stdout is not None
    print(folder, file=reader.stdin, flush=True)
    assert reader.stdout.readline() == "done\n"
    found = read_result(folder / OUTPUTS)
    expected = evaluation_outputs(trained.model, trained.setup.batch())
    assert isinstance(found, dict), found
    assert [name for name, value in expected.items() if not torch.equal(found[name], value)] == []


def test_a_run_that_stopped_goes_on_bit_for_bit(trained: Trained, tmp_path: Path) -> None:
    whole = train_shortly(trained.setup, tmp_path / "whole", epochs=4).state
    train_shortly(trained.setup, tmp_path / "parts", epochs=2)
    parts = train_shortly(trained.setup, tmp_path / "parts", epochs=4, resume=True).state
    assert whole.keys() == parts.keys()
    assert [name for name, value in whole.items() if not torch.equal(parts[name], value)] == []


def test_evaluation_repeats_itself(trained: Trained) -> None:
    saved, x = trained.saved, trained.batch
    for use in (saved.encode, saved.reconstruct, saved.score):
        first = use(x)
        torch.rand(3)
        assert torch.equal(use(x), first)
    assert torch.equal(saved.sample(3, seed=1), saved.sample(3, seed=1))
    assert not any(module.training for module in saved.model.modules())
