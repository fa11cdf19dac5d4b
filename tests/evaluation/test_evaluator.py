from __future__ import annotations

import math
from functools import partial
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from torch import Tensor

from aeframe.data import DataModule, Splits, TensorSource
from aeframe.errors import AeframeError
from aeframe.evaluation.evaluator import Evaluator, evaluation_mode, measure, metrics_of
from aeframe.evaluation.metrics.reconstruction import MeanAbsoluteError
from aeframe.evaluation.reconstruction import decode_posterior
from aeframe.noise import EVALUATION, noise_of
from aeframe.training.module import AutoencoderModule
from aeframe.types import Batch, Latent, TrainingProgress

VAE = {"latent": {"name": "gaussian", "dim": 3}, "objective": {"name": "elbo", "beta": 4.0}}
AAE = {"objective": "adversarial", "critics": {"discriminator_z": {}}}
PROGRESS = TrainingProgress(batch=10, planned=10)
CPU = torch.device("cpu")


def data(num: int = 37, shape: tuple[int, ...] = (6,)) -> Tensor:
    return torch.randn(num, *shape, generator=torch.Generator().manual_seed(3))


def evaluated(model: Any, x: Tensor, sizes: list[int], seed: int = 0, **metrics: Any) -> dict[str, float]:
    evaluator = Evaluator(model, metrics, seed=seed)
    return measure(evaluator, (Batch(part) for part in x.split(sizes)), PROGRESS, CPU)


def test_terms_are_means_over_samples_of_z(make_model: Any) -> None:
    model, x = make_model(**VAE), data()
    values = evaluated(model, x, [37])
    model.eval()
    with torch.no_grad(), noise_of(CPU, 0, EVALUATION, 0):
        out = model(Batch(x), sample=True)
    posterior = out.latent.posterior
    kl = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0, 1)).sum(1)
    error = (out.output[:, 0] - x).square().sum(1)
    assert values["kl"] == pytest.approx(kl.double().mean().item(), rel=1e-6)
    assert values["reconstruction"] == pytest.approx(error.double().mean().item(), rel=1e-6)
    assert values["bound"] == pytest.approx((error + kl).double().mean().item(), rel=1e-6)
    assert values["loss"] == pytest.approx((error + 4 * kl).double().mean().item(), rel=1e-6)


def _decoded(model: Any, latent: Latent, batch: Batch) -> Tensor:
    return decode_posterior(model, latent, batch, lambda z: model.decode(z, batch))


def test_metrics_are_computed_at_the_mean_and_terms_from_samples(make_model: Any) -> None:
    model, x = make_model(**VAE), data()
    values = evaluated(model, x, [37], mse={})
    with torch.no_grad():
        at_mean = model.eval()(Batch(x), sample=False, decode=partial(_decoded, model))
    assert values["mse"] == pytest.approx((at_mean.output[:, 0] - x).square().mean().item(), rel=1e-6)
    assert values["reconstruction"] / 6 != pytest.approx(values["mse"], rel=1e-3)


def test_terms_and_metrics_are_of_samples_corrupted_alike(make_model: Any) -> None:
    model, x = make_model(**VAE, corruption={"name": "gaussian", "std": 2.0}), data()
    model.corruption.in_evaluation = True
    values = evaluated(model, x, [37], mse={})
    with torch.no_grad(), noise_of(CPU, 0, EVALUATION, 0):
        at_mean = model.eval()(Batch(x), sample=False, decode=partial(_decoded, model))
    assert values["mse"] == pytest.approx((at_mean.output[:, 0] - x).square().mean().item(), rel=1e-6)
    assert evaluated(model, x, [37], mse={}) == values


@pytest.mark.parametrize("sizes", [[37], [30, 7], [1] * 37, [5, 32]])
def test_values_of_a_deterministic_model_do_not_depend_on_the_batch_size(make_model: Any, sizes: list[int]) -> None:
    model, x = make_model(), data()
    whole = evaluated(model, x, [37], mse={}, mae={}, r2={})
    assert evaluated(model, x, sizes, mse={}, mae={}, r2={}) == pytest.approx(whole, rel=1e-6)


def test_an_evaluation_is_reproducible_and_restores_the_generator(make_model: Any) -> None:
    model, x = make_model(**VAE), data()
    state = torch.get_rng_state()
    first = evaluated(model, x, [20, 17])
    assert torch.equal(torch.get_rng_state(), state)
    torch.randn(5)
    assert evaluated(model, x, [20, 17]) == first
    assert evaluated(model, x, [20, 17], seed=1)["reconstruction"] != first["reconstruction"]


