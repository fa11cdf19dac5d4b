"""Players: every parameter has one, none reaches into another's, and each moves by its own rule."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from aeframe.assembly import assemble
from aeframe.autoencoder import Autoencoder
from aeframe.batch import Batch, Clock, DataSpec, Domain
from aeframe.errors import AeframeError
from aeframe.training.players import Player, alone, check_ownership, make_players

SGD = {"name": "sgd", "lr": 0.1}


def model(objective: str = "adversarial") -> Autoencoder:
    torch.manual_seed(0)
    return assemble(
        {
            "encoder": {"name": "mlp", "hidden": [8]},
            "latent": {"name": "gaussian", "dim": 3},
            "loss": "mse",
            "objective": objective,
        },
        DataSpec((6,), Domain("unit")),
    )


def players(it: Autoencoder, settings: dict[str, Any] | None = None, **rules: Any) -> list[Player]:
    return make_players(it, SGD, settings or {}, clip=rules.get("clip"), accumulate=rules.get("accumulate", 1))


def move(it: Autoencoder, player: Player, every: list[Player], clock: Clock, *, last: bool = False) -> None:
    torch.manual_seed(clock.batch)
    p = it(Batch(torch.rand(5, 6)))
    with alone(player, every):
        loss = player.terms(it, p, clock).total().mean()
        player.move(loss, clock, backward=lambda loss: loss.backward(), last=last, scaler=None)


def values(player: Player) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in player.parameters]


def same(before: list[torch.Tensor], after: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_an_opponent_is_a_player_of_its_own() -> None:
    it = model()
    first, second = players(it)
    assert (first.name, second.name) == ("autoencoder", "discriminator")
    assert {id(p) for p in first.parameters} | {id(p) for p in second.parameters} == {id(p) for p in it.parameters()}
    check_ownership(it, [first, second])


def test_one_players_move_leaves_the_others_weights_and_gradients_alone() -> None:
    it = model()
    both = players(it)
    for player, other in (both, reversed(both)):
        own, others = values(player), values(other)
        move(it, player, both, Clock())
        assert not same(own, values(player))
        assert same(others, values(other))
        assert all(parameter.grad is None for parameter in other.parameters)
        assert all(parameter.requires_grad for parameter in other.parameters)


def test_the_term_that_fools_reaches_the_encoder_through_the_discriminator() -> None:
    it = model()
    p = it(Batch(torch.rand(5, 6)))
    first, second = players(it)
    with alone(first, [first, second]):
        it.terms(p, Clock()).raw["adversarial"].mean().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in it.encoder.parameters())
    assert all(parameter.grad is None for parameter in second.parameters)


def test_a_parameter_without_a_player_is_named() -> None:
    it = model("elbo")
    chosen = players(it)
    it.prior.stray = nn.Parameter(torch.zeros(1))
    with pytest.raises(AeframeError) as caught:
        check_ownership(it, chosen)
    assert str(caught.value) == (
        "parameter 'prior.stray' is trained by no player, expected exactly one; "
        "freeze it (requires_grad=False) or hold it in one part only"
    )


def test_a_parameter_with_two_players_is_named() -> None:
    it = model()
    first, second = players(it)
    first.parameters.append(second.parameters[0])
    with pytest.raises(AeframeError, match="is trained by autoencoder and discriminator, expected exactly one"):
        check_ownership(it, [first, second])


def test_settings_of_a_player_that_does_not_exist_are_refused() -> None:
    with pytest.raises(AeframeError) as caught:
        players(model(), {"discriminater": {"clip": 1.0}})
    assert str(caught.value) == (
        "settings name an unknown player 'discriminater', did you mean 'discriminator'?; "
        "this model's players are autoencoder, discriminator"
    )


def test_a_players_own_settings_win_over_the_runs() -> None:
    first, second = players(
        model(), {"discriminator": {"optimizer": {"lr": 0.5}, "clip": 2.0, "every": 3, "start": 4}}, clip=1.0
    )
    assert (first.rules.clip, second.rules.clip) == (1.0, 2.0)
    assert second.optimizer.param_groups[0]["lr"] == 0.5
    assert [b for b in range(12) if second.moves(Clock(batch=b))] == [4, 7, 10]
    assert all(first.moves(Clock(batch=b)) for b in range(12))


def test_accumulation_steps_on_the_mean_of_its_batches_and_spends_the_rest_at_the_epochs_end() -> None:
    it = model("elbo")
    (player,) = players(it, accumulate=3)
    moved = []
    for batch in range(5):
        before = values(player)
        move(it, player, [player], Clock(batch=batch, batch_in_epoch=batch), last=batch == 4)
        moved.append(not same(before, values(player)))
    assert moved == [False, False, True, False, True]


def test_two_halves_accumulated_equal_the_whole_batch() -> None:
    whole, halves = model("deterministic"), model("deterministic")
    (one,), (two,) = players(whole), players(halves, accumulate=2)
    x = torch.rand(8, 6)
    for it in (whole, halves):
        it.eval()  # z is the mean, so that both see the same numbers
    loss = one.terms(whole, whole(Batch(x)), Clock()).total().mean()
    one.move(loss, Clock(), backward=lambda loss: loss.backward(), last=False, scaler=None)
    for index in range(2):
        half = Batch(x[index * 4 : index * 4 + 4])
        loss = two.terms(halves, halves(half), Clock()).total().mean()
        two.move(
            loss,
            Clock(batch=index, batch_in_epoch=index),
            backward=lambda loss: loss.backward(),
            last=False,
            scaler=None,
        )
    for a, b in zip(whole.parameters(), halves.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_clipping_bounds_the_step() -> None:
    it = model("elbo")
    (player,) = players(it, clip=1e-3)
    before = values(player)
    move(it, player, [player], Clock())
    step = torch.cat([(a - b).flatten() for a, b in zip(before, values(player), strict=True)]).norm()
    assert player.gradient_norm is not None
    assert player.gradient_norm > 1e-3
    assert step.item() == pytest.approx(0.1 * 1e-3, rel=1e-3)


def test_the_learning_rate_follows_its_schedule() -> None:
    it = model("elbo")
    rate = {"name": "linear", "start": 1.0, "end": 0.0}
    (player,) = make_players(it, {"name": "sgd", "lr": rate}, {}, clip=None, accumulate=1)
    move(it, player, [player], Clock(batch=5, planned=20))
    assert player.optimizer.param_groups[0]["lr"] == pytest.approx(0.75)


def test_an_optimizer_without_a_rate_is_refused() -> None:
    with pytest.raises(
        AeframeError, match=r"^player 'autoencoder': its optimizer has no learning rate; set optimizer.lr="
    ):
        make_players(model("elbo"), {"name": "sgd"}, {}, clip=None, accumulate=1)
