"""Every registered recipe, on real data: what must hold of a model whatever it is made of."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

import aeframe
from aeframe.assembly import assemble
from aeframe.autoencoder import Autoencoder
from aeframe.batch import Batch
from aeframe.build import build
from aeframe.data.modality import Splits
from aeframe.evaluation.evaluator import Evaluator, evaluation_mode, measure, metrics_of
from aeframe.experiment.loader import Loader
from aeframe.experiment.workflow import Run
from aeframe.registry import registry
from aeframe.runs.saved import SavedModel
from aeframe.testing.noise import RowNoise
from aeframe.training.players import Player, alone, check_ownership, make_players

torch.set_num_threads(1)

RECIPES = Loader(names_only=True).get_group_options("model")
# Images through a plugin, with convolutions; and rows of numbers, with dense layers.
SMALL = {
    "digits": ["encoder.channels=[8,16]"],
    "breast_cancer": ["encoder.hidden=[32,16]"],
}
BATCHES = 30
# No size in these models is a multiple of it, see `RowNoise`.
SAMPLES = 7


@dataclass(frozen=True)
class Trained:
    """A recipe after some batches, opened again from its folder."""

    run: Run
    saved: SavedModel
    splits: Splits

    @property
    def model(self) -> Autoencoder:
        """A copy that a test may do anything to."""
        return copy.deepcopy(self.saved.model)

    @property
    def batch(self) -> Batch:
        return self.splits.train.batch(torch.arange(SAMPLES))

    def players(self, model: Autoencoder) -> list[Player]:
        return make_players(model, {"name": "sgd", "lr": 0.1}, {}, clip=None, accumulate=1)


@pytest.fixture(scope="module", params=[(recipe, data) for recipe in RECIPES for data in SMALL], ids="-".join)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    recipe, data = request.param
    if not registry().has("dataset", data):
        pytest.skip(f"data '{data}' come with a plugin that is not installed")
    # The linear one is a recipe of no layers.
    overrides = SMALL[data] if recipe != "linear_ae" else []
    run = aeframe.fit(
        model=recipe,
        data=data,
        overrides=overrides,
        max_batches=BATCHES,
        optimizer={"lr": 1e-2},
        pictures=False,
        trainer={"threads": 1, "accelerator": "cpu"},
        folder=str(tmp_path_factory.mktemp(f"{recipe}-{data}") / "run"),
    )
    saved = aeframe.load(run.folder)
    dataset = build("dataset", saved.config["data"])
    return Trained(run, saved, saved.modality.prepare(dataset))


def all_terms(trained: Trained, model: Autoencoder, batch: Batch) -> dict[str, Tensor]:
    """Return every term of every player, and the bound."""
    p = model(batch, num_samples=model.objective.num_samples)
    found: dict[str, Tensor] = {}
    for player in trained.players(model):
        terms = player.terms(model, p, trained.saved.clock)
        found |= {f"{player.name}/{name}": value.detach() for name, value in terms.raw.items()}
        if terms.bound is not None:
            found[f"{player.name}/bound"] = terms.bound.detach()
    return found


def between_samples(model: Autoencoder) -> set[str]:
    """Return the names, as `all_terms` gives them, of what compares the samples of a batch with each other."""
    return {name if "/" in name else f"autoencoder/{name}" for name in model.batch_terms}


def test_terms_do_not_move_when_the_batch_is_doubled(trained: Trained) -> None:
    rows = torch.arange(SAMPLES)
    # Copies: a codebook learns from what it sees in training.
    with RowNoise(rows):
        once = all_terms(trained, trained.model.train(), trained.batch)
    with RowNoise(rows.repeat(2)):
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
    with evaluation_mode(trained.saved.model):
        once = all_terms(trained, trained.saved.model, trained.batch)
        twice = all_terms(trained, trained.saved.model, trained.batch.rows(rows.repeat(2)))
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
        for player in trained.players(model):
            terms = player.terms(model, p, trained.saved.clock)
            for name in (name for name, weight in terms.weights.items() if weight > 0):
                names.add(f"{player.name}/{name}")
                gradients = torch.autograd.grad(
                    terms.raw[name].sum(), player.parameters, retain_graph=True, allow_unused=True
                )
                if any(bool(gradient.any()) for gradient in gradients if gradient is not None):
                    moving.add(f"{player.name}/{name}")
    assert names
    assert moving == names


def test_gradients_reach_every_parameter_of_their_player_and_no_other(trained: Trained) -> None:
    model = trained.model.train()
    players = trained.players(model)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    p = model(trained.batch, num_samples=model.objective.num_samples)
    for player in players:
        with alone(player, players):
            player.terms(model, p, trained.saved.clock).total().mean().backward()
        for other in players:
            for parameter in other.parameters:
                reached = parameter.grad is not None and bool(parameter.grad.any())
                assert reached == (other is player), f"{names[id(parameter)]} after the turn of {player.name}"
        model.zero_grad(set_to_none=True)


def test_every_trainable_parameter_belongs_to_one_player(trained: Trained) -> None:
    model = trained.model
    players = trained.players(model)
    check_ownership(model, players)
    owned = [id(parameter) for player in players for parameter in player.parameters]
    assert sorted(owned) == sorted(id(parameter) for parameter in model.parameters() if parameter.requires_grad)


def test_the_loss_falls(trained: Trained) -> None:
    torch.manual_seed(0)
    begun = assemble(trained.saved.config, trained.saved.spec)
    rows = trained.splits.train.batch(torch.arange(256))
    losses = []
    for model in (begun, trained.saved.model):
        with evaluation_mode(model), torch.no_grad():
            losses.append(float(model.terms(model(rows), trained.saved.clock).total().mean()))
    before, after = losses
    assert after < before - 0.02 * abs(before)


def test_the_saved_model_gives_the_numbers_of_the_run(trained: Trained) -> None:
    saved, test = trained.saved, trained.splits.test
    evaluator = Evaluator(
        saved.model, metrics_of(saved.modality.metrics, saved.config["metrics"]), seed=saved.config["seed"]
    )
    batches = [test.batch(index) for index in torch.arange(len(test)).split(saved.config["batch_size"])]
    assert measure(evaluator, batches, saved.clock, saved.device) == trained.run.metrics


def test_evaluation_repeats_itself(trained: Trained) -> None:
    saved, x = trained.saved, trained.batch
    for use in (saved.encode, saved.reconstruct, saved.score):
        first = use(x)
        torch.rand(3)
        assert torch.equal(use(x), first)
    assert torch.equal(saved.sample(3, seed=1), saved.sample(3, seed=1))
    assert not any(module.training for module in saved.model.modules())
