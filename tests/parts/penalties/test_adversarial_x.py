"""The discriminator on x: hand-worked losses, finite differences, and whose gradients are whose."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.parts.penalties import adversarial
from aeframe.parts.penalties.adversarial import SampleDiscriminator
from aeframe.testing.freezing import freeze_others
from aeframe.training.optimizer_groups import make_optimizer_groups
from aeframe.types import Batch, DataSpec, Domain, ForwardOutput, TrainingProgress

PROGRESS = TrainingProgress(batch=5, planned=10)
LINEAR = {"name": "mlp", "hidden": ()}
PICTURE, FLAT = (1, 8, 8), (6,)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def model_with(
    shape: tuple[int, ...] = FLAT,
    *,
    game: str = "hinge",
    objective: str = "deterministic",
    domain: str = "real",
    latent: str = "point",
    **options: Any,
) -> Autoencoder:
    config = {
        "activation": "tanh",
        "encoder": {"name": "mlp", "hidden": (5,)},
        "latent": {"name": latent, "dim": 3},
        "loss": "mse" if domain == "real" else "categorical",
        "objective": objective,
        "penalties": {"adversarial": {"loss": game, **options}},
    }
    return assemble(config, DataSpec(shape, Domain.parse(domain)))


def judge_of(model: Autoencoder) -> SampleDiscriminator:
    judge = model.critics()["discriminator_x"]
    assert isinstance(judge, SampleDiscriminator)
    return judge


def their_terms(model: Autoencoder, out: ForwardOutput) -> dict[str, Tensor]:
    return judge_of(model).terms(model, out.detach(), PROGRESS).raw


class Said(nn.Module):
    """A network that says of the n-th batch it sees what it was told to."""

    def __init__(self, *answers: list[list[float]]) -> None:
        super().__init__()
        self.answers = [torch.tensor(answer) for answer in answers]

    def forward(self, batch: Batch) -> list[Tensor]:
        return [self.answers.pop(0)]


# -- losses --------------------------------------------------------------------------------------------------------

SOFT_2, SOFT_HALF, SOFT_1 = math.log1p(math.exp(-2)), math.log1p(math.exp(-0.5)), math.log1p(math.exp(1))


@pytest.mark.parametrize(
    ("loss", "real", "fake", "fooled"),
    [
        ("hinge", (0 + 0.5) / 2, (0.5 + 2) / 2, -(-0.5 + 1) / 2),
        ("vanilla", (SOFT_2 + SOFT_HALF) / 2, (SOFT_HALF + SOFT_1) / 2, -(SOFT_HALF + SOFT_1) / 2),
        (
            "non_saturating",
            (SOFT_2 + SOFT_HALF) / 2,
            (SOFT_HALF + SOFT_1) / 2,
            (SOFT_HALF + 0.5 + SOFT_1 - 1) / 2,
        ),
        ("least_squares", (1 + 0.25) / 2, (0.25 + 1) / 2, (2.25 + 0) / 2),
    ],
)
def test_losses_by_hand_are_means_over_patches(loss: str, real: float, fake: float, fooled: float) -> None:
    model = model_with(game=loss)
    out = model(Batch(torch.randn(1, *FLAT)))
    judge_of(model).network = Said([[2.0, 0.5]], [[-0.5, 1.0]], [[-0.5, 1.0]])  # type: ignore[assignment]
    terms = their_terms(model, out)
    assert float(terms["real"]) == pytest.approx(real)
    assert float(terms["fake"]) == pytest.approx(fake)
    assert float(model.penalties["adversarial"](model, out)) == pytest.approx(fooled)


def test_by_default_there_are_two_terms_and_no_other() -> None:
    model = model_with(PICTURE)
    out = model(Batch(torch.randn(3, *PICTURE)))
    terms = judge_of(model).terms(model, out.detach(), PROGRESS)
    assert terms.weights == {"real": 1.0, "fake": 1.0}
    assert all(value.shape == (3,) for value in terms.raw.values())
    assert model.penalties["adversarial"](model, out).shape == (3,)


# -- LeCam ---------------------------------------------------------------------------------------------------------


def test_lecam_by_hand() -> None:
    model = model_with(lecam=0.3, lecam_decay=0.5)
    judge, p = judge_of(model), model(Batch(torch.randn(2, *FLAT)))
    judge.network = Said([[2.0], [4.0]], [[-1.0], [1.0]], [[1.0], [2.0]], [[0.0], [-1.0]])  # type: ignore[assignment]
    # Before the first batch both averages are zero; after it they are those of that batch, 3 and 0.
    assert their_terms(model, p)["lecam"].tolist() == [2.0**2 + 1.0, 4.0**2 + 1.0]
    found = judge.terms(model, p.detach(), PROGRESS)
    assert found.raw["lecam"].tolist() == [1.0 + 3.0**2, 2.0**2 + 4.0**2]
    assert found.weights["lecam"] == 0.3
    # Weights 1/4 and 1/2 of two batches, and of ones.
    assert judge.averages.tolist() == pytest.approx([3 / 4 + 1.5 / 2, 0 / 4 - 0.5 / 2, 3 / 4])


def test_lecam_s_averages_move_in_training_only() -> None:
    model = model_with(lecam=1.0)
    judge, p = judge_of(model), model(Batch(torch.randn(3, *FLAT)))
    with torch.no_grad():
        their_terms(model, p)
    their_terms(model.eval(), p)
    assert judge.averages.tolist() == [0, 0, 0]
    their_terms(model.train(), p)
    assert judge.averages.all()


def test_lecam_s_averages_are_of_all_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_with(lecam=1.0, lecam_decay=0.5)
    monkeypatch.setattr(adversarial, "mean_over_devices", lambda value: value + 2)
    judge, p = judge_of(model), model(Batch(torch.randn(2, *FLAT)))
    judge.network = Said([[1.0], [1.0]], [[0.0], [0.0]])  # type: ignore[assignment]
    their_terms(model, p)
    assert judge.averages.tolist() == [1.5, 1.0, 1.5]


# -- R1 ------------------------------------------------------------------------------------------------------------


def test_r1_is_half_the_squared_slope_by_finite_differences() -> None:
    model = model_with((1, 4, 4), r1=10.0, network={"name": "conv", "channels": (3, 4), "activation": "tanh"}).double()
    x, step = torch.randn(2, 1, 4, 4, dtype=torch.double), 1e-5
    judge = judge_of(model)

    def logit(x: Tensor) -> Tensor:
        (logits,) = judge.network(Batch(x))
        return logits.mean(1)

    slopes = []
    for direction in torch.eye(16, dtype=torch.double).reshape(16, 1, 4, 4):
        slopes.append((logit(x + step * direction) - logit(x - step * direction)) / (2 * step))
    expected = 0.5 * torch.stack(slopes).square().sum(0)
    found = judge.terms(model, model(Batch(x)).detach(), PROGRESS)
    torch.testing.assert_close(found.raw["r1"], expected, rtol=1e-6, atol=1e-12)
    assert found.weights["r1"] == 10.0


def test_r1_trains_the_discriminator_and_is_the_same_under_no_grad() -> None:
    model = model_with(r1=1.0)
    judge, p = judge_of(model), model(Batch(torch.randn(3, *FLAT)))
    term = their_terms(model, p)["r1"]
    assert any(g is not None and g.any() for g in _gradients(term, judge))
    with torch.no_grad():
        torch.testing.assert_close(their_terms(model, p)["r1"], term)


def _gradients(value: Tensor, module: nn.Module) -> tuple[Tensor | None, ...]:
    return torch.autograd.grad(value.sum(), list(module.parameters()), retain_graph=True, allow_unused=True)


# -- the adaptive weight ---------------------------------------------------------------------------------------------


def linear_judge() -> tuple[Autoencoder, Tensor, Tensor]:
    """Return a model with a discriminator w x + b, and w and b."""
    model = model_with(adaptive=True, network=LINEAR)
    (head,) = judge_of(model).network.heads
    return model, head.linear.weight[0], head.linear.bias


def test_the_adaptive_weight_by_hand() -> None:
    model, w, b = linear_judge()
    x = torch.randn(4, *FLAT)
    out = model(Batch(x))
    made = model.loss.mean(out.output)
    # Squared error pulls by 2 (x_hat - x), the hinge pushes by -w.
    weight = 2 * (made - x).norm(dim=1) / (w.norm() + 1e-4)
    found = model.penalties["adversarial"](model, out)
    torch.testing.assert_close(found, -(made @ w + b) * weight.detach())
    # It is a weight, and no gradient goes through it; so the term pulls as hard as the reconstruction.
    (push,) = torch.autograd.grad(found.sum(), out.output, retain_graph=True)
    torch.testing.assert_close(push.flatten(1), -w * weight.detach()[:, None])
    (pull,) = torch.autograd.grad(out.reconstruction.sum(), out.output)
    torch.testing.assert_close(push.flatten(1).norm(dim=1), pull.flatten(1).norm(dim=1), rtol=1e-3, atol=0)


def test_the_adaptive_weight_has_an_end() -> None:
    model, w, b = linear_judge()
    with torch.no_grad():
        w.zero_()
        b.fill_(-1.0)
    found = model.penalties["adversarial"](model, model(Batch(1e3 * torch.randn(4, *FLAT))))
    assert found.tolist() == [1e4] * 4


@pytest.mark.parametrize("adaptive", [False, True])
def test_the_term_is_the_same_in_an_evaluation_without_gradients(adaptive: bool) -> None:
    model = model_with(PICTURE, adaptive=adaptive).eval()
    x = torch.randn(3, *PICTURE)
    expected = model.penalties["adversarial"](model, model(Batch(x)))
    with torch.no_grad():
        out = model(Batch(x))
        torch.testing.assert_close(model.penalties["adversarial"](model, out), expected.detach())
    assert not out.output.requires_grad


@pytest.mark.parametrize("adaptive", [False, True])
def test_of_importance_samples_the_first_is_judged(adaptive: bool) -> None:
    model, x = model_with(adaptive=adaptive, latent="gaussian").eval(), torch.randn(3, *FLAT)
    out = model(Batch(x), num_samples=4)
    out.output = torch.cat([out.output[:3], torch.randn_like(out.output[3:])])
    expected = model.penalties["adversarial"](model, model(Batch(x)))
    torch.testing.assert_close(model.penalties["adversarial"](model, out.first_sample()), expected)
    torch.testing.assert_close(their_terms(model, out), their_terms(model, model(Batch(x))))


# -- optimizer groups -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("adaptive", [False, True])
def test_each_optimizer_group_trains_its_own_weights_only(adaptive: bool) -> None:
    model = model_with(PICTURE, adaptive=adaptive, lecam=0.1, r1=0.1)
    groups = make_optimizer_groups(model, {"name": "sgd", "lr": 0.1})
    assert [group.name for group in groups] == ["autoencoder", "discriminator_x"]
    out = model(Batch(torch.randn(3, *PICTURE)))
    for group in groups:
        with freeze_others(group, groups):
            group.terms(model, out, PROGRESS).total().mean().backward()
        for other in groups:
            reached = any(each.grad is not None and bool(each.grad.any()) for each in other.parameters)
            assert reached == (other is group)
        model.zero_grad()


def test_a_discriminator_of_z_stands_beside_it() -> None:
    model = model_with(objective="adversarial")
    assert sorted(model.critics()) == ["discriminator", "discriminator_x"]


def test_two_players_of_one_name_are_refused() -> None:
    spec = DataSpec(FLAT, Domain("real"))
    penalties = {"adversarial": {}, "again": {"name": "adversarial"}}
    model = assemble({"encoder": LINEAR, "latent": "point", "loss": "mse", "penalties": penalties}, spec)
    with pytest.raises(AeframeError) as error:
        model.critics()
    assert str(error.value) == (
        "two optimizer groups are named 'discriminator_x', the second in 'penalties.again.discriminator_x'; "
        "leave one of the parts out"
    )


def test_a_late_start_is_a_schedule_that_takes_no_time() -> None:
    schedule = build("schedule", {"name": "linear", "end": 0.8, "over": 0, "delay": 0.25})
    found = [schedule(TrainingProgress(batch=batch, planned=100)) for batch in (0, 24, 25, 26, 100)]
    assert found == [0.0, 0.0, 0.8, 0.8, 0.8]


# -- data ----------------------------------------------------------------------------------------------------------


def test_what_the_mask_hides_is_not_judged() -> None:
    model = model_with(PICTURE, adaptive=True, r1=1.0)
    x, mask = torch.randn(3, *PICTURE), torch.rand(3, *PICTURE) < 0.6
    other = x.masked_fill(~mask, math.nan)
    found = []
    for seen in (x, other):
        out = model(Batch(seen, mask))
        found.append({**their_terms(model, out), "fooled": model.penalties["adversarial"](model, out)})
    torch.testing.assert_close(found[1], found[0])


def test_classes_are_refused() -> None:
    model = model_with(domain="category(4)")
    with pytest.raises(AeframeError) as error:
        model.terms(model(Batch(torch.randint(4, (3, *FLAT)))), PROGRESS)
    assert str(error.value) == (
        "a network cannot judge the reconstruction of Categorical: it is made of classes, which no gradient passes; "
        "leave out the penalties adversarial, feature_matching and perceptual"
    )


def test_its_state_is_tensors_and_is_copied_whole() -> None:
    model = model_with(PICTURE, lecam=1.0, scales=2)
    out = model(Batch(torch.randn(3, *PICTURE)))
    their_terms(model, out)
    again = model_with(PICTURE, lecam=1.0, scales=2)
    again.load_state_dict(copy.deepcopy(model).state_dict())
    torch.testing.assert_close(their_terms(again.eval(), out), their_terms(model.eval(), out))
