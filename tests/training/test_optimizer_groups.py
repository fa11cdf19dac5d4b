"""Optimizer groups: every parameter belongs to one, a step changes no other group, and steps are due on time."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.testing.freezing import freeze_others
from aeframe.training.module import AutoencoderModule
from aeframe.training.optimizer_groups import (
    GroupSettings,
    OptimizerGroup,
    check_ownership,
    make_optimizer_groups,
    synchronized_states,
)
from aeframe.types import Batch, DataSpec, Domain, TrainingProgress

from .short_runs import PER_EPOCH, make_data, make_module, plain_trainer, train

SGD = {"name": "sgd", "lr": 0.1}


def make_model(objective: str = "adversarial") -> Autoencoder:
    torch.manual_seed(0)
    return assemble(
        {
            "encoder": {"name": "mlp", "hidden": [8]},
            "latent": {"name": "gaussian", "dim": 3},
            "loss": "mse",
            "objective": objective,
            "critics": {"discriminator_z": {}} if objective == "adversarial" else {},
        },
        DataSpec((6,), Domain("unit")),
    )


def groups_of(model: Autoencoder, settings: dict[str, Any] | None = None, **defaults: Any) -> list[OptimizerGroup]:
    return make_optimizer_groups(model, SGD, settings, **defaults)


def values(group: OptimizerGroup) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in group.parameters]


def same(before: list[Tensor], after: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def step(model: Autoencoder, group: OptimizerGroup, groups: list[OptimizerGroup]) -> None:
    output = model(Batch(torch.rand(5, 6)))
    with freeze_others(group, groups):
        group.terms(model, output, TrainingProgress()).total().mean().backward()
        group.clip_gradients(group.settings.clip, "norm")
        group.optimizer.step()
        group.optimizer.zero_grad()


# -- which parameters ----------------------------------------------------------------------------------------------


def test_a_critic_is_a_group() -> None:
    model = make_model()
    first, second = groups_of(model)
    assert (first.name, second.name) == ("autoencoder", "discriminator_z")
    assert (first.prefix, second.prefix) == ("", "discriminator_z/")
    assert {id(p) for p in first.parameters} | {id(p) for p in second.parameters} == {id(p) for p in model.parameters()}
    check_ownership(model, [first, second])


def test_a_step_changes_no_weight_and_no_gradient_of_another_group() -> None:
    model = make_model()
    both = groups_of(model)
    for group, other in (both, reversed(both)):
        own, others = values(group), values(other)
        step(model, group, both)
        assert not same(own, values(group))
        assert same(others, values(other))
        assert all(parameter.grad is None for parameter in other.parameters)
        assert all(parameter.requires_grad for parameter in other.parameters)


def test_the_generator_term_reaches_the_encoder_through_the_discriminator() -> None:
    model = make_model()
    output = model(Batch(torch.rand(5, 6)))
    first, second = groups_of(model)
    with freeze_others(first, [first, second]):
        model.terms(output, TrainingProgress()).raw["adversarial"].mean().backward()
    assert all(
        parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in model.encoder.parameters()
    )
    assert all(parameter.grad is None for parameter in second.parameters)


def test_a_parameter_without_a_group_is_named() -> None:
    model = make_model("elbo")
    chosen = groups_of(model)
    model.prior.stray = nn.Parameter(torch.zeros(1))
    with pytest.raises(AeframeError) as caught:
        check_ownership(model, chosen)
    assert str(caught.value) == (
        "parameter 'prior.stray' is trained by no group, expected exactly one; "
        "freeze it (requires_grad=False) or use it in one part only"
    )
    model.prior.stray.requires_grad_(False)
    check_ownership(model, chosen)


def test_a_parameter_with_two_groups_is_named() -> None:
    model = make_model()
    first, second = groups_of(model)
    first.parameters.append(second.parameters[0])
    with pytest.raises(AeframeError, match="is trained by autoencoder and discriminator_z, expected exactly one"):
        check_ownership(model, [first, second])


def test_a_group_without_trainable_parameters_is_refused() -> None:
    model = make_model()
    for parameter in model.critics["discriminator_z"].parameters():
        parameter.requires_grad_(False)
    with pytest.raises(AeframeError) as caught:
        groups_of(model)
    assert str(caught.value) == (
        "optimizer group 'discriminator_z' has no trainable parameters; unfreeze some, or leave it out"
    )


# -- settings ------------------------------------------------------------------------------------------------------


def test_settings_of_a_group_that_does_not_exist_are_refused() -> None:
    with pytest.raises(AeframeError) as caught:
        groups_of(make_model(), {"discriminator_y": {"clip": 1.0}})
    assert str(caught.value) == (
        "settings name an unknown optimizer group 'discriminator_y', did you mean 'discriminator_z'?; "
        "the groups of this model are autoencoder, discriminator_z; remove the settings with "
        "'~optimizers.discriminator_y'"
    )


def test_a_critic_with_the_name_of_the_first_group_is_refused() -> None:
    model = make_model("elbo")
    model.critics["autoencoder"] = nn.Linear(1, 1)
    with pytest.raises(AeframeError) as caught:
        groups_of(model)
    assert str(caught.value) == (
        "critic 'autoencoder' has the name of the autoencoder's optimizer group; choose another label"
    )


def test_settings_of_a_group_override_those_of_the_run() -> None:
    own = {"optimizer": {"lr": 0.5}, "clip": 2.0, "every": 3, "start": 4}
    first, second = groups_of(make_model(), {"discriminator_z": own}, clip=1.0, accumulate=2)
    assert (first.settings.clip, second.settings.clip) == (1.0, 2.0)
    assert (first.settings.accumulate, second.settings.accumulate) == (2, 2)
    assert second.optimizer.param_groups[0]["lr"] == 0.5
    assert isinstance(second.optimizer, torch.optim.SGD)
    assert [b for b in range(12) if second.is_due(TrainingProgress(batch=b))] == [4, 7, 10]
    assert all(first.is_due(TrainingProgress(batch=b)) for b in range(12))


def test_an_optimizer_of_another_name_takes_no_options_of_the_runs() -> None:
    run = {"name": "sgd", "lr": 0.1, "momentum": 0.9}
    _, second = make_optimizer_groups(
        make_model(), run, {"discriminator_z": {"optimizer": {"name": "adam", "lr": 0.2}}}
    )
    assert isinstance(second.optimizer, torch.optim.Adam)
    assert second.optimizer.param_groups[0]["lr"] == 0.2


@pytest.mark.parametrize(("option", "value"), [("accumulate", 0), ("every", 0), ("start", -1)])
def test_counts_out_of_range_are_refused(option: str, value: int) -> None:
    counts = {"accumulate": 1, "every": 1, "start": 0, option: value}
    with pytest.raises(AeframeError) as caught:
        groups_of(make_model(), {"discriminator_z": {option: value}})
    assert str(caught.value) == (
        "optimizer group 'discriminator_z' needs accumulate >= 1, every >= 1 and start >= 0, "
        f"found {counts['accumulate']}, {counts['every']} and {counts['start']}"
    )


def test_an_optimizer_without_a_rate_is_refused() -> None:
    with pytest.raises(AeframeError) as caught:
        make_optimizer_groups(make_model("elbo"), {"name": "sgd"})
    assert str(caught.value) == "optimizer group 'autoencoder' has no learning rate; set optimizer.lr=..."


def test_the_learning_rate_follows_its_schedule() -> None:
    rate = {"name": "linear", "start": 1.0, "end": 0.0}
    (group,) = make_optimizer_groups(make_model("elbo"), {"name": "sgd", "lr": rate})
    assert group.optimizer.param_groups[0]["lr"] == 1.0
    group.make_scheduler(TrainingProgress(batch=5, planned=20)).step()
    assert group.optimizer.param_groups[0]["lr"] == pytest.approx(0.75)


# -- clipping ------------------------------------------------------------------------------------------------------


def test_clipping_bounds_the_step_and_stores_the_norm_before() -> None:
    model = make_model("elbo")
    (group,) = groups_of(model, clip=1e-3)
    before = values(group)
    assert group.gradient_norm is None
    step(model, group, [group])
    moved = torch.cat([(a - b).flatten() for a, b in zip(before, values(group), strict=True)]).norm()
    assert group.gradient_norm is not None
    assert group.gradient_norm > 1e-3
    assert moved.item() == pytest.approx(0.1 * 1e-3, rel=1e-3)


def weight_group(**settings: Any) -> tuple[nn.Parameter, OptimizerGroup]:
    """Return a weight of zeros and its group, with a learning rate of 1."""
    weight = nn.Parameter(torch.zeros(2))
    return weight, OptimizerGroup("w", [weight], GroupSettings({"name": "sgd", "lr": 1.0}, **settings), None)


@pytest.mark.parametrize(
    ("clip", "algorithm", "expected", "norm"),
    [(None, "norm", [3.0, -4.0], None), (1.0, "norm", [0.6, -0.8], 5.0), (3.5, "value", [3.0, -3.5], None)],
)
def test_clipping_by_norm_and_by_value(
    clip: float | None, algorithm: str, expected: list[float], norm: float | None
) -> None:
    weight, group = weight_group()
    weight.grad = torch.tensor([3.0, -4.0])
    group.clip_gradients(clip, algorithm)
    torch.testing.assert_close(weight.grad, torch.tensor(expected))
    assert (None if group.gradient_norm is None else group.gradient_norm.item()) == norm


# -- accumulation --------------------------------------------------------------------------------------------------


def steps_of(per_epoch: int, epochs: int, **settings: Any) -> list[tuple[int, float]]:
    """Return the batch and the size of each step, for a loss with the gradient 1."""
    weight, group = weight_group(**settings)
    progress, found = TrainingProgress(), []
    for epoch in range(epochs):
        for _ in range(per_epoch):
            if group.is_due(progress):
                size, last = group.next_sum(progress, per_epoch)
                (weight.mean() * 2 / size).sum().backward()
                if last:
                    before = weight.detach().clone()
                    group.optimizer.step()
                    group.optimizer.zero_grad()
                    group.num_summed = 0
                    found.append((progress.batch, float((before - weight.detach())[0])))
            progress.advance()
        assert group.num_summed == 0, f"gradients are pending at the end of epoch {epoch}"
        assert weight.grad is None
        progress.epoch, progress.batch_in_epoch = epoch + 1, 0
    return found


@pytest.mark.parametrize(
    ("per_epoch", "epochs", "settings", "expected"),
    [
        # Batches 0, 2, 4, 6 are due in the first epoch, and 8, 10, 12 in the second.
        (7, 2, {"every": 2, "accumulate": 2}, [2, 6, 10, 12]),
        # Batches 3 to 15.
        (16, 1, {"start": 3, "accumulate": 4}, [6, 10, 14, 15]),
        (6, 1, {"accumulate": 4}, [3, 5]),
        (3, 2, {"accumulate": 8}, [2, 5]),
        (4, 2, {"every": 3, "start": 2, "accumulate": 2}, [2, 5]),
    ],
)
def test_each_step_sums_its_own_due_batches_and_divides_by_their_number(
    per_epoch: int, epochs: int, settings: Mapping[str, int], expected: list[int]
) -> None:
    assert steps_of(per_epoch, epochs, **settings) == [(batch, 1.0) for batch in expected]


def test_an_epoch_without_a_length_is_accumulated_in_full() -> None:
    _, group = weight_group(accumulate=3, every=2)
    sums = [group.next_sum(TrainingProgress(batch=2 * n, batch_in_epoch=2 * n), math.inf) for n in range(3)]
    assert sums == [(3, False), (3, False), (3, True)]


def test_two_halves_accumulated_equal_the_whole_batch() -> None:
    whole, halves = make_model("deterministic"), make_model("deterministic")
    (one,), (two,) = groups_of(whole), groups_of(halves, accumulate=2)
    x = torch.rand(8, 6)
    for model in (whole, halves):
        model.eval()  # z is the mean, so that both have the same numbers
    one.terms(whole, whole(Batch(x)), TrainingProgress()).total().mean().backward()
    one.optimizer.step()
    for index in range(2):
        size, last = two.next_sum(TrainingProgress(batch=index, batch_in_epoch=index), 2)
        half = halves(Batch(x[index * 4 : index * 4 + 4]))
        (two.terms(halves, half, TrainingProgress()).total().mean() / size).backward()
    assert last
    two.optimizer.step()
    for a, b in zip(whole.parameters(), halves.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_the_state_holds_summed_gradients_and_counters() -> None:
    weight, group = weight_group(accumulate=4, clip=1.0)
    group.gradient_norm = torch.tensor(2.5)
    assert group.state_dict()["gradients"] == {}
    for batch in range(2):
        # The size is fixed when a sum begins, here with three batches left in the epoch.
        group.next_sum(TrainingProgress(batch=batch, batch_in_epoch=batch + 1), 4)
        (weight.sum() / 3).backward()
    stored = io.BytesIO()
    torch.save(synchronized_states([group], None), stored)
    stored.seek(0)
    other_weight, other = weight_group(accumulate=4, clip=1.0)
    other.load_state_dict(torch.load(stored, weights_only=True)["w"])
    assert other_weight.grad is not None
    assert torch.equal(other_weight.grad, torch.full((2,), 2 / 3))
    assert other.gradient_norm == 2.5
    assert other.next_sum(TrainingProgress(batch=2, batch_in_epoch=3), 4) == (3, True)


def test_a_state_between_steps_clears_gradients() -> None:
    weight, group = weight_group()
    weight.grad = torch.ones(2)
    group.load_state_dict(weight_group()[1].state_dict())
    assert weight.grad is None


# -- in a Trainer ----------------------------------------------------------------------------------------------------


class ScaledPrecision(MixedPrecision):
    """The gradient scaler of ``16-mixed`` in single precision, where scaling by 2^n is exact."""

    def __init__(self, scaler: torch.amp.GradScaler) -> None:
        super().__init__("16-mixed", "cpu", scaler=scaler)

    def forward_context(self) -> AbstractContextManager[None]:
        return nullcontext()


@pytest.mark.parametrize("recipe", ["vae", "aae"])
def test_only_steps_update_a_gradient_scaler_and_clipping_sees_unscaled_gradients(recipe: str) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=3)
    # GPUs, where Lightning uses a scaler, have no fused steps.
    optimizer = {"name": "adam", "lr": 1e-2, "fused": False}
    weights = []
    for plugins in ([], [ScaledPrecision(scaler)]):
        module = make_module(recipe, accumulate=3, clip=0.05, optimizer=optimizer)
        trainer = plain_trainer(plugins=plugins, max_epochs=1)
        trainer.fit(module, datamodule=make_data())
        # Seven batches: sums of 3, 3 and 1.
        assert trainer.global_step == 3 * len(module.groups)
        weights.append([parameter.detach().clone() for parameter in module.parameters()])
    assert same(*weights)
    assert scaler.get_scale() == 2.0**10 * 2 ** len(module.groups)


def test_a_step_that_the_scaler_skips_changes_no_weight() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    module = make_module(accumulate=2)
    next(module.parameters()).register_hook(lambda gradient: gradient * math.inf)
    before = [parameter.detach().clone() for parameter in module.parameters()]
    plain_trainer(plugins=[ScaledPrecision(scaler)], max_epochs=1, limit_train_batches=2).fit(
        module, datamodule=make_data()
    )
    assert same(before, [parameter.detach().clone() for parameter in module.parameters()])
    assert scaler.get_scale() == 2.0**9


def trained(trainer_settings: Mapping[str, Any], **options: Any) -> AutoencoderModule:
    module = make_module("aae", **{"clip": None, **options})
    trainer = plain_trainer(max_epochs=2, **trainer_settings)
    trainer.fit(module, datamodule=make_data())
    for name, value in trainer_settings.items():
        assert getattr(trainer, name) == value, "the Trainer's settings are restored"
    return module


@pytest.mark.parametrize(
    ("trainer_settings", "options"),
    [
        ({"gradient_clip_val": 0.05}, {"clip": 0.05}),
        ({"accumulate_grad_batches": 3}, {"accumulate": 3}),
        ({"gradient_clip_val": 0.05, "accumulate_grad_batches": 2}, {"clip": 0.05, "accumulate": 2}),
    ],
)
def test_settings_of_a_plain_trainer_equal_those_of_the_module(
    trainer_settings: Mapping[str, Any], options: Mapping[str, Any]
) -> None:
    of_trainer, of_module, without = trained(trainer_settings), trained({}, **options), trained({})
    assert of_trainer.trainer.global_step == of_module.trainer.global_step
    assert same(list(of_trainer.parameters()), list(of_module.parameters()))
    assert not same(list(of_trainer.parameters()), list(without.parameters()))


def test_a_plain_trainer_clips_by_value_too() -> None:
    by_norm = trained({"gradient_clip_val": 0.01})
    by_value = trained({"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"})
    assert not same(list(by_norm.parameters()), list(by_value.parameters()))
    assert all(group.gradient_norm is None for group in by_value.groups)


@pytest.mark.parametrize("steps_per_call", [1, 4])
def test_nothing_is_pending_at_the_end_of_an_epoch(tmp_path: Path, steps_per_call: int) -> None:
    settings = {"discriminator_z": {"every": 2, "start": 3}}
    run = train(tmp_path, "aae", accumulate=4, optimizers=settings, steps_per_call=steps_per_call)
    # Autoencoder: sums of 4 and 3, twice. Discriminator: batches 3, 5 and 7, 9, 11, 13.
    assert run.trainer.global_step == 4 + 2
    assert [group.num_summed for group in run.module.groups] == [0, 0]
    assert all(parameter.grad is None for parameter in run.module.parameters())
    assert run.module.progress.batch == 2 * PER_EPOCH
