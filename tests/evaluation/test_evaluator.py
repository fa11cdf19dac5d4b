from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from aeframe.batch import Batch, Clock
from aeframe.errors import AeframeError
from aeframe.evaluation.evaluator import Evaluator, evaluation_mode, measure, metrics_of
from aeframe.noise import EVALUATION, noise_of

VAE = {"latent": {"name": "gaussian", "dim": 3}, "objective": {"name": "elbo", "beta": 4.0}}
AAE = {"objective": "adversarial"}
CLOCK = Clock(batch=10, planned=10)
CPU = torch.device("cpu")


def data(num: int = 37, shape: tuple[int, ...] = (6,)) -> Tensor:
    return torch.randn(num, *shape, generator=torch.Generator().manual_seed(3))


def evaluated(model: Any, x: Tensor, sizes: list[int], seed: int = 0, **metrics: Any) -> dict[str, float]:
    evaluator = Evaluator(model, metrics, seed=seed)
    return measure(evaluator, (Batch(part) for part in x.split(sizes)), CLOCK, CPU)


def test_the_terms_are_means_over_samples_of_one_draw(make_model: Any) -> None:
    model, x = make_model(**VAE), data()
    found = evaluated(model, x, [37])
    model.eval()
    with torch.no_grad(), noise_of(CPU, 0, EVALUATION, 0):
        p = model(Batch(x), sample=True)
    posterior = p.latent.posterior
    kl = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0, 1)).sum(1)
    error = (p.output[:, 0] - x).square().sum(1)
    assert found["kl"] == pytest.approx(kl.double().mean().item(), rel=1e-6)
    assert found["reconstruction"] == pytest.approx(error.double().mean().item(), rel=1e-6)
    assert found["bound"] == pytest.approx((error + kl).double().mean().item(), rel=1e-6)
    assert found["loss"] == pytest.approx((error + 4 * kl).double().mean().item(), rel=1e-6)


def test_metrics_see_the_mean_and_terms_see_a_draw(make_model: Any) -> None:
    model, x = make_model(**VAE), data()
    found = evaluated(model, x, [37], mse={})
    with torch.no_grad():
        by_mean = model.eval()(Batch(x), sample=False)
    assert found["mse"] == pytest.approx((by_mean.output[:, 0] - x).square().mean().item(), rel=1e-6)
    assert found["reconstruction"] / 6 != pytest.approx(found["mse"], rel=1e-3)


def test_terms_and_metrics_are_of_samples_corrupted_alike(make_model: Any) -> None:
    model, x = make_model(**VAE, corruption={"name": "gaussian", "std": 2.0}), data()
    model.corruption.in_evaluation = True
    found = evaluated(model, x, [37], mse={})
    with torch.no_grad(), noise_of(CPU, 0, EVALUATION, 0):
        by_mean = model.eval()(Batch(x), sample=False)
    assert found["mse"] == pytest.approx((by_mean.output[:, 0] - x).square().mean().item(), rel=1e-6)
    assert evaluated(model, x, [37], mse={}) == found


@pytest.mark.parametrize("sizes", [[37], [30, 7], [1] * 37, [5, 32]])
def test_a_deterministic_model_does_not_feel_how_the_data_are_cut(make_model: Any, sizes: list[int]) -> None:
    model, x = make_model(), data()
    whole = evaluated(model, x, [37], mse={}, mae={}, explained_variance={})
    assert evaluated(model, x, sizes, mse={}, mae={}, explained_variance={}) == pytest.approx(whole, rel=1e-6)


def test_an_evaluation_repeats_itself_and_leaves_the_noise_alone(make_model: Any) -> None:
    model, x = make_model(**VAE), data()
    state = torch.get_rng_state()
    first = evaluated(model, x, [20, 17])
    assert torch.equal(torch.get_rng_state(), state)
    torch.randn(5)
    assert evaluated(model, x, [20, 17]) == first
    assert evaluated(model, x, [20, 17], seed=1)["reconstruction"] != first["reconstruction"]


def test_a_second_player_stands_behind_its_name(make_model: Any) -> None:
    model, x = make_model(**AAE), data()
    found = evaluated(model, x, [37])
    assert {"reconstruction", "adversarial", "loss", "bound"} <= set(found)
    assert found["discriminator/loss"] == pytest.approx(
        found["discriminator/real"] + found["discriminator/fake"], rel=1e-6
    )
    assert found == evaluated(model, x, [37])


