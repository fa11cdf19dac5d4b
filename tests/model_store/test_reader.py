from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.evaluation.step import EvaluationOutput
from aeframe.model_store.reader import load
from aeframe.model_store.trained_model import TrainedModel
from aeframe.types import Batch

from .conftest import Save

VQ: dict[str, Any] = {
    "latent": {"name": "vq", "codebook_size": 8, "dim": 2, "tokens": 3}, "objective": "deterministic", "loss": "mse",
    "sampler": "codes",
}  # fmt: skip


def some(num: int = 23) -> Tensor:
    return torch.randn(num, 30, generator=torch.Generator().manual_seed(5))


def test_encode_is_the_mean_whatever_the_chunks(save: Save) -> None:
    saved, model = save()
    x = some()
    with torch.no_grad():
        expected = model(Batch(x), sample=False).latent.mean
    state = torch.get_rng_state()
    for size in (1, 5, 23, 256):
        assert torch.allclose(saved.encode(x, batch_size=size), expected, atol=1e-6)
    assert torch.equal(saved.encode(x), saved.encode(x))
    assert not saved.encode(x).requires_grad
    assert torch.equal(torch.get_rng_state(), state)


def test_arrays_of_any_kind_are_samples(save: Save) -> None:
    saved, _ = save()
    x = some()
    expected = saved.encode(x)
    assert torch.equal(saved.encode(x.numpy()), expected)
    assert torch.allclose(saved.encode(x.double().numpy()), expected, atol=1e-6)
    frozen = x.numpy().copy()
    frozen.setflags(write=False)
    assert torch.equal(saved.encode(frozen), expected)
    assert torch.equal(saved.encode(np.asfortranarray(x.numpy())), expected)
    assert torch.equal(saved.encode(Batch(x)), expected)


def test_the_other_methods_return_the_results_of_the_model(save: Save) -> None:
    saved, model = save()
    x = some()
    with torch.no_grad():
        p = model(Batch(x), sample=False)
        x_hat = EvaluationOutput(model, Batch(x), p, {}, (saved.config["seed"], 0)).at_mean().output
    assert torch.allclose(saved.reconstruct(x, batch_size=4), model.loss.mean(x_hat), atol=1e-6)
    assert torch.allclose(saved.decode(p.latent.mean, batch_size=4), model.loss.mean(p.output), atol=1e-6)
    posterior: Any = saved.posterior(x)
    assert torch.equal(posterior.loc, p.latent.posterior.loc)
    assert torch.equal(posterior.scale, p.latent.posterior.scale)
    way = saved.interpolate(x[:4], x[4:8], steps=5)
    assert way.shape == (4, 5, 30)
    assert torch.allclose(way[:, 0], saved.decode(p.latent.mean[:4]), atol=1e-6)
    assert torch.allclose(way[:, -1], saved.decode(p.latent.mean[4:8]), atol=1e-6)
    middle = saved.decode((saved.encode(x[:4]) + saved.encode(x[4:8])) / 2)
    assert torch.allclose(way[:, 2], middle, atol=1e-5)


def test_an_interpolation_interpolates_the_condition_too(save: Save) -> None:
    saved, _ = save(condition=2)
    x, (one, other) = some(6), torch.eye(2)[:, None].expand(2, 3, 2)
    a, b = Batch(x[:3], condition=one), Batch(x[3:], condition=other)
    path = saved.interpolate(a, b, 3)
    assert torch.allclose(path[:, 0], saved.decode(saved.encode(a), condition=one), atol=1e-6)
    assert torch.allclose(path[:, -1], saved.decode(saved.encode(b), condition=other), atol=1e-6)
    middle = (saved.encode(a) + saved.encode(b)) / 2
    assert torch.allclose(path[:, 1], saved.decode(middle, condition=(one + other) / 2), atol=1e-5)


SPHERE: dict[str, Any] = {"latent": {"name": "hypersphere", "dim": 4}, "prior": "sphere"}
BALL: dict[str, Any] = {"latent": {"name": "poincare", "dim": 3, "curvature": 0.5}, "prior": "ball"}


