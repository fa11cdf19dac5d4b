"""`Autoencoder`: corruption, encoder, latent, decoder and loss in one forward pass."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder, append_condition, shape_with_condition
from aeframe.parts.corruptions import Corruption, NoCorruption
from aeframe.parts.critics.base import Critic
from aeframe.parts.latents.point import Point
from aeframe.parts.losses.distances import SquaredError
from aeframe.parts.networks.base import Decoder, Encoder
from aeframe.parts.networks.mlp import MLPDecoder, MLPEncoder
from aeframe.parts.objectives.deterministic import Deterministic
from aeframe.parts.objectives.importance import Importance
from aeframe.parts.priors.normal import StandardNormal
from aeframe.types import Batch, DataSpec, Domain, LossTerms, Shape, TrainingProgress

SHAPE = (2, 3)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def make(condition: int = 0, domain: str = "real", **parts: Any) -> Autoencoder:
    config = {
        "activation": "tanh",
        "encoder": {"name": "mlp", "hidden": (5,)},
        "latent": {"name": "gaussian", "dim": 3},
        "loss": "mse",
        "objective": "elbo",
    }
    return assemble({**config, **parts}, DataSpec(SHAPE, Domain.parse(domain), condition))


# -- forward pass ------------------------------------------------------------------------------------------------


def test_a_forward_pass_returns_everything_from_x_to_the_loss() -> None:
    model, batch = make(), Batch(torch.randn(4, *SHAPE))
    out = model(batch)
    assert out.batch is batch
    assert out.latent.z.shape == out.latent.mean.shape == (4, 3)
    assert out.output.shape == (4, 1, *SHAPE)
    assert out.reconstruction.shape == (4,)
    torch.testing.assert_close(out.reconstruction, (out.output[:, 0] - batch.x).square().sum((1, 2)))


def test_z_is_sampled_in_training_and_the_mean_otherwise() -> None:
    model, batch = make(), Batch(torch.randn(4, *SHAPE))
    trained = model.train()(batch)
    assert not torch.equal(trained.latent.z, trained.latent.mean)
    evaluated = model.eval()(batch)
    assert torch.equal(evaluated.latent.z, evaluated.latent.mean)
    torch.testing.assert_close(evaluated.latent.mean, trained.latent.mean)
    # `sample` overrides the mode.
    assert not torch.equal(model(batch, sample=True).latent.z, evaluated.latent.mean)
    assert torch.equal(model.train()(batch, sample=False).latent.z, evaluated.latent.mean)


def test_evaluation_is_deterministic() -> None:
    model, batch = make(corruption="gaussian").eval(), Batch(torch.randn(4, *SHAPE))
    assert torch.equal(model(batch).reconstruction, model(batch).reconstruction)


def test_the_encoder_receives_the_corrupted_x_in_training_only_and_the_loss_the_clean() -> None:
    model, batch = make(corruption={"name": "gaussian", "std": 3.0}), Batch(torch.randn(4, *SHAPE))
    p = model.train()(batch, sample=False)
    assert not torch.equal(p.encoder_input.x, batch.x)
    torch.testing.assert_close(p.latent.mean, model.embed(p.encoder_input).mean)
    assert not torch.allclose(p.latent.mean, model.embed(batch).mean)
    torch.testing.assert_close(p.reconstruction, (p.output[:, 0] - batch.x).square().sum((1, 2)))
    p = model.eval()(batch)
    assert p.encoder_input is batch
    torch.testing.assert_close(p.latent.mean, model.embed(batch).mean)


def test_a_corruption_is_not_even_called_in_evaluation() -> None:
    class Broken(Corruption):
        def forward(self, batch: Batch) -> Batch:
            raise AssertionError("called")

    model, batch = make(), Batch(torch.randn(4, *SHAPE))
    model.corruption = Broken()
    model.eval()(batch)
    model.train().embed(batch)
    with pytest.raises(AssertionError, match="called"):
        model.train()(batch)


# -- importance samples ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("condition", [0, 2])
@pytest.mark.parametrize("decoder", ["mirror", "mlp"])
def test_importance_samples_are_rows(condition: int, decoder: str) -> None:
    model = make(condition, decoder=decoder)
    batch = Batch(torch.randn(4, *SHAPE), condition=torch.randn(4, 2) if condition else None)
    out = model(batch, sample=True, num_samples=5)
    assert out.batch is batch
    assert out.num_samples == 5
    assert out.latent.z.shape == (20, 3)
    assert out.output.shape == (20, 1, *SHAPE)
    assert out.reconstruction.shape == (20,)
    # Sample by sample, each of the whole batch.
    for k in range(5):
        rows = slice(4 * k, 4 * k + 4)
        torch.testing.assert_close(out.latent.mean[rows], model.embed(batch).mean)
        torch.testing.assert_close(out.output[rows], model.decode(out.latent.z[rows], batch))
        torch.testing.assert_close(out.reconstruction[rows], model.loss(out.output[rows], batch))
    assert (out.latent.z[:4] != out.latent.z[4:8]).all()


def test_importance_samples_have_the_noise_of_one_draw_for_each_row() -> None:
    model, batch = make(), Batch(torch.randn(4, *SHAPE))
    torch.manual_seed(1)
    z = model(batch, num_samples=5).latent.z
    torch.manual_seed(1)
    q = model.embed(batch).posterior
    assert isinstance(q, Normal)
    torch.testing.assert_close(z.unflatten(0, (5, 4)), q.loc + q.scale * torch.randn(5, 4, 3))


def test_the_first_importance_sample_is_a_forward_pass_of_its_own() -> None:
    model, batch = make(), Batch(torch.randn(4, *SHAPE))
    out = model(batch, num_samples=5)
    first = out.first_sample()
    assert first.num_samples is None
    assert isinstance(first.latent.posterior, Normal)
    assert first.latent.posterior.loc.shape == first.latent.mean.shape == (4, 3)
    for found, rows in (
        (first.latent.z, out.latent.z),
        (first.output, out.output),
        (first.reconstruction, out.reconstruction),
        (out.detach().output, out.output),
    ):
        assert torch.equal(found, rows[:4])
    assert not out.detach().output.requires_grad
    single = model(batch)
    assert single.first_sample() is single


def test_penalties_receive_the_first_importance_sample() -> None:
    model = make(penalties={"l2": {"weight": 1.0}})
    out = model(Batch(torch.randn(4, *SHAPE)), num_samples=5)
    model.objective = Importance(num_samples=5)
    terms = model.terms(out, TrainingProgress())
    torch.testing.assert_close(terms.raw["l2"], 0.5 * out.latent.mean[:4].square().sum(1))


def test_importance_samples_need_a_posterior() -> None:
    with pytest.raises(AeframeError) as error:
        make(latent="point", objective="deterministic")(Batch(torch.randn(4, *SHAPE)), num_samples=2)
    assert str(error.value) == "importance samples need a latent that provides a posterior, found Point"


def test_the_decoder_receives_the_batch_repeated_for_the_samples() -> None:
    batches: list[Batch | None] = []

    class Recording(Decoder):
        def forward(self, z: Tensor, batch: Batch | None = None) -> Tensor:
            batches.append(batch)
            return z.new_zeros(len(z), 1, *SHAPE)

    model = make()
    model.decoder = Recording()
    batch = Batch(torch.randn(4, *SHAPE), index=torch.arange(4), extras={"label": torch.arange(4)})
    model(batch, sample=True, num_samples=3)
    (repeated,) = batches
    assert repeated is not None
    assert repeated.index is not None
    assert repeated.index.tolist() == [0, 1, 2, 3] * 3
    torch.testing.assert_close(repeated.x, batch.x.repeat(3, 1, 1))


# -- condition ---------------------------------------------------------------------------------------------------


def test_append_condition_repeats_it_at_every_position() -> None:
    value, condition = torch.zeros(2, 3, 4, 5), torch.tensor([[1, 2], [3, 4]])
    found = append_condition(value, condition)
    assert found.shape == (2, *shape_with_condition((3, 4, 5), 2)) == (2, 5, 4, 5)
    assert found.dtype == value.dtype
    assert (found[:, :3] == 0).all()
    for sample in range(2):
        for channel in range(2):
            assert (found[sample, 3 + channel] == condition[sample, channel]).all()
    assert append_condition(torch.zeros(2, 3), condition).tolist() == [[0, 0, 0, 1, 2], [0, 0, 0, 3, 4]]


def test_the_condition_reaches_encoder_and_decoder() -> None:
    model = make(condition=2).eval()
    x = torch.randn(4, *SHAPE)
    first, second = (Batch(x, condition=torch.full((4, 2), value)) for value in (0.0, 1.0))
    assert not torch.allclose(model.embed(first).mean, model.embed(second).mean)
    z = torch.randn(4, 3)
    assert not torch.allclose(model.decode(z, first), model.decode(z, second))
    # The argument overrides the condition of the batch.
    torch.testing.assert_close(model.decode(z, first, condition=second.condition), model.decode(z, second))


def test_an_encoder_without_the_condition() -> None:
    model = make(condition=2, condition_encoder=False).eval()
    x = torch.randn(4, *SHAPE)
    first, second = (Batch(x, condition=torch.full((4, 2), value)) for value in (0.0, 1.0))
    assert torch.equal(model.embed(first).mean, model.embed(second).mean)
    assert not torch.allclose(model(first).output, model(second).output)


def test_a_missing_condition_is_an_error() -> None:
    model = make(condition=2)
    for call in (lambda: model(Batch(torch.randn(4, *SHAPE))), lambda: model.decode(torch.randn(4, 3))):
        with pytest.raises(AeframeError, match=r"^this model was built for data with a condition; give one, of shape"):
            call()


def test_masked_values_are_not_read_and_the_condition_always_is() -> None:
    model = make(condition=2).eval()
    x, mask = torch.randn(4, *SHAPE), torch.rand(4, *SHAPE) > 0.5
    condition = torch.randn(4, 2)
    hidden = Batch(x.masked_fill(~mask, torch.nan), mask, condition)
    zeroed = Batch(x.masked_fill(~mask, 0.0), None, condition)
    torch.testing.assert_close(model.embed(hidden).mean, model.embed(zeroed).mean)
    assert not torch.allclose(
        model.embed(hidden).mean, model.embed(Batch(hidden.x, mask, torch.zeros_like(condition))).mean
    )


def test_an_encoder_of_categorical_data_takes_no_condition() -> None:
    parts = {"encoder": {"name": "mlp", "hidden": (5,)}, "latent": "point", "loss": "categorical"}
    spec = DataSpec((4,), Domain.parse("category(3)"), condition=2)
    with pytest.raises(AeframeError) as caught:
        assemble(parts, spec)
    assert str(caught.value) == (
        "an encoder of category(3) data takes class indices, to which no condition can be appended; "
        "set condition_encoder=false, the decoder still receives the condition"
    )
    model = assemble({**parts, "condition_encoder": False}, spec)
    assert model(Batch(torch.randint(3, (5, 4)), condition=torch.zeros(5, 2))).output.shape == (5, 3, 4)


# -- mask --------------------------------------------------------------------------------------------------------


class _Pooled(Encoder):
    """The mean over unmasked positions of x ``(B, C, T)``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, 6)
        self.out_shape = (6,)

    def forward(self, batch: Batch) -> Tensor:
        assert batch.mask is not None
        counted = batch.mask.to(batch.x.dtype)
        mean: Tensor = (batch.x * counted).sum(-1) / counted.sum(-1)
        return torch.tanh(self.linear(mean))


