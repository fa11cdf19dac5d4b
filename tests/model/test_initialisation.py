"""Weights of another model: which tensors are copied, whole or in their overlap, and what stays as initialised."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.model.initialisation import Initialisation, initialise
from aeframe.types import DataSpec, Domain


def make(seed: int, *, condition: int = 0, shape: tuple[int, ...] = (6,), **parts: Any) -> Autoencoder:
    torch.manual_seed(seed)
    config = {"encoder": {"name": "mlp", "hidden": [8]}, "latent": {"name": "gaussian", "dim": 3}, "loss": "mse"}
    return assemble({**config, **parts}, DataSpec(shape, Domain("real"), condition))


def gaussian(dim: int) -> dict[str, Any]:
    return {"name": "gaussian", "dim": dim}


def state(model: Autoencoder) -> dict[str, Tensor]:
    return copy.deepcopy(model.state_dict())


def start(model: Autoencoder, source: Autoencoder, *parts: str) -> tuple[Initialisation, dict[str, Tensor]]:
    """Initialise a model, and return the report and its state before."""
    before = state(model)
    return initialise(model, source, name="runs/a", parts=parts), before


def test_all_tensors_of_an_equal_model_are_taken() -> None:
    source, model = make(0), make(1)
    report, _ = start(model, source)
    assert all(torch.equal(tensor, source.state_dict()[name]) for name, tensor in model.state_dict().items())
    assert set(report.taken) == set(model.state_dict())
    assert (report.resized, report.skipped) == ((), ())
    assert report.summary() == "init took 8 tensors of 'runs/a' (encoder, latent, decoder)"


def test_only_the_selected_parts_are_initialised() -> None:
    source, model = make(0), make(1)
    report, before = start(model, source, "encoder")
    for name, tensor in model.state_dict().items():
        expected = source.state_dict() if name.startswith("encoder.") else before
        assert torch.equal(tensor, expected[name]), name
    assert report.summary() == (
        "init took 2 tensors of 'runs/a' (encoder), skipped 6 (latent.head.linear.weight: other part; "
        "latent.head.linear.bias: other part; decoder.layers.0.weight: other part; and 3 more)"
    )


@pytest.mark.parametrize(("old", "new"), [(3, 5), (5, 3)])
def test_means_and_log_variances_keep_their_rows_in_a_latent_of_another_size(old: int, new: int) -> None:
    source, model = make(0, latent=gaussian(old)), make(1, latent=gaussian(new))
    report, before = start(model, source)
    both = min(old, new)
    weight, old_weight = model.latent.head.linear.weight, source.latent.head.linear.weight
    assert torch.equal(weight[:both], old_weight[:both])
    assert torch.equal(weight[new : new + both], old_weight[old : old + both])
    fresh = before["latent.head.linear.weight"]
    assert torch.equal(weight[both:new], fresh[both:new])
    assert torch.equal(weight[new + both :], fresh[new + both :])
    decoder, old_decoder = model.decoder.layers[0].weight, source.decoder.layers[0].weight
    assert torch.equal(decoder[:, :both], old_decoder[:, :both])
    assert torch.equal(decoder[:, both:], before["decoder.layers.0.weight"][:, both:])
    assert report.resized == (
        ("latent.head.linear.weight", (2 * old, 8), (2 * new, 8)),
        ("latent.head.linear.bias", (2 * old,), (2 * new,)),
        ("decoder.layers.0.weight", (8, old), (8, new)),
    )


def test_a_point_becomes_the_mean_of_a_posterior_even_if_the_sizes_are_equal() -> None:
    source, model = make(0, latent={"name": "point", "dim": 6}), make(1)
    report, before = start(model, source)
    weight = model.latent.head.linear.weight
    assert torch.equal(weight[:3], source.latent.head.linear.weight[:3])
    assert torch.equal(weight[3:], before["latent.head.linear.weight"][3:])
    assert "latent.head.linear.weight" in [name for name, _, _ in report.resized]


@pytest.mark.parametrize(("old", "new"), [((3, 2), (5, 4)), ((3, 4), (4, 3)), ((3, 0), (3, 2)), ((2, 3), (2, 0))])
def test_z_and_condition_keep_their_columns(old: tuple[int, int], new: tuple[int, int]) -> None:
    source = make(0, latent=gaussian(old[0]), condition=old[1])
    model = make(1, latent=gaussian(new[0]), condition=new[1])
    _, before = start(model, source)
    dims, classes = min(old[0], new[0]), min(old[1], new[1])
    decoder, old_decoder = model.decoder.layers[0].weight, source.decoder.layers[0].weight
    assert torch.equal(decoder[:, :dims], old_decoder[:, :dims])
    assert torch.equal(decoder[:, dims : new[0]], before["decoder.layers.0.weight"][:, dims : new[0]])
    assert torch.equal(decoder[:, new[0] : new[0] + classes], old_decoder[:, old[0] : old[0] + classes])
    assert torch.equal(decoder[:, new[0] + classes :], before["decoder.layers.0.weight"][:, new[0] + classes :])
    encoder, old_encoder = model.encoder.layers[0].weight, source.encoder.layers[0].weight
    assert torch.equal(encoder[:, : 6 + classes], old_encoder[:, : 6 + classes])
    assert torch.equal(encoder[:, 6 + classes :], before["encoder.layers.0.weight"][:, 6 + classes :])


def test_z_and_condition_keep_their_columns_in_a_flattened_code_with_positions() -> None:
    parts = {"encoder": {"name": "conv", "channels": [4, 4]}, "decoder": {"name": "mlp", "hidden": [8]}}
    source, model = (
        make(seed, shape=(1, 8, 8), condition=classes, latent={"name": "point", "dim": dim, "spatial": True}, **parts)
        for seed, dim, classes in ((0, 2, 3), (1, 3, 2))
    )
    positions = model.latent.shape[1] * model.latent.shape[2]
    assert positions > 1
    start(model, source)
    decoder, old_decoder = model.decoder.layers[0].weight, source.decoder.layers[0].weight
    assert torch.equal(decoder[:, : 2 * positions], old_decoder[:, : 2 * positions])
    assert torch.equal(decoder[:, 3 * positions :], old_decoder[:, 2 * positions : 4 * positions])


def test_kernels_of_another_size_are_skipped() -> None:
    source, model = (
        make(seed, shape=(1, 8, 8), encoder={"name": "conv", "channels": [4], "kernel": kernel})
        for seed, kernel in ((0, 3), (1, 5))
    )
    report, before = start(model, source)
    kernels = [name for name, reason in report.skipped if "in the source" in reason]
    assert [name for name in kernels if name.startswith("encoder.")]
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in kernels)


def test_a_loss_with_more_outputs_keeps_the_first() -> None:
    source, model = make(0), make(1, loss={"name": "gaussian", "variance": "learned"})
    report, before = start(model, source)
    weight = model.decoder.last.weight
    num_rows = source.decoder.last.weight.shape[0]
    assert weight.shape[0] == 2 * num_rows
    assert torch.equal(weight[:num_rows], source.decoder.last.weight)
    assert torch.equal(weight[num_rows:], before["decoder.last.weight"][num_rows:])
    assert ("decoder.last.bias", (6,), (12,)) in report.resized


def test_a_codebook_of_another_size_is_not_mixed() -> None:
    parts = {"objective": "deterministic"}
    source, model = (
        make(seed, latent={"name": "vq", "dim": 2, "codebook_size": size, "tokens": 4, "kmeans_init": True}, **parts)
        for seed, size in ((0, 8), (1, 16))
    )
    for name, buffer in source.latent.named_buffers():
        if name.endswith("initialized"):
            buffer.fill_(True)
    report, before = start(model, source)
    skipped = {name for name, _ in report.skipped}
    buffers = [f"latent.{name}" for name, _ in model.latent.named_buffers() if f"latent.{name}" in before]
    assert buffers
    assert all(name in skipped and torch.equal(model.state_dict()[name], before[name]) for name in buffers)


def test_layers_of_a_prior_are_copied_whole_or_not_at_all() -> None:
    source, model = (make(seed, prior={"name": "mixture", "components": num}) for seed, num in ((0, 4), (1, 5)))
    report, before = start(model, source)
    skipped = dict(report.skipped)
    assert skipped["prior.means"] == "(4, 3) in the source, (5, 3) here"
    assert torch.equal(model.prior.means, before["prior.means"])


def test_a_buffer_is_taken_too() -> None:
    source, model = make(0), make(1)
    for each in (source, model):
        each.encoder.norm = nn.BatchNorm1d(8)
    source.encoder.norm.running_mean.fill_(2.0)
    start(model, source)
    assert torch.equal(model.encoder.norm.running_mean, torch.full((8,), 2.0))


def test_names_of_one_model_only_are_reported() -> None:
    source, model = make(0, encoder={"name": "mlp", "hidden": [8, 8]}), make(1, prior={"name": "mixture"})
    report, _ = start(model, source)
    skipped = dict(report.skipped)
    assert skipped["prior.means"] == "missing in the source"
    assert skipped["encoder.layers.2.weight"] == "not in this model"
    assert "skipped: prior.means: missing in the source\n" in report.text()
    assert "taken: encoder.layers.0.weight\n" in report.text()


def test_nothing_random_is_drawn() -> None:
    source, model = make(0), make(1, latent=gaussian(5))
    before = torch.get_rng_state()
    start(model, source)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_critic_is_a_part_of_its_own() -> None:
    adversarial = {"objective": "adversarial", "critics": {"discriminator_z": {}}}
    source, model = make(0, **adversarial), make(1, **adversarial)
    report, before = start(model, source, "critics.discriminator_z")
    assert report.parts == ("critics.discriminator_z",)
    for name, tensor in model.state_dict().items():
        expected = source.state_dict() if name.startswith("critics.") else before
        assert torch.equal(tensor, expected[name]), name


def test_an_unknown_part_is_an_error() -> None:
    with pytest.raises(AeframeError) as caught:
        start(make(1), make(0), "encodr")
    assert str(caught.value) == (
        "init_parts names an unknown part 'encodr', did you mean 'encoder'?; the parts of this model are corruption, "
        "encoder, latent, prior, decoder, loss, objective"
    )


def test_a_model_of_which_nothing_fits_is_an_error() -> None:
    model = make(1)
    before = state(model)
    source = make(
        0, encoder={"name": "mlp", "hidden": []}, latent={"name": "topk", "dim": 8, "k": 2}, decoder="reshape"
    )
    with pytest.raises(AeframeError) as caught:
        start(model, source)
    assert str(caught.value) == (
        "no tensor of this model fits those of init 'runs/a' (encoder.layers.0.weight: missing in the source; "
        "encoder.layers.0.bias: missing in the source; latent.head.linear.weight: missing in the source; and 5 more); "
        "choose a run of a similar model"
    )
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_selected_part_of_which_nothing_fits_is_an_error() -> None:
    source, model = make(0), make(1, encoder={"name": "mlp", "hidden": [8]}, prior={"name": "mixture"})
    with pytest.raises(AeframeError) as caught:
        start(model, source, "encoder", "prior")
    assert str(caught.value).startswith("no tensor of part 'prior' fits those of init 'runs/a' (prior.means: missing")
    assert str(caught.value).endswith("; leave prior out of init_parts")