@pytest.mark.parametrize("parts", [SPHERE, BALL], ids=["sphere", "ball"])
def test_an_interpolation_follows_the_space_of_the_codes(save: Save, parts: dict[str, Any]) -> None:
    saved, model = save(**parts)
    seen: list[Tensor] = []
    saved.model.decoder.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    x = 3 * some(8)
    ends = saved.encode(x[:4]), saved.encode(x[4:])
    path = saved.interpolate(x[:4], x[4:], steps=5)
    assert torch.allclose(path[:, -1], saved.reconstruct(x[4:]), atol=1e-5)
    if parts is SPHERE:
        codes = seen[0].unflatten(0, (4, 5))
        assert torch.allclose(codes.norm(dim=-1), torch.ones(4, 5), atol=1e-6)
        angles = torch.acos((codes[:, 1:] * codes[:, :-1]).sum(-1).clamp(-1, 1))
        assert torch.allclose(angles, angles.mean(1, keepdim=True).expand_as(angles), atol=1e-3)
    else:
        ball: Any = model.latent.ball
        step = ball.exp(ends[0], 0.25 * ball.log(*ends))
        assert torch.allclose(path[:, 1], saved.decode(step), atol=1e-5)
        straight = saved.decode(torch.lerp(*ends, 0.25))
        assert not torch.allclose(path[:, 1], straight, atol=1e-3)


def test_score_is_the_bound_of_each_sample(save: Save) -> None:
    saved, model = save()
    x = some()
    with torch.no_grad():
        p = model(Batch(x), sample=True, num_samples=4000)
    kl = torch.distributions.kl_divergence(p.latent.posterior, torch.distributions.Normal(0, 1)).sum(1)
    bounds = (p.reconstruction + kl).unflatten(0, (4000, -1))
    score = saved.score(x, seed=7, draws=1000)
    # Five standard errors of both means.
    assert ((score - bounds.mean(0)).abs() < 5 * bounds.std(0) * (1 / 4000 + 1 / 1000) ** 0.5).all()
    assert torch.equal(saved.score(x, seed=7), saved.score(x, seed=7))
    assert not torch.equal(saved.score(x, seed=7), saved.score(x, seed=8))


def test_samples_are_a_function_of_the_seed(save: Save) -> None:
    saved, _ = save()
    first = saved.sample(9, seed=1)
    assert first.shape == (9, 30)
    torch.randn(3)
    assert torch.equal(saved.sample(9, seed=1), first)
    assert torch.allclose(saved.sample(9, seed=1, batch_size=2), first, atol=1e-6)
    assert not torch.equal(saved.sample(9, seed=2), first)
    assert not torch.equal(saved.sample(9), saved.sample(9))
    # A draw from the likelihood adds noise to the means of the same codes.
    draws = [saved.sample(9, seed=1, draw=True) for _ in range(2)]
    assert torch.equal(*draws)
    assert not torch.equal(draws[0], first)


def test_a_quantiser_gives_codes_and_has_no_posterior(save: Save) -> None:
    saved, model = save(**VQ)
    x = some()
    codes = saved.codes(x, batch_size=6)
    assert codes.shape == (23, 3, 1)
    assert torch.allclose(model.latent.from_codes(codes), saved.encode(x))
    assert saved.sample(5, seed=0).shape == (5, 30)
    with pytest.raises(AeframeError) as error:
        saved.posterior(x)
    assert str(error.value) == "model 'vae' has a latent without a posterior; use encode"
    other, _ = save()
    with pytest.raises(AeframeError) as error:
        other.codes(x)
    assert str(error.value) == "model 'vae' has a latent without integer codes; use encode"


def test_a_condition_is_passed_with_the_samples(save: Save) -> None:
    saved, model = save(condition=2)
    x, condition = some(6), torch.eye(2)[[0, 1, 0, 1, 1, 0]]
    with torch.no_grad():
        p = model(Batch(x, condition=condition), sample=False)
        labelled = Batch(x, condition=condition)
        x_hat = EvaluationOutput(model, labelled, p, {}, (saved.config["seed"], 0)).at_mean().output
    reconstructed = saved.reconstruct(x, condition=condition, batch_size=4)
    assert torch.allclose(reconstructed, model.loss.mean(x_hat), atol=1e-6)
    assert torch.allclose(saved.encode(Batch(x, condition=condition)), p.latent.mean, atol=1e-6)
    assert saved.sample(6, seed=0, condition=condition.numpy()).shape == (6, 30)
    assert saved.interpolate(x[:3], x[3:], 4, condition=condition[:3]).shape == (3, 4, 30)
    assert saved.score(x, condition=condition).shape == (6,)


