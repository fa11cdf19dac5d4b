"""The strategies ``ddp`` and ``fsdp2`` on two processes, which run all checks of this file in one go."""

from __future__ import annotations

import warnings
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn

from aeframe.errors import AeframeError, ReportedError
from aeframe.testing.strategies import in_two_processes, largest_difference, train_one_batch
from aeframe.training.averaging import WeightAverage
from aeframe.training.checkpoint import read_checkpoint
from aeframe.training.metric_buffer import MetricBuffer, NonFiniteLossError
from aeframe.training.module import AutoencoderModule
from aeframe.training.processes import joined_processes
from aeframe.training.sharding import check_shardable
from aeframe.training.strategies import make_strategy
from aeframe.training.trainer import make_trainer
from aeframe.training.warning_filters import quiet_lightning
from aeframe.types import Batch, LossTerms, TrainingProgress

from .conftest import make_data, make_module

# Critics, codes that k-means sets in place, derivatives inside a loss, noise in the latent, weights of several parts,
# numbers that a latent measures on the batch.
RECIPES = ("vae_gan", "simvq_vae", "rhvae", "contractive_ae", "gated_sae", "jumprelu_sae")
TOLERANCE = 1e-5


def test_private_names_are_those_of_this_version_of_torch() -> None:
    assert torch.__version__.startswith("2.13"), "check aeframe/training/sharding.py against this version"


# -- whole fits: clipping, two batches in a step, the average of the weights, and resuming ----------------------------


class GradientNorms(Callback):
    """Store the gradient norm of each term that was logged."""

    def __init__(self) -> None:
        self.found: dict[str, float] = {}

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        logged = trainer.logged_metrics
        self.found |= {name: float(value) for name, value in logged.items() if "gradient_norm" in name}


def fit(
    folder: Path, devices: int, *, epochs: int, resume: Path | None = None
) -> tuple[AutoencoderModule, dict[str, float]]:
    """Train an autoencoder with a critic, and save a checkpoint after each epoch."""
    module = make_module("aae", clip=0.05, accumulate=2, gradient_norms=True, lr_factors={"encoder": 0.5})
    norms = GradientNorms()
    settings = {"accelerator": "cpu", "devices": devices, "strategy": "fsdp2", "timeout": 120.0}
    arguments = {"max_epochs": epochs, "log_every_n_steps": 1}
    callbacks = [WeightAverage(0.9), norms, Saved(folder)]
    trainer = make_trainer(settings, folder=folder, model=module.model, callbacks=callbacks, **arguments)
    # The last batch of an epoch has four rows, which two devices share equally.
    data = make_data()
    with quiet_lightning():
        trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=True)
    return module, norms.found