class _Waves(Decoder):
    """A wave over positions, with amplitudes linear in z."""

    def __init__(self, dim: int, out_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.linear, self.out_shape = nn.Linear(dim, out_shape[0] * out_shape[1]), out_shape

    def forward(self, z: Tensor, batch: Batch | None = None) -> Tensor:
        num_outputs, channels, length = self.out_shape
        height = self.linear(z).unflatten(1, (num_outputs, channels))
        return height[..., None] * torch.arange(length, dtype=z.dtype).cos()


def sequence_model(length: int, loss: dict[str, Any]) -> Autoencoder:
    torch.manual_seed(1)
    shape, domain = (2, length), Domain("unit")
    encoder = _Pooled(2)
    latent = build("latent", {"name": "gaussian", "dim": 3}, feature_shape=encoder.out_shape)
    made = build("loss", loss, shape=shape, domain=domain)
    return Autoencoder(
        DataSpec(shape, domain),
        corruption=build("corruption", "none"),
        encoder=encoder,
        latent=latent,
        prior=build("prior", "normal", z_shape=latent.shape),
        decoder=_Waves(3, (made.num_outputs, *shape)),
        loss=made,
        objective=build("objective", "elbo"),
        penalties={},
    ).eval()


@pytest.mark.parametrize(
    "loss",
    [
        {"name": "mse"},
        {"name": "mae"},
        {"name": "huber"},
        {"name": "jaccard"},
        {"name": "bernoulli"},
        {"name": "gaussian"},
        {"name": "gaussian", "variance": "learned"},
        {"name": "gaussian", "variance": "optimal"},
    ],
    ids=str,
)
def test_padding_changes_no_term(loss: dict[str, Any]) -> None:
    lengths = torch.tensor([5, 3, 1, 4])
    x = torch.rand(4, 2, 9)
    terms = []
    for length in (5, 9):
        mask = (torch.arange(length) < lengths[:, None])[:, None]
        model = sequence_model(length, loss)
        terms.append(model.terms(model(Batch(x[..., :length] * mask, mask=mask.expand(-1, 2, -1))), TrainingProgress()))
    for name, value in terms[0].raw.items():
        torch.testing.assert_close(terms[1].raw[name], value)
    torch.testing.assert_close(terms[1].bound, terms[0].bound)


# -- rows, sampling, domains -------------------------------------------------------------------------------------


def test_terms_of_a_doubled_batch_are_equal() -> None:
    model, x = make().eval(), torch.randn(4, *SHAPE)
    alone = model.terms(model(Batch(x)), TrainingProgress())
    twice = model.terms(model(Batch(torch.cat([x, x]))), TrainingProgress())
    for name, value in alone.raw.items():
        torch.testing.assert_close(twice.raw[name], torch.cat([value, value]))


def test_generate_returns_the_mean_or_a_sample() -> None:
    model, z = make(loss={"name": "gaussian", "scale": 0.5}), torch.randn(4, 3)
    mean = model.generate(z)
    assert mean.shape == (4, *SHAPE)
    assert not mean.requires_grad
    assert torch.equal(mean, model.loss.mean(model.decode(z)))
    assert not torch.equal(model.generate(z, draw=True), mean)
    conditioned = make(condition=2)
    assert conditioned.generate(z, condition=torch.ones(4, 2)).shape == (4, *SHAPE)


def test_generated_data_are_within_the_domain() -> None:
    model = make(loss={"name": "gaussian", "scale": 0.5, "activation": "identity"}, domain="signed")
    z = 50 * torch.randn(6, 3)
    assert model.loss.mean(model.decode(z)).abs().max() > 1
    for draw in (False, True):
        assert model.generate(z, draw=draw).abs().max() == 1


def test_the_decoder_reads_the_latent_s_decoder_input_and_the_loss_completes_by_extras() -> None:
    class Doubled(Point):
        @property
        def decoder_shape(self) -> Shape:
            return (2 * self.shape[0],)

        def decoder_input(self, z: Tensor) -> Tensor:
            return torch.cat([z, z], 1)

    class Sized(SquaredError):  # noqa: N818
        def postprocess(self, output: Tensor, batch: Batch | None, condition: Tensor | None = None) -> Tensor:
            return output if batch is None else output * batch.extras["size"].reshape(-1, 1, 1, 1)

    spec = DataSpec(SHAPE, Domain("real"), extras={"size": ()})
    encoder = MLPEncoder(SHAPE, spec.domain, NoCorruption(), hidden=(5,))
    latent = Doubled((5,), dim=3)
    model = Autoencoder(
        spec,
        corruption=NoCorruption(),
        encoder=encoder,
        latent=latent,
        prior=StandardNormal((3,)),
        decoder=MLPDecoder(latent.decoder_shape, (1, *SHAPE), hidden=(5,)),
        loss=Sized(SHAPE, spec.domain),
        objective=Deterministic(),
    )
    z, sizes = torch.randn(4, 3), torch.tensor([1.0, 2.0, 3.0, 4.0])
    batch = Batch(torch.randn(4, *SHAPE), extras={"size": sizes})
    output = model.decode(z)
    torch.testing.assert_close(output, model.decoder(torch.cat([z, z], 1)))
    torch.testing.assert_close(model.decode(z, like=batch), output * sizes.reshape(-1, 1, 1, 1))
    torch.testing.assert_close(model.decode(z, batch), output * sizes.reshape(-1, 1, 1, 1))


def test_a_corruption_can_be_active_in_evaluation() -> None:
    model, batch = make(corruption={"name": "gaussian", "std": 3.0}).eval(), Batch(torch.randn(4, *SHAPE))
    assert model(batch).encoder_input is batch
    model.corruption.in_evaluation = True
    assert model(batch).encoder_input is not batch


JUDGE = {"judge": {"name": "discriminator_x"}}


def test_terms_of_critics_are_computed_without_a_gradient_of_the_autoencoder() -> None:
    model = make(critics={**JUDGE, "discriminator_z": {}})
    out = model(Batch(torch.randn(4, *SHAPE)))
    terms = model.critic_terms(out, TrainingProgress())
    assert {label: set(of_critic.raw) for label, of_critic in terms.items()} == {
        "judge": {"real", "fake"},
        "discriminator_z": {"real", "fake"},
    }
    sum(of_critic.total().sum() for of_critic in terms.values()).backward()
    trained = {name.split(".")[0] for name, weight in model.named_parameters() if weight.grad is not None}
    assert trained == {"critics"}


def test_batch_terms_of_a_critic_follow_its_label() -> None:
    assert make(critics={"judge": {"name": "permuted_codes"}}).batch_terms == {"judge/real"}


def test_a_critic_does_not_change_the_first_weights_of_the_rest() -> None:
    models = []
    for critics in ({}, {"discriminator_x": {}, "discriminator_z": {}}):
        torch.manual_seed(1)
        models.append(make(critics=critics).state_dict())
    for name, value in models[0].items():
        assert torch.equal(value, models[1][name])


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            {"penalties": {"adversarial": {}}},
            "penalty 'adversarial' requires a critic 'discriminator_x' with generator_loss; "
            "add critics.discriminator_x={}, or set penalties.adversarial.critic",
        ),
        (
            {"penalties": {"features": {"name": "feature_matching", "critic": "judges"}}, "critics": JUDGE},
            "penalty 'features' requires a critic 'judges' with features, did you mean 'judge'?; "
            "add critics.judges={name: ...}, or set penalties.features.critic",
        ),
        (
            {"objective": "adversarial"},
            "objective 'adversarial' requires a critic 'discriminator_z' with logit; "
            "add critics.discriminator_z={}, or set objective.critic",
        ),
        (
            {"objective": {"name": "total_correlation", "estimator": "adversarial"}},
            "objective 'total_correlation' requires a critic 'permuted_codes' with logit; "
            "add critics.permuted_codes={}, or set objective.critic",
        ),
        (
            {"objective": {"name": "adversarial", "critic": "judge"}, "critics": JUDGE},
            "objective 'adversarial' requires a critic 'judge' with logit, but DiscriminatorX has no logit; "
            "set objective.critic, or choose another critics.judge.name",
        ),
        (
            {"penalties": {"adversarial": {"critic": "discriminator_z"}}, "critics": {"discriminator_z": {}}},
            "penalty 'adversarial' requires a critic 'discriminator_z' with generator_loss, but DiscriminatorZ has no "
            "generator_loss; set penalties.adversarial.critic, or choose another critics.discriminator_z.name",
        ),
    ],
)
def test_a_critic_that_is_missing_or_of_another_sort_is_refused(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(AeframeError) as caught:
        make(**parts)
    assert str(caught.value) == message


# -- weights of zero ---------------------------------------------------------------------------------------------

RAMP = {"name": "linear", "end": 1.0, "over": 0, "delay": 10}


def passes(model: Autoencoder, module: nn.Module, progress: TrainingProgress) -> tuple[int, LossTerms]:
    """Return how often the terms of a batch call a module, and the terms."""
    calls: list[int] = []
    hook = module.register_forward_hook(lambda *_: calls.append(1))
    torch.manual_seed(0)
    out = model(Batch(torch.randn(4, *SHAPE)))
    calls.clear()
    terms = model.terms(out, progress)
    hook.remove()
    return len(calls), terms


@pytest.mark.parametrize(
    ("parts", "called", "name"),
    [
        ({"penalties": {"contractive": {"weight": RAMP}}}, "encoder", "contractive"),
        ({"penalties": {"decoder_gradient": {"weight": RAMP}}}, "decoder", "decoder_gradient"),
        (
            {"penalties": {"adversarial": {"weight": RAMP}}, "critics": {"discriminator_x": {}}},
            "critics.discriminator_x.network",
            "adversarial",
        ),
        (
            {"objective": {"name": "adversarial", "weight": RAMP}, "critics": {"discriminator_z": {}}},
            "critics.discriminator_z.layers",
            "adversarial",
        ),
        (
            {
                "objective": {
                    "name": "total_correlation",
                    "estimator": "adversarial",
                    "beta": {**RAMP, "start": 1.0, "end": 2.0},
                },
                "critics": {"permuted_codes": {}},
            },
            "critics.permuted_codes.layers",
            "total_correlation",
        ),
    ],
)
def test_a_term_of_weight_zero_takes_no_pass_in_training_and_is_logged_in_evaluation(
    parts: dict[str, Any], called: str, name: str
) -> None:
    model = make(**parts)
    module = model.get_submodule(called)
    count, terms = passes(model.train(), module, TrainingProgress(batch=9))
    assert count == 0
    assert name not in terms.raw
    count, terms = passes(model.train(), module, TrainingProgress(batch=10))
    assert count > 0
    assert terms.weights[name] == 1.0
    for batch in (9, 10):
        count, terms = passes(model.eval(), module, TrainingProgress(batch=batch))
        assert count > 0
        assert terms.weights[name] == float(batch == 10)


@pytest.mark.parametrize("objective", ["mmd", "sliced"])
def test_a_distance_of_weight_zero_does_not_sample_the_prior(objective: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, real = make(objective={"name": objective, "weight": RAMP}), StandardNormal.sample
    drawn: list[int] = []

    def sample(prior: StandardNormal, num: int) -> Tensor:
        drawn.append(num)
        return real(prior, num)

    monkeypatch.setattr(StandardNormal, "sample", sample)
    for mode, batch in ((True, 9), (True, 10), (False, 9)):
        model.train(mode)
        terms = model.terms(model(Batch(torch.randn(4, *SHAPE))), TrainingProgress(batch=batch))
        assert (objective in terms.raw) == bool(drawn) == (not mode or batch == 10)
        drawn.clear()


def test_parts_of_the_kl_with_weights_of_one_are_not_computed() -> None:
    ones = {"alpha": 1.0, "beta": RAMP | {"start": 1.0, "end": 2.0}, "gamma": 1.0}
    model, parts = make(objective={"name": "total_correlation", **ones}), ["total_correlation", "dimension_kl"]
    batch = Batch(torch.randn(4, *SHAPE))
    for mode, at, computed in ((True, 9, False), (True, 10, True), (False, 9, True)):
        terms = model.train(mode).terms(model(batch), TrainingProgress(batch=at, rows=40))
        assert [name in terms.raw for name in parts] == [computed, computed]


@pytest.mark.parametrize(
    "parts",
    [
        {
            "penalties": {"adversarial": {"weight": 0.5}, "feature_matching": {"weight": 0.5}},
            "critics": {"discriminator_x": {}},
        },
        {"objective": {"name": "adversarial", "weight": 0.5}, "critics": {"discriminator_z": {}}},
        {
            "objective": {"name": "total_correlation", "estimator": "adversarial", "beta": 1.5},
            "critics": {"permuted_codes": {}},
        },
    ],
)
def test_terms_of_a_critic_have_weight_zero_before_its_start(parts: dict[str, Any]) -> None:
    model = make(**parts)
    (critic,) = model.critics.values()
    assert isinstance(critic, Critic)
    critic.start = 10
    judged = {"adversarial", "feature_matching", "total_correlation"}
    _, before = passes(model.train(), critic, TrainingProgress(batch=9))
    assert not judged & before.raw.keys()
    _, after = passes(model.train(), critic, TrainingProgress(batch=10))
    named = judged & after.raw.keys()
    assert named
    assert all(after.weights[name] == 0.5 for name in named)
    _, evaluated = passes(model.eval(), critic, TrainingProgress(batch=9))
    assert named <= evaluated.raw.keys()
    assert all(evaluated.weights[name] == 0.0 for name in named)


def test_the_state_dict_is_complete() -> None:
    first, second = make(prior="mixture"), make(prior="mixture")
    batch = Batch(torch.randn(4, *SHAPE))
    assert not torch.allclose(first.eval()(batch).output, second.eval()(batch).output)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(batch).output, second(batch).output)
    assert torch.equal(first.prior.log_prob(batch.x[:, 0]), second.prior.log_prob(batch.x[:, 0]))


def test_a_part_of_another_kind_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aeframe.parts.losses.distances.SquaredError", lambda: nn.ReLU())
    with pytest.raises(AeframeError) as error:
        make()
    assert str(error.value) == "loss 'mse' built a ReLU, expected a subclass of aeframe.parts.losses.base.Loss"