def test_a_model_left_in_training_is_still_used_in_evaluation(save: Save) -> None:
    saved, _ = save(encoder={"name": "mlp", "hidden": [16], "dropout": 0.5}, corruption="masking")
    expected = saved.encode(some())
    saved.model.train()
    assert torch.equal(saved.encode(some()), expected)
    assert saved.model.training


def calls(saved: TrainedModel) -> dict[str, tuple[Any, str]]:
    x, z = some(4), torch.zeros(4, 3)
    bad, bad_z = x.clone(), z.clone()
    bad[2, 5], bad_z[1, 0] = torch.nan, torch.inf
    size = "model 'vae' takes a batch_size of at least 1, found"
    shape = "model 'vae' expects x of shape (N, 30), N at least 1, found"
    return {
        "one sample": (lambda: saved.encode(x[0]), f"{shape} (30,); write x[None] for one sample"),
        "other shape": (lambda: saved.score(x[:, :5]), f"{shape} (4, 5)"),
        "none at all": (lambda: saved.encode(x[:0]), f"{shape} (0, 30)"),
        "nan": (
            lambda: saved.reconstruct(bad),
            "model 'vae' expects values of domain real, sample 2 has others (from nan to nan); "
            "pass mask=~x.isnan() if they are padding or missing, or correct them",
        ),
        "z": (lambda: saved.decode(z[:, :2]), "model 'vae' expects z of shape (N, 3), N at least 1, found (4, 2)"),
        "condition": (
            lambda: saved.encode(x, condition=z),
            "model 'vae' was trained without a condition, found one; leave it out",
        ),
        "num": (lambda: saved.sample(0), "model 'vae' makes at least one sample, found num 0"),
        "pairs": (
            lambda: saved.interpolate(x, x[:2]),
            "model 'vae' interpolates between pairs, found 4 and 2 samples",
        ),
        "infinite z": (
            lambda: saved.decode(bad_z),
            "model 'vae' expects finite values of z, row 1 has NaN or infinity; correct that row",
        ),
        "integer z": (
            lambda: saved.decode(z.long()),
            "model 'vae' decodes z of floating-point numbers, found torch.int64; pass z.float(), or for the integer "
            "codes of a quantiser model.latent.from_codes(codes)",
        ),
        "strings": (
            lambda: saved.encode(np.full((2, 30), "a")),
            "model 'vae' expects x in numbers, found an array of <U1; convert it first",
        ),
        "complex": (
            lambda: saved.encode(x.to(torch.complex64)),
            "model 'vae' expects x in real numbers, found torch.complex64; convert it first",
        ),
        "encode by 0": (lambda: saved.encode(x, batch_size=0), f"{size} 0"),
        "codes by 0": (lambda: saved.codes(x, batch_size=0), f"{size} 0"),
        "decode by -1": (lambda: saved.decode(z, batch_size=-1), f"{size} -1"),
        "reconstruct by 0": (lambda: saved.reconstruct(x, batch_size=0), f"{size} 0"),
        "sample by 0": (lambda: saved.sample(3, batch_size=0), f"{size} 0"),
        "interpolate by 0": (lambda: saved.interpolate(x, x, batch_size=0), f"{size} 0"),
        "score by a half": (lambda: saved.score(x, batch_size=0.5), f"{size} 0.5"),  # type: ignore[arg-type]
        "steps": (lambda: saved.interpolate(x, x, 1), "model 'vae' interpolates in at least 2 steps, found 1"),
    }


def test_errors_of_invalid_input_are_one_sentence(save: Save) -> None:
    saved, _ = save()
    for what, (call, message) in calls(saved).items():
        with pytest.raises(AeframeError) as error:
            call()
        assert str(error.value) == message, what


