"""The rules of the advice on both sides of their thresholds, on measurements made by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from aeframe.evaluation.advice import ILLNESSES, MOST, Evidence, advise, looked_at
from aeframe.evaluation.advice.finding import EXPLAINS, SEVERITIES
from aeframe.evaluation.measurement import Measurement

CONFIG: dict[str, Any] = {
    "model": {"name": "vae"},
    "modality": {"name": "vector", "scale": "none"},
    "corruption": {"name": "none"},
    "encoder": {"name": "mlp", "hidden": [32], "dropout": 0.0},
    "latent": {"name": "gaussian", "dim": 4},
    "loss": {"name": "mse", "activation": None},
    "objective": {"name": "elbo", "beta": 1.0, "free_bits": 0.0, "capacity": None},
    "sampler": {"name": "prior"},
    "optimizer": {"name": "adam", "lr": 1e-3, "weight_decay": 0},
    "monitor": "bound",
    "max_epochs": 50,
    "max_batches": None,
}
# An exponential curve: 2 % of its fall is in the last quarter.
CONVERGED = [10 + 30 * math.exp(-8 * epoch / 40) for epoch in range(40)]


def evidence(
    curves: dict[tuple[str, str], list[float]] | None = None, config: dict[str, Any] | None = None, **fields: Any
) -> Evidence:
    """Return the evidence of a run of 20 batches an epoch; `config` replaces parts."""
    rows = [
        Measurement(20 * (epoch + 1), epoch, split, name, value)
        for (split, name), values in (curves or {}).items()
        for epoch, value in enumerate(values)
    ]
    return Evidence({**CONFIG, **(config or {})}, measurements=rows, **{"num_test": 100, **fields})


def found(run: Evidence) -> dict[str, list[str]]:
    """Return the overrides of each alternative by the name of the illness, in order."""
    return {each.illness: [" ".join(remedy) for remedy in each.remedies] for each in advise(run)}


def curve(values: list[float], names: tuple[str, ...] = ("reconstruction", "bound", "loss")) -> dict[Any, Any]:
    return {(split, name): values for split in ("train_epoch", "val") for name in names}


def test_every_rule_has_a_severity_and_a_name_of_its_own() -> None:
    names = [illness.name for illness in ILLNESSES]
    assert sorted(names) == sorted(SEVERITIES)
    assert len(set(SEVERITIES.values())) == len(SEVERITIES)
    for name, others in EXPLAINS.items():
        assert all(SEVERITIES[name] > SEVERITIES[other] or name == "overfit" for other in others - {"overfit"})


def test_a_converged_run_has_no_advice() -> None:
    run = evidence(curve(CONVERGED), metrics={"kl": 5.0, "active_units": 4.0, "mse": 0.2, "mse_of_pca": 0.2})
    assert found(run) == {}
    assert looked_at(run) == [
        "jumps of the training loss", "the slope of the validation bound at the end", "validation beside training",
        "the epoch of the saved weights", "the error beside that of PCA", "KL and active units",
    ]  # fmt: skip


def test_a_run_without_measurements_has_been_looked_at_nowhere() -> None:
    assert (looked_at(evidence()), found(evidence())) == ([], {})


def test_a_loss_that_is_not_a_number() -> None:
    run = evidence({("train", "loss"): [3.0, math.nan], ("train", "lr/autoencoder"): [0.2, 0.2]})
    (only,) = advise(run)
    assert str(only) == (
        "the training loss is nan at batch 40 with optimizer.lr=0.2; try optimizer.lr=2e-2 or clip=1.0"
    )


@pytest.mark.parametrize(("jump", "is_found"), [(1.4, False), (1.6, True)])
def test_a_jump_of_the_training_loss(jump: float, is_found: bool) -> None:
    values = [20 - 0.4 * epoch for epoch in range(30)]
    values[20] = jump * values[19]
    assert ("rate_too_high" in found(evidence(curve(values)))) is is_found


def test_a_first_epoch_far_above_the_mean_sample() -> None:
    values = [7e3, *[30.0] * 20]
    assert found(evidence({**curve(values), ("val", "r2"): [-200.0, *[0.0] * 20]})) == {
        "rate_too_high": ["optimizer.lr=1e-4", "clip=1.0"]
    }
    # A large first epoch is no illness of a model that learns.
    assert found(evidence({**curve(values), ("val", "r2"): [-200.0, *[0.9] * 20]})) == {}


def test_a_bound_that_still_falls() -> None:
    line = [40 - 0.5 * epoch for epoch in range(40)]
    assert found(evidence(curve(line))) == {"rate_too_low": ["max_epochs=100"]}
    assert found(evidence(curve(line), {"max_batches": 300})) == {"rate_too_low": ["max_batches=600"]}
    slow = {"optimizer": {"name": "adam", "lr": 1e-5}}
    assert found(evidence(curve(line), slow)) == {"rate_too_low": ["optimizer.lr=1e-4"]}
    assert found(evidence(curve([40 - 1e-4 * epoch for epoch in range(40)]), slow)) == {
        "rate_too_low": ["optimizer.lr=1e-3"]
    }
    # Noise around a level has a slope too.
    noise = [40 + math.sin(7 * epoch) - 0.02 * epoch for epoch in range(40)]
    assert found(evidence(curve(noise))) == {}


def test_validation_that_rises() -> None:
    falls = [30 * math.exp(-epoch / 10) for epoch in range(40)]
    rises = [10 + 0.01 * (epoch - 10) ** 2 for epoch in range(40)]
    both = {("train_epoch", "reconstruction"): falls, ("val", "reconstruction"): rises}
    assert found(evidence(both)) == {"overfit": ["encoder.dropout=0.1", "optimizer.weight_decay=0.0001"]}
    # A rising weight of another term raises both.
    assert found(evidence({**both, ("train_epoch", "reconstruction"): rises})) == {}


def test_weights_of_an_early_epoch() -> None:
    rises = [20 + 0.1 * epoch for epoch in range(40)]
    run = evidence({("val", "bound"): rises, ("val", "loss"): CONVERGED, ("train_epoch", "loss"): CONVERGED})
    assert found(run) == {"wrong_monitor": ["monitor=loss"]}


def test_collapse() -> None:
    metrics = {"kl": 0.03, "active_units": 0.0, "mse": 0.9, "mse_of_pca": 0.2}
    # It explains the error.
    run = evidence(curve(CONVERGED), metrics=metrics)
    assert found(run) == {
        "posterior_collapse": ["objective.free_bits=0.5", "objective.beta={name: linear, end: 1, over: 0.3}"]
    }
    assert str(advise(run)[0]).startswith("the code holds no information about x (kl 0.03 nats, 0 active units): the ")
    assert "'objective.beta={name: linear, end: 1, over: 0.3}'" in str(advise(run)[0])
    heavy = {"objective": {**CONFIG["objective"], "beta": 40}}
    assert found(evidence(curve(CONVERGED), heavy, metrics=metrics))["posterior_collapse"][0] == "objective.beta=4"
    # After 7 epochs the code may not be trained yet.
    assert found(evidence(curve(CONVERGED[:7]), metrics=metrics))["posterior_collapse"] == ["max_epochs=100"]
    # A KL of 204 nats is no collapse, even if units were counted over two samples.
    assert found(evidence(curve(CONVERGED), metrics={"kl": 204.0, "active_units": 1.0})) == {}
    assert found(evidence(curve(CONVERGED), metrics={"kl": 204.0, "active_units": 0.0})) == {
        "posterior_collapse": ["max_epochs=100"]
    }


def test_an_error_far_above_that_of_pca() -> None:
    run = {"metrics": {"mse": 0.3, "mse_of_pca": 0.2}}
    assert found(evidence(curve(CONVERGED), **run)) == {"underfit": ["encoder.hidden=[64]"]}
    assert found(evidence(curve(CONVERGED[:20]), **run)) == {"underfit": ["max_epochs=100"]}
    conv = {"encoder": {"name": "conv", "channels": [16, 32]}}
    assert found(evidence(curve(CONVERGED), conv, **run)) == {"underfit": ["encoder.channels=[32,64]"]}
    # A KL term has its price.
    assert found(evidence(curve(CONVERGED), metrics={**run["metrics"], "kl": 3.0})) == {}


def test_outputs_at_a_bound() -> None:
    relu = {"loss": {"name": "mse", "activation": "relu"}}
    assert found(evidence(None, relu, diagnosis={"at_bound": 0.3}, domain="unit")) == {
        "saturated_output": ["loss.activation=sigmoid"]
    }
    assert found(evidence(None, relu, diagnosis={"at_bound": 0.01}, domain="unit")) == {}
    sigmoid = {"loss": {"name": "mse", "activation": "sigmoid"}}
    assert found(evidence(None, sigmoid, diagnosis={"at_bound": 0.3}, domain="unit")) == {
        "saturated_output": ["optimizer.lr=1e-4", "clip=1.0"]
    }


def test_one_element_with_all_the_variance() -> None:
    diagnosis = {"largest_variance": 0.999, "variance_ratio": 1e8}
    assert found(evidence(diagnosis=diagnosis, shape=(8,), domain="real")) == {
        "wrong_scale": ["modality.scale=standard"]
    }
    assert found(evidence(diagnosis=diagnosis, shape=(2,), domain="real")) == {}
    scaled = {"modality": {"name": "vector", "scale": "standard"}}
    assert found(evidence(None, scaled, diagnosis=diagnosis, shape=(8,), domain="real")) == {}


def test_codes_that_are_not_in_use() -> None:
    vq = {"latent": {"name": "vq", "codebook_size": 512, "revive": 0.0}}
    diagnosis = {"code_positions": 8.0}
    assert found(evidence(None, vq, metrics={"codebook_used": 0.02}, diagnosis=diagnosis)) == {
        "dead_codes": ["latent.revive=0.1", "latent.codebook_size=32"]
    }
    # Ten samples of one position show ten codes at most.
    assert found(evidence(None, vq, metrics={"codebook_used": 0.02}, num_test=10)) == {}


def test_features_of_a_sparse_code() -> None:
    size = {"code_size": 64.0}
    gated = {"latent": {"name": "gated", "dim": 64, "sparsity": 0.1}}
    dense = {"metrics": {"l0": 60.0, "dead": 0.0}, "diagnosis": size}
    assert found(evidence(None, gated, **dense)) == {"dense_code": ["latent.sparsity=1"]}
    targeted = {"latent": {"name": "gated", "dim": 64, "sparsity": 0.1, "target_l0": None}}
    assert found(evidence(None, targeted, **dense)) == {"dense_code": ["latent.target_l0=4 latent.sparsity=null"]}
    scheduled = {"latent": {"name": "gated", "dim": 64, "sparsity": {"name": "linear", "end": 0.05}}}
    assert found(evidence(None, scheduled, **dense)) == {"dense_code": ["latent.sparsity.end=0.5"]}
    topk = {"latent": {"name": "topk", "dim": 64, "k": 60, "auxk": 0}}
    assert found(evidence(None, topk, **dense)) == {"dense_code": ["latent.k=4"]}
    dead = {"metrics": {"l0": 4.0, "dead": 0.75}, "diagnosis": size}
    assert found(evidence(None, topk, **dead)) == {"dead_features": ["latent.auxk=0.03125", "latent.dim=16"]}
    # Ten samples cannot show 64 features.
    assert found(evidence(None, topk, **dead, num_test=10)) == {}


def test_the_size_of_a_code() -> None:
    wide = {"latent": {"name": "gaussian", "dim": 16}}
    kl = {f"kl/{number}": 1.0 if number <= 3 else 0.02 for number in range(1, 17)}
    run = {"metrics": {"kl": 3.3, "active_units": 16.0, **kl}, "diagnosis": {"code_size": 16.0}}
    assert found(evidence(None, wide, **run)) == {"unused_units": ["latent.dim=4"]}
    plain = {"objective": {"name": "deterministic"}, "latent": {"name": "point", "dim": 16}}
    copy = {"metrics": {"r2": 0.99}, "diagnosis": {"code_size": 16.0}}
    assert found(evidence(None, plain, shape=(12,), **copy)) == {"identity": ["latent.dim=3", "corruption=gaussian"]}
    assert found(evidence(None, plain, shape=(20,), **copy)) == {}
    assert found(evidence(None, {**plain, "corruption": {"name": "gaussian"}}, shape=(12,), **copy)) == {}


def test_codes_far_from_the_prior() -> None:
    assert found(evidence(diagnosis={"prior_kl": 0.3})) == {"prior_mismatch": ["sampler=gmm"]}
    assert found(evidence(diagnosis={"prior_kl": 0.03})) == {}
    # The metric is in nats of the whole code.
    assert found(evidence(metrics={"prior_gap": 4.0}, diagnosis={"code_size": 4.0})) == {
        "prior_mismatch": ["sampler=gmm"]
    }
    assert found(evidence(metrics={"prior_gap": 0.8}, diagnosis={"code_size": 4.0})) == {}
    assert found(evidence(None, {"sampler": {"name": "gmm"}}, diagnosis={"prior_kl": 0.3})) == {}


def test_a_critic_that_wins() -> None:
    config = {
        "critics": {"discriminator_x": {"name": "discriminator_x", "loss": "hinge"}},
        "optimizers": {"discriminator_x": {"optimizer": {"lr": 1e-2}, "every": 1}},
    }
    assert found(evidence({("val", "discriminator_x/loss"): [1.9, 0.1, 0.1, 0.1]}, config)) == {
        "critic_wins": ["optimizers.discriminator_x.optimizer.lr=1e-3", "optimizers.discriminator_x.every=2"]
    }
    assert found(evidence({("val", "discriminator_x/loss"): [1.9, 0.1, 1.1, 1.5]}, config)) == {}


def test_a_condition_without_effect() -> None:
    assert found(evidence(diagnosis={"condition_effect": 0.001})) == {"unused_condition": ["latent.dim=1"]}
    light = {"objective": {**CONFIG["objective"], "beta": 0.01}}
    assert found(evidence(None, light, diagnosis={"condition_effect": 0.001})) == {
        "unused_condition": ["objective.beta=1", "latent.dim=1"]
    }
    assert found(evidence(diagnosis={"condition_effect": 0.5})) == {}


def test_at_most_three_findings_the_most_severe_first() -> None:
    run = evidence(
        curve([40 - 0.5 * epoch for epoch in range(40)]),
        {"loss": {"name": "mse", "activation": "relu"}},
        domain="unit",
        metrics={"kl": 0.01},
        diagnosis={"at_bound": 0.3, "prior_kl": 0.9, "condition_effect": 0.0},
    )
    assert [each.illness for each in advise(run)] == ["saturated_output", "posterior_collapse", "rate_too_low"]
    assert MOST == 3
