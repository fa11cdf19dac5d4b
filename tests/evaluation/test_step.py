"""Evaluation of one held-out batch: terms, output at the mean, restored state."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from aeframe.evaluation.reconstruction import decode_posterior
from aeframe.evaluation.step import evaluate_batch, evaluation_mode
from aeframe.model.autoencoder import Autoencoder
from aeframe.noise import EVALUATION, noise_of
from aeframe.types import Batch, ForwardOutput, Latent, TrainingProgress

PROGRESS = TrainingProgress(batch=10, planned=10)
CPU = torch.device("cpu")
VAE = {"latent": {"name": "gaussian", "dim": 3}, "objective": {"name": "elbo", "beta": 4.0}}


def rows() -> Tensor:
    return torch.randn(9, 6, generator=torch.Generator().manual_seed(3))


def at_mean_of(model: Autoencoder, batch: Batch, *, seed: int) -> ForwardOutput:
    """Return the forward output at the mean, with draws of the units of the code that are hardly used."""

    def decode(latent: Latent, rows: Batch) -> Tensor:
        return decode_posterior(model, latent, rows, lambda z: model.decode(z, rows), seed=seed)

    output: ForwardOutput = model(batch, sample=False, decode=decode)
    return output


def test_terms_have_one_value_for_each_sample(make_model: Any) -> None:
    output = evaluate_batch(make_model(**VAE), Batch(rows()), PROGRESS, seed=0, index=0)
    assert set(output.terms) == {"reconstruction", "kl", "loss", "bound"}
    assert all(value.shape == (9,) and not value.requires_grad for value in output.terms.values())
    expected = output.terms["reconstruction"] + 4 * output.terms["kl"]
    torch.testing.assert_close(output.terms["loss"], expected)
    torch.testing.assert_close(output.terms["bound"], output.terms["reconstruction"] + output.terms["kl"])


def test_terms_of_an_adversary_have_its_name_as_prefix(make_model: Any) -> None:
    output = evaluate_batch(
        make_model(objective="adversarial", critics={"discriminator_z": {}}), Batch(rows()), PROGRESS, seed=0, index=0
    )
    critic_terms = {name for name in output.terms if name.startswith("discriminator_z/")}
    assert critic_terms == {"discriminator_z/real", "discriminator_z/fake", "discriminator_z/loss"}


def test_samples_are_a_function_of_seed_and_index(make_model: Any) -> None:
    model, batch = make_model(**VAE), Batch(rows())
    first = evaluate_batch(model, batch, PROGRESS, seed=1, index=2).terms["reconstruction"]
    torch.randn(17)
    assert torch.equal(evaluate_batch(model, batch, PROGRESS, seed=1, index=2).terms["reconstruction"], first)
    for seed, index in ((1, 3), (2, 2)):
        other = evaluate_batch(model, batch, PROGRESS, seed=seed, index=index).terms["reconstruction"]
        assert not torch.equal(other, first)


def test_the_output_at_the_mean_is_computed_once_with_the_same_corruption(make_model: Any) -> None:
    model = make_model(**VAE, corruption={"name": "gaussian", "std": 2.0})
    model.corruption.in_evaluation = True
    batch = Batch(rows())
    output = evaluate_batch(model, batch, PROGRESS, seed=5, index=7)
    at_mean = output.at_mean()
    assert output.at_mean() is at_mean
    assert torch.equal(at_mean.encoder_input.x, output.sampled.encoder_input.x)
    assert torch.equal(at_mean.latent.z, at_mean.latent.mean)
    assert not torch.equal(output.sampled.latent.z, output.sampled.latent.mean)
    with torch.no_grad(), evaluation_mode(model), noise_of(CPU, 5, EVALUATION, 7):
        assert torch.equal(at_mean.output, at_mean_of(model, batch, seed=5).output)


@pytest.mark.parametrize("latent", ["gaussian", "flow", "hamiltonian", {"name": "ladder", "dims": [2, 3]}], ids=str)
@pytest.mark.parametrize("corrupted", [True, False])
@pytest.mark.parametrize("num_samples", [None, 3])
def test_the_encoder_runs_once(make_model: Any, latent: Any, corrupted: bool, num_samples: int | None) -> None:
    prior = "top_down" if isinstance(latent, dict) else "normal"
    objective = "elbo" if num_samples is None else {"name": "importance", "num_samples": num_samples}
    model = make_model(latent=latent, prior=prior, objective=objective, corruption="gaussian", condition=2).eval()
    model.corruption.in_evaluation = corrupted
    batch = Batch(rows(), condition=torch.rand(9, 2))
    with torch.no_grad(), noise_of(CPU, 0, EVALUATION, 0):
        expected = at_mean_of(model, batch, seed=0)
    calls = []
    model.encoder.register_forward_hook(lambda *_: calls.append(1))
    outputs = evaluate_batch(model, batch, PROGRESS, seed=0, index=0).at_mean()
    assert len(calls) == 1
    assert torch.equal(outputs.encoder_input.x, expected.encoder_input.x)
    assert torch.equal(outputs.output, expected.output)
    assert torch.equal(outputs.latent.z, expected.latent.z)
    assert torch.equal(outputs.reconstruction, expected.reconstruction)


def test_without_a_posterior_there_is_one_output(make_model: Any) -> None:
    output = evaluate_batch(make_model(), Batch(rows()), PROGRESS, seed=0, index=0)
    assert output.at_mean() is output.sampled


def test_importance_samples_are_drawn_for_terms_only(make_model: Any) -> None:
    model = make_model(latent=VAE["latent"], objective={"name": "importance", "num_samples": 5})
    output = evaluate_batch(model, Batch(rows()), PROGRESS, seed=0, index=0)
    assert output.sampled.latent.z.numel() == 5 * output.at_mean().latent.z.numel()


@pytest.mark.parametrize("training", [True, False])
def test_modes_and_generator_are_restored(make_model: Any, training: bool) -> None:
    model = make_model(**VAE, encoder={"name": "mlp", "hidden": [16], "dropout": 0.5}).train(training)
    model.decoder.train(not training)
    modes = [module.training for module in model.modules()]
    state = torch.get_rng_state()
    output = evaluate_batch(model, Batch(rows()), PROGRESS, seed=0, index=0)
    output.at_mean()
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_modes_are_restored_after_an_error(make_model: Any) -> None:
    model = make_model().train()

    def fail() -> None:
        with evaluation_mode(model):
            assert not any(module.training for module in model.modules())
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert all(module.training for module in model.modules())


def test_an_evaluation_is_without_dropout(make_model: Any) -> None:
    parts = {"encoder": {"name": "mlp", "hidden": [16], "dropout": 0.5}}
    outputs = [
        evaluate_batch(make_model(**parts).train(), Batch(rows()), PROGRESS, seed=seed, index=0) for seed in (0, 1)
    ]
    assert torch.equal(outputs[0].terms["reconstruction"], outputs[1].terms["reconstruction"])