def test_a_condition_that_is_not_finite_is_refused(save: Save) -> None:
    saved, _ = save(condition=2)
    condition = torch.full((4, 2), torch.nan)
    for call in (
        lambda: saved.decode(torch.zeros(4, 3), condition=condition),
        lambda: saved.encode(some(4), condition=condition),
    ):
        with pytest.raises(AeframeError) as error:
            call()
        assert str(error.value) == (
            "model 'vae' expects finite values of condition, row 0 has NaN or infinity; correct that row"
        )


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.longdouble, ">f4"])
def test_numbers_of_any_precision_are_decoded_and_encoded(save: Save, dtype: Any) -> None:
    saved, _ = save()
    z = np.linspace(-1, 1, 12).reshape(4, 3).astype(dtype)
    expected = saved.decode(torch.from_numpy(z.astype(np.float32)))
    assert torch.equal(saved.decode(z), expected)
    x = some(4).numpy().astype(dtype)
    assert torch.equal(saved.encode(x), saved.encode(x.astype(np.float32)))


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.uint8, np.uint16, np.uint64, np.bool_])
def test_whole_numbers_are_samples(save: Save, dtype: Any) -> None:
    saved, _ = save()
    x = np.arange(60).reshape(2, 30).astype(dtype)
    assert torch.equal(saved.encode(x), saved.encode(x.astype(np.float32)))


def test_results_never_require_a_gradient(save: Save) -> None:
    saved, _ = save(condition=2)
    x, z, condition = some(4).requires_grad_(), torch.zeros(4, 3, requires_grad=True), torch.eye(2)[[0, 1, 0, 1]]
    condition.requires_grad_()
    posterior: Any = saved.posterior(x, condition=condition)
    for found in (
        saved.encode(x, condition=condition),
        posterior.loc,
        posterior.rsample(),
        saved.decode(z, condition=condition),
        saved.decode(z, condition=condition, draw=True),
        saved.reconstruct(x, condition=condition),
        saved.sample(4, condition=condition),
        saved.interpolate(x, x, 3, condition=condition),
        saved.score(x, condition=condition),
    ):
        assert not found.requires_grad


def test_values_outside_the_domain_are_refused(save: Save) -> None:
    saved, _ = save(modality={"name": "vector", "domain": "unit", "scale": "minmax"})
    x = torch.full((3, 30), 0.5)
    x[1, 4] = 255
    with pytest.raises(AeframeError) as error:
        saved.encode(x)
    assert str(error.value) == (
        "model 'vae' expects values of domain unit, sample 1 has others (from 0.5 to 255); "
        "prepare the data as in training, or read them from a file with the model's modality"
    )


@pytest.mark.parametrize("call", ["encode", "sample", "decode"])
def test_a_missing_condition_is_an_error(save: Save, call: str) -> None:
    saved, _ = save(condition=2)
    argument: Any = {"encode": some(4), "sample": 4, "decode": torch.zeros(4, 3)}[call]
    for condition, found in ((None, "none"), (torch.zeros(4, 3), "shape (4, 3)")):
        with pytest.raises(AeframeError) as error:
            getattr(saved, call)(argument, condition=condition)
        assert str(error.value) == (f"model 'vae' needs a condition of shape (4, 2), found {found}; set condition=")


def test_a_model_with_a_network_from_a_file_opens_without_it(save: Save, tmp_path: Path) -> None:
    network = {"name": "mlp", "hidden": [4]}
    with_network, _ = save(tmp_path / "first", penalties={"perceptual": {"network": network}})
    penalty: Any = with_network.model.penalties["perceptual"]
    path = tmp_path / "network.safetensors"
    save_file(penalty.network.state_dict(), path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    options = {"network": network, "file": str(path), "sha256": sha256}
    saved, _ = save(tmp_path / "second", penalties={"perceptual": options})
    path.unlink()
    opened = load(tmp_path / "second")
    assert torch.equal(opened.score(some()), saved.score(some()))


def test_masked_values_may_be_anything(save: Save) -> None:
    saved, _ = save(modality={"name": "vector", "domain": "unit", "scale": "minmax"})
    x, mask = torch.full((3, 30), 0.5), torch.ones(3, 30, dtype=torch.bool)
    x[1, 4], mask[1, 4] = -9.0, False
    assert saved.encode(Batch(x, mask)).shape == (3, 3)
