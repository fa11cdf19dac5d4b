"""The one training step: several batches a call change nothing, and a run that goes on is the same run."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from aeframe.assembly import assemble
from aeframe.batch import Batch, Clock, DataSpec, Domain
from aeframe.data.datamodule import DataModule
from aeframe.data.memory import TensorSource
from aeframe.data.modality import Splits
from aeframe.errors import AeframeError
from aeframe.evaluation.evaluator import Evaluator
from aeframe.training.gate import NonFiniteLossError
from aeframe.training.module import AutoencoderModule
from aeframe.training.trainer import make_trainer

SPEC = DataSpec((12,), Domain("unit"))
ROWS, BATCH, EPOCH = 100, 16, 7  # six whole batches, and one of four rows

RECIPES: dict[str, dict[str, Any]] = {
    "vae": {"latent": {"name": "gaussian", "dim": 3}, "objective": "elbo"},
    "vqvae": {
        "latent": {"name": "vq", "dim": 2, "codebook_size": 8, "tokens": 4, "kmeans_init": True, "revive": 0.5},
        "objective": "deterministic",
    },
    "aae": {"latent": {"name": "point", "dim": 3}, "objective": "adversarial"},
    "contractive": {"latent": {"name": "point", "dim": 3}, "penalties": {"contractive": {"weight": 0.1, "probes": 2}}},
}


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(1)


def rows() -> Tensor:
    return torch.rand(ROWS, 12, generator=torch.Generator().manual_seed(7))


def run(
    folder: Path,
    recipe: str = "vae",
    *,
    planned: int = 4 * EPOCH,
    steps_per_call: int = 1,
    resume: bool = False,
    x: Tensor | None = None,
    **options: Any,
) -> AutoencoderModule:
    torch.manual_seed(0)
    config = {"encoder": {"name": "mlp", "hidden": [16]}, "loss": "mse", "corruption": "gaussian", **RECIPES[recipe]}
    model = assemble(config, SPEC)
    clock = Clock(planned=planned)
    x = rows() if x is None else x
    splits = Splits(TensorSource(x), TensorSource(x[:20]), TensorSource(x[:20]))
    data = DataModule(splits, batch_size=BATCH, seed=3, clock=clock, steps_per_call=steps_per_call)
    rate = {"name": "linear", "start": 1e-2, "end": 0.0, "over": 4 * EPOCH}
    module = AutoencoderModule(
        model,
        clock=clock,
        batches_per_epoch=data.batches_per_epoch(),
        evaluator=Evaluator(model, {"mse": {}}, seed=3),
        **{"optimizer": {"name": "adam", "lr": rate}, "ema": 0.9, "clip": 1.0, "seed": 3, **options},
    )
    settings = {
        "accelerator": "cpu",
        "devices": 1,
        "num_nodes": 1,
        "strategy": "auto",
        "precision": "32-true",
        "allocator": False,
        "threads": 1,
    }
    trainer = make_trainer(
        settings,
        checkpoints=folder,
        callbacks=[],
        patience=None,
        several_players=bool(model.opponents()),
    )
    trainer.fit(module, datamodule=data, ckpt_path=folder / "last.ckpt" if resume else None, weights_only=True)
    return module


def everything(module: AutoencoderModule) -> dict[str, Tensor]:
    """Every tensor that a run leaves behind: weights, buffers, their average, and what the optimisers keep."""
    state = dict(module.model.state_dict())
    assert module.average is not None
    state |= {f"average/{name}": value for name, value in module.average.state_dict().items()}
    for player in module._players:
        for index, kept in player.optimizer.state_dict()["state"].items():
            state |= {f"{player.name}/{index}/{name}": torch.as_tensor(value) for name, value in kept.items()}
    return state


def assert_same(a: AutoencoderModule, b: AutoencoderModule) -> None:
    first, second = everything(a), everything(b)
    assert list(first) == list(second)
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


@pytest.mark.parametrize("recipe", list(RECIPES))
def test_several_batches_in_a_call_give_the_same_bits(recipe: str, tmp_path: Path) -> None:
    one = run(tmp_path / "one", recipe, planned=2 * EPOCH)
    several = run(tmp_path / "several", recipe, planned=2 * EPOCH, steps_per_call=4)
    assert one.clock == Clock(batch=2 * EPOCH, epoch=2, batch_in_epoch=0, planned=2 * EPOCH)
    assert_same(one, several)


@pytest.mark.parametrize("recipe", list(RECIPES))
@pytest.mark.parametrize("first", [2 * EPOCH, 2 * EPOCH + 3], ids=["between epochs", "within an epoch"])
def test_a_run_that_goes_on_is_the_same_run(recipe: str, first: int, tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", recipe)
    run(tmp_path / "parts", recipe, planned=first, steps_per_call=2)
    parts = run(tmp_path / "parts", recipe, steps_per_call=3, resume=True)
    assert parts.clock == whole.clock
    assert_same(whole, parts)


def test_evaluation_does_not_move_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = run(tmp_path / "plain", planned=2 * EPOCH)
    update = Evaluator.update

    def draw_and_update(self: Evaluator, batch: Batch, clock: Clock, index: int) -> None:
        torch.randn(17)
        update(self, batch, clock, index)

    monkeypatch.setattr(Evaluator, "update", draw_and_update)
    assert_same(plain, run(tmp_path / "drawn", planned=2 * EPOCH))


def test_another_seed_is_another_run(tmp_path: Path) -> None:
    a, b = run(tmp_path / "a", planned=EPOCH), run(tmp_path / "b", planned=EPOCH, seed=4)
    assert not torch.equal(next(a.model.parameters()), next(b.model.parameters()))


def test_a_run_ends_at_the_planned_batch_wherever_that_is(tmp_path: Path) -> None:
    module = run(tmp_path, planned=EPOCH + 2, steps_per_call=4)
    assert module.clock == Clock(batch=EPOCH + 2, epoch=1, batch_in_epoch=2, planned=EPOCH + 2)
    assert module.trainer.global_step == EPOCH + 2


def test_lightnings_step_is_our_batch_with_two_players(tmp_path: Path) -> None:
    module = run(tmp_path, "aae", planned=EPOCH)
    assert module.trainer.global_step == EPOCH
    assert (tmp_path / "best.ckpt").is_file()


def test_a_loss_that_is_not_finite_ends_the_run_before_a_checkpoint_of_it_is_written(tmp_path: Path) -> None:
    x = rows()
    x[50, 3] = float("nan")
    with pytest.raises(NonFiniteLossError, match=r"term 'reconstruction' of player 'autoencoder' is nan at batch \d"):
        run(tmp_path, x=x, log_every=1)
    assert not (tmp_path / "best.ckpt").exists()


def test_a_checkpoint_opens_without_pickle_and_holds_plain_values(tmp_path: Path) -> None:
    run(tmp_path, planned=EPOCH, config={"latent": {"name": "gaussian", "dim": 3}})
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert checkpoint["aeframe"]["clock"] == {"batch": 7, "epoch": 1, "batch_in_epoch": 0, "planned": 7, "rows": 0}
    assert checkpoint["aeframe"]["config"] == {"latent": {"name": "gaussian", "dim": 3}}


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    module = run(tmp_path, planned=EPOCH)
    with pytest.raises(AeframeError, match=r"^this checkpoint was not written by aeframe: it has no clock"):
        module.on_load_checkpoint({"state_dict": {}})


def test_the_weights_after_validation_are_those_before_it(tmp_path: Path) -> None:
    module = run(tmp_path, planned=EPOCH)
    assert module.average is not None
    assert not module.average.swapped
    last = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    name, weight = next(iter(module.model.named_parameters()))
    torch.testing.assert_close(last[f"model.{name}"], weight.detach())
    assert not torch.equal(module.average.state_dict()[name], weight)