class Saved(Callback):
    """Write a checkpoint after each epoch, after the average was updated."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        trainer.save_checkpoint(self.folder / f"epoch{pl_module.progress.epoch}.ckpt")


# -- what each process does --------------------------------------------------------------------------------------------


def message_of_bad_row(rank: int) -> str:
    """Return the error for a loss that is not finite in one row of the second process."""
    values = torch.ones(4)
    if rank == 1:
        values[2] = float("nan")
    batch = Batch(torch.zeros(4, 1), index=torch.arange(4) + 10 * rank)
    buffer = MetricBuffer(lambda *_: None)
    buffer.add("", "autoencoder", LossTerms().add("reconstruction", values), TrainingProgress(batch=7), batch)
    with pytest.raises(NonFiniteLossError) as caught:
        buffer.flush()
    return str(caught.value)


def message_of_fault(rank: int, folder: Path) -> tuple[str, str]:
    """Return type and message of the error, where the second process fails and the first one waits for it."""
    trainer = make_trainer({"accelerator": "cpu", "devices": 2, "strategy": "ddp"}, folder=folder)
    try:
        with joined_processes(trainer, make_module(), {"timeout": 60.0}):
            if rank == 1:
                raise KeyError("the cause")
            torch.distributed.barrier()
    except Exception as error:  # noqa: BLE001 -- its type is the result
        return type(error).__name__, str(error)
    return "", ""


def run_rank(rank: int, folder: Path) -> None:
    # A warning would be an error here, but only Lightning's are expected.
    warnings.simplefilter("ignore")
    found: dict[str, Any] = {}
    for recipe in RECIPES:
        for strategy in ("ddp", "fsdp2"):
            found[f"{recipe} {strategy}"] = train_one_batch(recipe, strategy, 2, folder)
    module, norms = fit(folder / "two", 2, epochs=1)
    found |= {"norms": norms, "sharded": any(type(p) is not nn.Parameter for p in module.parameters())}
    found["resumed on two"] = fit(folder / "again", 2, epochs=2, resume=folder / "one" / "epoch0.ckpt")[0].state_dict()
    found["bad row"] = message_of_bad_row(rank)
    found["fault"] = message_of_fault(rank, folder)
    torch.save(found, folder / f"{rank}.pt")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Return what both processes found, and two epochs on one process."""
    folder = tmp_path_factory.mktemp("pair")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one, _ = fit(folder / "one", 1, epochs=2)
        _, norms = fit(folder / "short", 1, epochs=1)
        in_two_processes(run_rank, folder)
        resumed, _ = fit(folder / "resumed", 1, epochs=2, resume=folder / "two" / "epoch0.ckpt")
    ranks = [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]
    return SimpleNamespace(folder=folder, ranks=ranks, one=one.state_dict(), norms=norms, resumed=resumed.state_dict())


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_step_on_two_devices_is_that_on_one(recipe: str, strategy: str, results: Any, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one = train_one_batch(recipe, "auto", 1, tmp_path)
    for found in results.ranks:
        assert largest_difference(one, found[f"{recipe} {strategy}"]) <= TOLERANCE


def test_a_sharded_fit_resumes_on_one_device_and_one_of_a_single_device_is_sharded(results: Any) -> None:
    assert largest_difference(results.one, results.resumed) <= TOLERANCE
    for found in results.ranks:
        assert largest_difference(results.one, found["resumed on two"]) <= TOLERANCE


def test_a_sharded_checkpoint_is_that_of_one_device(results: Any) -> None:
    one, two = (read_checkpoint(results.folder / name / "epoch0.ckpt") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for key in ("state_dict", "current_model_state"):
        assert largest_difference(one[key], two[key]) <= TOLERANCE
    for expected, found in zip(one["optimizer_states"], two["optimizer_states"], strict=True):
        assert expected["param_groups"] == found["param_groups"]
        assert expected["state"].keys() == found["state"].keys()
        for number, state in expected["state"].items():
            assert largest_difference(state, found["state"][number]) <= TOLERANCE


def test_gradient_norms_of_terms_are_those_of_one_device(results: Any) -> None:
    assert len(results.norms) >= 4
    for found in results.ranks:
        assert found["norms"] == pytest.approx(results.norms, rel=1e-4)


def test_parameters_are_ordinary_ones_after_a_sharded_fit(results: Any) -> None:
    assert [found["sharded"] for found in results.ranks] == [False, False]


def test_an_error_of_a_loss_names_the_rows_and_their_device_on_all_devices(results: Any) -> None:
    expected = (
        "training stopped: term 'reconstruction' of optimizer group 'autoencoder' is nan at batch 7, in row 12 of rank "
        "1; lower optimizer.lr, set clip=1.0, or look at the data of that batch"
    )
    assert [found["bad row"] for found in results.ranks] == [expected, expected]


def test_the_first_process_names_the_one_that_failed_and_why(results: Any) -> None:
    (first, message), (second, cause) = (found["fault"] for found in results.ranks)
    assert (first, second, cause) == ("AeframeError", "KeyError", "'the cause'")
    assert message.startswith("rank 1 of 2 on host '")
    assert "' ended the run: KeyError: 'the cause', in test_strategies.py:" in message


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {"precision": "16-mixed"},
            "trainer.strategy=fsdp2 does not support trainer.precision=16-mixed; set trainer.precision=bf16-mixed",
        ),
        (
            {"sync_batchnorm": True},
            "trainer.strategy=fsdp2 does not support trainer.sync_batchnorm=True; leave it out, or set "
            "trainer.strategy=ddp",
        ),
    ],
)
def test_what_fsdp2_does_not_support_is_an_error(settings: dict[str, Any], expected: str) -> None:
    arguments = {"strategy": "fsdp2", "accelerator": "cpu", "devices": 2, **settings}
    with pytest.raises(AeframeError) as caught:
        make_strategy(arguments, model=None, timeout=timedelta(seconds=1))
    assert str(caught.value) == expected


def test_a_parameter_without_dimensions_cannot_be_sharded() -> None:
    module = nn.Linear(2, 2)
    module.scale = nn.Parameter(torch.ones(()))
    with pytest.raises(AeframeError, match=r"cannot shard the parameter 'scale', which has no dimension"):
        check_shardable(module)


def test_a_host_that_cannot_be_resolved_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aeframe.training.first_process._RESOLVE_SECONDS", 0.0)
    monkeypatch.setenv("MASTER_ADDR", "no-such-host.invalid")
    trainer = make_trainer({"accelerator": "cpu", "devices": 1, "num_nodes": 2}, folder=tmp_path)
    with (
        pytest.raises(AeframeError, match=r"^host 'no-such-host.invalid' of the first process cannot be resolved"),
        joined_processes(trainer, make_module(), {"timeout": 1.0}),
    ):
        pass


def test_processes_that_do_not_come_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    settings = {"accelerator": "cpu", "devices": 1, "num_nodes": 2, "timeout": 1.0}
    trainer = make_trainer(settings, folder=tmp_path)
    with (
        pytest.raises(
            AeframeError, match=r"did not meet the other processes at 127.0.0.1:\d+ within trainer.timeout=1 "
        ),
        joined_processes(trainer, make_module(), settings),
    ):
        pass


def test_a_reported_error_is_an_error_of_the_user() -> None:
    assert issubclass(ReportedError, AeframeError)
