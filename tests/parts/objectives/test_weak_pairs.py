"""Weak pairs: averages by hand, the adaptive rule, and samples without a partner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from aeframe.errors import AeframeError
from aeframe.experiment.compose import compose
from aeframe.experiment.workflow import train
from aeframe.factory import build
from aeframe.model.autoencoder import Autoencoder
from aeframe.model_store.reader import load
from aeframe.parts.objectives.weak_pairs import WeakPairs, _shared
from aeframe.types import Batch, DataSpec, Domain, TrainingProgress

Make = Callable[..., Autoencoder]
SPEC = DataSpec((6,), Domain("real"), extras={"partner": (6,)})


def pair() -> tuple[Normal, Normal]:
    return Normal(torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 2.0]])), Normal(
        torch.tensor([[2.0, 4.0]]), torch.tensor([[1.0, 1.0]])
    )


def test_the_mean_of_two_posteriors_by_hand() -> None:
    loc, scale = WeakPairs(SPEC)._averaged(*pair())
    assert loc.tolist() == [[1.0, 2.5]]
    assert scale.square().tolist()[0] == pytest.approx([1.0, 2.5])


def test_the_product_of_two_posteriors_is_that_of_their_densities() -> None:
    one, other = pair()
    loc, scale = WeakPairs(SPEC, average="product")._averaged(one, other)
    assert loc.tolist()[0] == pytest.approx([1.0, (1 / 4 + 4) / (5 / 4)])
    assert scale.square().tolist()[0] == pytest.approx([0.5, 0.8])
    x = torch.linspace(-3, 5, 7)[:, None]
    differences = one.log_prob(x) + other.log_prob(x) - Normal(loc, scale).log_prob(x)
    torch.testing.assert_close(differences, differences[:1].expand_as(differences))


def test_dimensions_nearer_than_the_middle_are_shared() -> None:
    # KL of equal unit normals is half the squared distance: 0, 0.5, 4.5 and 2; the middle is 2.25.
    one = Normal(torch.zeros(1, 4), torch.ones(1, 4))
    other = Normal(torch.tensor([[0.0, 1.0, 3.0, 2.0]]), torch.ones(1, 4))
    assert _shared(one, other).tolist() == [[True, True, False, True]]


def test_the_middle_is_of_one_pair_over_all_positions() -> None:
    one = Normal(torch.zeros(2, 2, 2), torch.ones(2, 2, 2))
    other = Normal(torch.tensor([[[0.0, 1.0], [3.0, 2.0]], [[1.0, 0.0], [0.0, 0.0]]]), torch.ones(2, 2, 2))
    assert _shared(one, other).tolist() == [[[True, True], [False, True]], [[False, True], [True, True]]]


@pytest.mark.parametrize("average", ["mean", "product"])
def test_in_training_the_terms_are_means_of_both_partners(make: Make, average: str) -> None:
    model = make({"name": "weak_pairs", "beta": 2.0, "average": average}, pairs=True)
    x, partner = torch.randn(2, 5, 6, requires_grad=True)
    p = model(Batch(x).paired(Batch(partner)))
    terms = model.terms(p, TrainingProgress())
    assert terms.weights == {"reconstruction": 1.0, "kl": 2.0}
    one, other = (model.embed(Batch(each)).posterior for each in (x, partner))
    assert isinstance(model.objective, WeakPairs)
    assert isinstance(one, Normal)
    assert isinstance(other, Normal)
    loc, scale = model.objective._averaged(one, other)
    shared = _shared(one, other)
    expected = torch.zeros(5)
    for q in (one, other):
        averaged = Normal(torch.where(shared, loc, q.loc), torch.where(shared, scale, q.scale))
        expected += torch.distributions.kl_divergence(averaged, Normal(0.0, 1.0)).sum(1) / 2
    torch.testing.assert_close(terms.raw["kl"], expected)
    assert terms.bound is not None
    torch.testing.assert_close(terms.bound, terms.raw["reconstruction"] + expected)
    gradients = torch.autograd.grad(terms.total().sum(), [x, partner])
    assert all(bool(gradient.any(1).all()) for gradient in gradients)


def test_each_sample_of_a_pair_is_encoded_and_decoded_once(make: Make) -> None:
    model, passes = make({"name": "weak_pairs"}, pairs=True), {"encoder": 0, "decoder": 0}

    def count(name: str) -> None:
        passes[name] += 1

    model.encoder.register_forward_hook(lambda *_: count("encoder"))
    model.decoder.register_forward_hook(lambda *_: count("decoder"))
    x, partner = torch.randn(2, 5, 6)
    p = model(Batch(x).paired(Batch(partner)))
    model.terms(p, TrainingProgress())
    assert passes == {"encoder": 2, "decoder": 2}
    # z is sampled from the combined posterior.
    torch.testing.assert_close(p.reconstruction, model.loss(model.decode(p.latent.z, p.batch), p.batch))


def test_a_sample_paired_with_itself_has_the_evidence_lower_bound(make: Make) -> None:
    model = make({"name": "weak_pairs"}, pairs=True)
    x = torch.randn(1, 6).expand(4000, 6)
    paired = model.terms(model(Batch(x).paired(Batch(x))), TrainingProgress())
    alone = model.terms(model(Batch(x)), TrainingProgress())
    torch.testing.assert_close(paired.raw["kl"], alone.raw["kl"])
    assert float(paired.raw["reconstruction"].mean().detach()) == pytest.approx(
        float(alone.raw["reconstruction"].mean().detach()), rel=0.01
    )


def test_held_out_samples_have_the_evidence_lower_bound(make: Make) -> None:
    model = make({"name": "weak_pairs"}, pairs=True).eval()
    p = model(Batch(torch.randn(5, 6)).paired(Batch(torch.randn(5, 6))))
    terms = model.terms(p, TrainingProgress())
    torch.testing.assert_close(terms.raw["kl"], model.prior.kl(p.latent).sum(1))
    assert terms.raw["reconstruction"] is p.reconstruction


def test_data_without_pairs_are_rejected() -> None:
    with pytest.raises(AeframeError) as error:
        build("objective", {"name": "weak_pairs"}, spec=DataSpec((6,), Domain("real")))
    assert str(error.value) == (
        "objective weak_pairs needs pairs of samples, but these data have single samples; set pairs=true"
    )


def test_a_run_without_pairs_is_rejected_before_data_are_loaded() -> None:
    with pytest.raises(AeframeError, match="set pairs=true"):
        train(compose(["model=ada_gvae", "pairs=false", "data=breast_cancer"]))


def test_a_run_trains_on_pairs_and_its_model_can_be_loaded(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    partners: list[Tensor] = []
    monkeypatch.setattr(WeakPairs, "_pair", _counted(partners))
    overrides = [
        "model=ml_vae", "data=breast_cancer", "encoder.hidden=[8]", "latent.dim=3", "max_batches=3", "pictures=false",
        "trainer.accelerator=cpu", f"folder={tmp_path / 'run'}",
    ]  # fmt: skip
    run = train(compose(overrides))
    # The dry run and three batches.
    assert [partner.device.type for partner in partners] == ["meta", "cpu", "cpu", "cpu"]
    assert [tuple(partner.shape) for partner in partners[1:]] == [(64, 30)] * 3
    saved = load(run.folder)
    assert saved.spec.extras == {"partner": (30,)}
    assert saved.score(torch.randn(4, 30)).shape == (4,)


def _counted(partners: list[Tensor]) -> Any:
    real = WeakPairs._pair

    def counted(self: WeakPairs, model: Any, latent: Any, partner: Batch, *, sample: bool) -> Any:
        partners.append(partner.x)
        return real(self, model, latent, partner, sample=sample)

    return counted