def test_terms_of_an_adversary_have_its_name_as_prefix(make_model: Any) -> None:
    model, x = make_model(**AAE), data()
    values = evaluated(model, x, [37])
    assert {"reconstruction", "adversarial", "loss", "bound"} <= set(values)
    assert values["discriminator_z/loss"] == pytest.approx(
        values["discriminator_z/real"] + values["discriminator_z/fake"], rel=1e-6
    )
    assert values == evaluated(model, x, [37])


def test_a_penalty_that_differentiates_is_measured(make_model: Any) -> None:
    model, x = make_model(penalties={"contractive": {"weight": 0.5}}), data()
    values = evaluated(model, x, [37])
    assert values["contractive"] > 0
    assert values["loss"] == pytest.approx(values["reconstruction"] + 0.5 * values["contractive"], rel=1e-6)


def test_metrics_that_do_not_apply_are_left_out(make_model: Any) -> None:
    point = Evaluator(make_model(), metrics_of(["mse"], {"mae": {}}), seed=0)
    assert list(point.metrics) == ["mse", "mae"]
    vae = Evaluator(make_model(**VAE), metrics_of(["mse"], {"mse": None}), seed=0)
    assert list(vae.metrics) == ["active_units", "aggregate_posterior", "prior_gap"]


def test_no_state_of_the_evaluator_is_in_a_checkpoint(make_model: Any) -> None:
    model = make_model()
    evaluator = Evaluator(model, {"mse": {}, "r2": {}}, seed=0)
    module = AutoencoderModule(model, callbacks=[evaluator])
    assert list(evaluator.metrics.parameters()) == []
    evaluator.update(Batch(data()), PROGRESS, 0)
    module.validation_step(Batch(data()), 0)
    assert all(name.startswith("model.") for name in module.state_dict())
    assert evaluator.state_dict() == {}


def test_the_model_is_evaluated_without_dropout_and_its_mode_restored(make_model: Any) -> None:
    model = make_model(corruption="masking", encoder={"name": "mlp", "hidden": [16], "dropout": 0.5})
    model.train()
    model.decoder.eval()
    modes = [module.training for module in model.modules()]
    evaluator = Evaluator(model, {}, seed=0)
    evaluator.update(Batch(data()), PROGRESS, 0)
    assert [module.training for module in model.modules()] == modes
    with evaluation_mode(model), torch.no_grad():
        clean = model(Batch(data())).reconstruction.mean()
    assert evaluator.compute()["reconstruction"] == pytest.approx(clean.item(), rel=1e-6)


def test_reset_clears_sums_and_names(make_model: Any) -> None:
    schedule = {"name": "step", "value": 1.0, "factor": 0.0, "at": (5.0,)}
    model, x = make_model(latent=VAE["latent"], objective={"name": "elbo", "free_bits": schedule}), data()
    evaluator = Evaluator(model, {"mse": {}}, seed=0)
    evaluator.update(Batch(x), TrainingProgress(batch=0, planned=10), 0)
    assert "kl_free_bits" in evaluator.compute()
    evaluator.reset()
    evaluator.update(Batch(x), PROGRESS, 0)
    after = evaluator.compute()
    assert "kl_free_bits" not in after
    fresh = Evaluator(model, {"mse": {}}, seed=0)
    fresh.update(Batch(x), PROGRESS, 0)
    assert after == fresh.compute()


def test_an_evaluation_without_a_batch_is_refused(make_model: Any) -> None:
    with pytest.raises(AeframeError) as error:
        Evaluator(make_model(), {}, seed=0).compute()
    assert str(error.value) == "nothing was evaluated: the split has no batch; add at least one sample"


def test_two_values_with_the_same_name_are_refused(make_model: Any) -> None:
    evaluator = Evaluator(make_model(), {"loss": {"name": "mse"}}, seed=0)
    evaluator.update(Batch(data()), PROGRESS, 0)
    with pytest.raises(AeframeError) as error:
        evaluator.compute()
    assert str(error.value) == (
        "metric 'loss' computes 'loss', which another metric or loss term is named; "
        "leave one out with metrics.loss=null"
    )


# -- as a callback -----------------------------------------------------------------------------------------------------


def validated(model: Any, x: Tensor, **metrics: Any) -> dict[str, float]:
    """Return what a Trainer measures in batches of 20 and 17."""
    module = AutoencoderModule(model, callbacks=[Evaluator(model, metrics)])
    splits = Splits(*(TensorSource(x) for _ in range(3)))
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "inference_mode": False}
    trainer = L.Trainer(accelerator="cpu", enable_checkpointing=False, **quiet)
    trainer.validate(module, datamodule=DataModule(splits, batch_size=20), verbose=False)
    trainer.test(module, datamodule=DataModule(splits, batch_size=20), verbose=False)
    assert module.measured["test"] == module.measured["val"]
    return module.measured["val"]