def test_a_penalty_that_differentiates_is_measured(make_model: Any) -> None:
    model, x = make_model(penalties={"contractive": {"weight": 0.5}}), data()
    found = evaluated(model, x, [37])
    assert found["contractive"] > 0
    assert found["loss"] == pytest.approx(found["reconstruction"] + 0.5 * found["contractive"], rel=1e-6)


def test_what_does_not_apply_is_left_out(make_model: Any) -> None:
    point = Evaluator(make_model(), metrics_of(["mse"], {"mae": {}}), seed=0)
    assert list(point.metrics) == ["mse", "mae"]
    vae = Evaluator(make_model(**VAE), metrics_of(["mse"], {"mse": None}), seed=0)
    assert list(vae.metrics) == ["active_units", "aggregate_posterior"]


def test_nothing_of_the_model_is_in_the_evaluator(make_model: Any) -> None:
    class Holder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = make_model()
            self.evaluator = Evaluator(self.model, {"mse": {}, "explained_variance": {}}, seed=0)

    holder = Holder()
    assert list(holder.evaluator.parameters()) == []
    holder.evaluator.update(Batch(data()), CLOCK, 0)
    assert all(name.startswith("model.") for name in holder.state_dict())


def test_the_model_is_measured_in_evaluation_and_keeps_its_modes(make_model: Any) -> None:
    model = make_model(corruption="masking", encoder={"name": "mlp", "hidden": [16], "dropout": 0.5})
    model.train()
    model.decoder.eval()
    modes = [module.training for module in model.modules()]
    evaluator = Evaluator(model, {}, seed=0)
    evaluator.update(Batch(data()), CLOCK, 0)
    assert [module.training for module in model.modules()] == modes
    with evaluation_mode(model), torch.no_grad():
        clean = model(Batch(data())).reconstruction.mean()
    assert evaluator.compute()["reconstruction"] == pytest.approx(clean.item(), rel=1e-6)


def test_reset_forgets_sums_and_names(make_model: Any) -> None:
    schedule = {"name": "step", "value": 1.0, "factor": 0.0, "at": (5.0,)}
    model, x = make_model(latent=VAE["latent"], objective={"name": "elbo", "free_bits": schedule}), data()
    evaluator = Evaluator(model, {"mse": {}}, seed=0)
    evaluator.update(Batch(x), Clock(batch=0, planned=10), 0)
    assert "kl_free_bits" in evaluator.compute()
    evaluator.reset()
    evaluator.update(Batch(x), CLOCK, 0)
    after = evaluator.compute()
    assert "kl_free_bits" not in after
    fresh = Evaluator(model, {"mse": {}}, seed=0)
    fresh.update(Batch(x), CLOCK, 0)
    assert after == fresh.compute()


def test_nothing_evaluated_is_said(make_model: Any) -> None:
    with pytest.raises(AeframeError) as error:
        Evaluator(make_model(), {}, seed=0).compute()
    assert str(error.value) == "nothing was evaluated: the split has no batch; give it at least one sample"


def test_two_measurements_of_one_name_are_refused(make_model: Any) -> None:
    evaluator = Evaluator(make_model(), {"loss": {"name": "mse"}}, seed=0)
    evaluator.update(Batch(data()), CLOCK, 0)
    with pytest.raises(AeframeError) as error:
        evaluator.compute()
    assert str(error.value) == (
        "metric 'loss' gives 'loss', which is measured already; leave one out with metrics.loss=null"
    )


def _share(rank: int, port: int, results: Any) -> None:
    import torch.distributed as dist

    from aeframe.assembly import assemble
    from aeframe.batch import DataSpec, Domain

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    torch.manual_seed(1)
    config = {"encoder": {"name": "mlp", "hidden": [16]}, "latent": {"name": "point", "dim": 3}, "loss": "mse"}
    model = assemble(config, DataSpec((6,), Domain("real")))
    x = data()
    found = evaluated(model, x[:20] if rank == 0 else x[20:], [10] * 2 if rank == 0 else [17], explained_variance={})
    results[rank] = found
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_add_up_to_one(make_model: Any) -> None:
    import socket

    import torch.multiprocessing as mp

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with mp.Manager() as manager:
        results = manager.dict()
        mp.start_processes(_share, (port, results), nprocs=2, start_method="fork")
        both = dict(results)
    alone = evaluated(make_model(), data(), [37], explained_variance={})
    assert both[0] == both[1] == pytest.approx(alone, rel=1e-6)
    assert not math.isnan(alone["explained_variance"])