@pytest.mark.parametrize(
    "parts", [VAE, AAE, {"penalties": {"contractive": {"weight": 0.5}}}], ids=["vae", "aae", "contractive"]
)
def test_the_callback_and_a_plain_loop_agree(make_model: Any, parts: dict[str, Any]) -> None:
    metrics: dict[str, Any] = {"mse": {}, "mae": {}, "r2": {}}
    model, x = make_model(**parts), data()
    # Loss weights depend on the training progress, which is 0 here.
    evaluator = Evaluator(model, metrics)
    expected = measure(evaluator, (Batch(part) for part in x.split([20, 17])), TrainingProgress(), CPU)
    assert validated(model, x, **metrics) == expected


def test_sums_are_reset_before_a_second_evaluation(make_model: Any) -> None:
    model, x = make_model(**VAE), data()
    module = AutoencoderModule(model, callbacks=[evaluator := Evaluator(model, {"mse": {}})])
    splits = Splits(*(TensorSource(x) for _ in range(3)))
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    values = []
    for _ in range(2):
        trainer = L.Trainer(accelerator="cpu", enable_checkpointing=False, **quiet)
        trainer.validate(module, datamodule=DataModule(splits, batch_size=20), verbose=False)
        values.append(dict(module.measured["val"]))
    assert values[0] == values[1]
    assert list(evaluator.metrics) == ["mse"]


def test_a_metric_only_of_tests_is_left_out_of_validation(make_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MeanAbsoluteError, "test_only", True)
    model = make_model()
    module = AutoencoderModule(model, callbacks=[Evaluator(model, {"mse": {}, "mae": {}})])
    splits = Splits(*(TensorSource(data()) for _ in range(3)))
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = L.Trainer(accelerator="cpu", enable_checkpointing=False, **quiet)
    trainer.validate(module, datamodule=DataModule(splits, batch_size=20), verbose=False)
    trainer.test(module, datamodule=DataModule(splits, batch_size=20), verbose=False)
    assert "mae" not in module.measured["val"]
    assert module.measured["test"].keys() == {*module.measured["val"], "mae"}


def test_outputs_of_other_modules_are_ignored(make_model: Any) -> None:
    evaluator = Evaluator(make_model(), {"mse": {}})
    trainer, module = L.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu"), L.LightningModule()
    for outputs in (None, torch.zeros(1), {"loss": torch.zeros(1)}):
        evaluator.on_validation_batch_end(trainer, module, outputs, None, 0)
    assert all(metric.update_count == 0 for metric in evaluator._metrics())


# -- several processes -----------------------------------------------------------------------------------------------


def _share(rank: int, port: int, results: Any) -> None:
    import torch.distributed as dist

    from aeframe.model.assembly import assemble
    from aeframe.types import DataSpec, Domain

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    torch.manual_seed(1)
    config = {"encoder": {"name": "mlp", "hidden": [16]}, "latent": {"name": "point", "dim": 3}, "loss": "mse"}
    model = assemble(config, DataSpec((6,), Domain("real")))
    x = data()
    values = evaluated(model, x[:20] if rank == 0 else x[20:], [10] * 2 if rank == 0 else [17], r2={})
    results[rank] = values
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_agree_with_one(make_model: Any) -> None:
    import socket

    import torch.multiprocessing as mp

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with mp.Manager() as manager:
        results = manager.dict()
        mp.start_processes(_share, (port, results), nprocs=2, start_method="fork")
        both = dict(results)
    alone = evaluated(make_model(), data(), [37], r2={})
    assert both[0] == both[1] == pytest.approx(alone, rel=1e-6)
    assert not math.isnan(alone["r2"])


class _Stage:
    """What `Evaluator` reads of a Trainer and a module."""

    def __init__(self) -> None:
        self.device, self.measured = CPU, dict[str, dict[str, float]]()


def test_metrics_of_the_test_only_are_left_out_of_validation(make_model: Any) -> None:
    evaluator = Evaluator(make_model(**VAE), {"mse": {}, "mae": {}}, test_only=["mae"])
    stage: Any = _Stage()
    evaluator.on_validation_epoch_start(stage, stage)
    evaluator.update(Batch(data()), PROGRESS, 0)
    evaluator.on_validation_epoch_end(stage, stage)
    evaluator.on_test_epoch_start(stage, stage)
    evaluator.update(Batch(data()), PROGRESS, 0)
    evaluator.on_test_epoch_end(stage, stage)
    assert stage.measured["val"].keys() == {"mse"}
    assert stage.measured["test"].keys() == {"mse", "mae"}


def test_an_unknown_metric_of_the_test_only(make_model: Any) -> None:
    with pytest.raises(AeframeError) as caught:
        Evaluator(make_model(), {"mse": {}, "mae": None}, test_only=["mase"])
    assert str(caught.value) == (
        "test_only names the metric 'mase', which this run does not compute, did you mean 'mse'?; add it with "
        "metrics.mase={}, or leave it out of test_only"
    )
