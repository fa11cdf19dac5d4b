"""Fréchet distance, precision and recall, density and coverage: closed forms, hand-made cases, and the protocol."""

from __future__ import annotations

import pytest
import scipy.linalg
import torch
from torch import Tensor

from aeframe import AeframeError
from aeframe.data import TensorSource
from aeframe.data.vector import Vector
from aeframe.evaluation.feature_spaces import PrincipalComponents
from aeframe.evaluation.frechet import frechet_distance, squared_frechet_distance
from aeframe.evaluation.neighbourhoods import density_and_coverage, precision_and_recall
from aeframe.evaluation.sample_quality import SampleQuality, measures, sample_quality
from aeframe.types import Batch, DataSpec, Domain


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def test_the_frechet_distance_of_normals_with_diagonal_covariances() -> None:
    # |a - b|^2 plus the squared differences of the standard deviations.
    mean_a, mean_b = torch.tensor([1.0, 2.0]).double(), torch.tensor([4.0, -2.0]).double()
    a, b = torch.tensor([1.0, 9.0]).double().diag(), torch.tensor([16.0, 4.0]).double().diag()
    assert float(squared_frechet_distance(mean_a, a, mean_b, b)) == pytest.approx(25 + 9 + 1)


def test_the_frechet_distance_of_features_by_scipys_matrix_root() -> None:
    a, b = torch.randn(40, 6) @ torch.randn(6, 6) + 3, torch.randn(50, 6) @ torch.randn(6, 6)
    cov_a, cov_b = (each.double().T.cov() for each in (a, b))
    root = scipy.linalg.sqrtm((cov_a @ cov_b).numpy())
    means = float((a.double().mean(0) - b.double().mean(0)).square().sum())
    expected = means + float(cov_a.trace() + cov_b.trace()) - 2 * float(root.trace().real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-5)


def test_the_frechet_distance_of_normals_with_singular_covariances() -> None:
    # Rounding may make a zero eigenvalue negative.
    a = torch.tensor([[1.0, 1.0], [1.0, 1.0]]).double()
    zero = torch.zeros(2).double()
    assert float(squared_frechet_distance(zero, a, zero, 4 * a)) == pytest.approx(2.0, abs=1e-7)


def test_neighbourhoods_of_points_on_a_line() -> None:
    # With k = 1 the radii are 1, 1, 1, 8 and 0.25, 0.25, 0.5, 0.5.
    real = torch.tensor([[0.0], [1.0], [2.0], [10.0]])
    generated = torch.tensor([[0.5], [0.75], [30.0], [30.5]])
    assert precision_and_recall(real, generated, neighbours=1) == (0.5, 0.25)
    assert density_and_coverage(real, generated, neighbours=1) == (1.0, 0.5)


def test_neighbourhoods_by_loops() -> None:
    real, generated = torch.randn(30, 3).double(), torch.randn(25, 3).double() * 0.8 + 0.5

    def radii(points: Tensor, k: int) -> list[float]:
        return [sorted(float((p - q).norm()) for q in points)[k] for p in points]

    def inside(p: Tensor, points: Tensor, k: int) -> list[bool]:
        return [float((p - q).norm()) <= r for q, r in zip(points, radii(points, k), strict=True)]

    precision = sum(any(inside(p, real, 3)) for p in generated) / 25
    recall = sum(any(inside(p, generated, 3)) for p in real) / 30
    assert precision_and_recall(real, generated) == pytest.approx((precision, recall))
    balls = torch.tensor([inside(p, real, 5) for p in generated])
    expected = float(balls.sum()) / (5 * 25), float(balls.any(0).double().mean())
    assert density_and_coverage(real, generated) == pytest.approx(expected)


def test_equal_distributions_are_at_the_floor() -> None:
    a, b = torch.randn(2, 400, 4)
    values = measures(a, b)
    assert values["frechet"] < 0.2
    assert min(values["precision"], values["recall"], values["coverage"]) > 0.85
    assert values["density"] == pytest.approx(1, abs=0.15)


def test_components_are_scaled_to_a_variance_of_one() -> None:
    x = torch.randn(200, 5) @ torch.randn(5, 5) * 7 + 2
    spec = DataSpec((5,), Domain("real"))
    space = PrincipalComponents(Vector(), spec, components=5)
    space.fit(x)
    features = space.features(x)
    assert float(features.var(0).sum()) == pytest.approx(1, rel=1e-4)
    # Distances are kept up to one factor.
    factor = torch.pdist(x) / torch.pdist(features)
    torch.testing.assert_close(factor, factor[:1].expand_as(factor), rtol=1e-3, atol=0)
    scaled = PrincipalComponents(Vector(), spec, components=2, standardize=True)
    scaled.fit(x)
    other = PrincipalComponents(Vector(), spec, components=2, standardize=True)
    other.fit(x * torch.tensor([1.0, 10, 100, 0.1, 1]))
    torch.testing.assert_close(
        scaled.features(x).abs(), other.features(x * torch.tensor([1.0, 10, 100, 0.1, 1])).abs(), rtol=1e-3, atol=1e-3
    )
    assert scaled.label == "2"


def quality(make: object, *, held_out: TensorSource, num: int | None = None, seed: int = 0) -> SampleQuality:
    spec = DataSpec((4,), Domain("real"))
    assert callable(make)
    return sample_quality(
        "pca",
        PrincipalComponents(Vector(), spec, components=4),
        spec,
        sample=lambda num, _: make(num),
        reconstruct=lambda batch: batch.x * 0.5,
        train=held_out,
        held_out=held_out,
        num=num,
        seed=seed,
    )


def test_samples_are_compared_with_half_of_the_held_out_ones() -> None:
    held_out = TensorSource(torch.randn(200, 4))
    good = quality(lambda num: torch.randn(num, 4), held_out=held_out)
    bad = quality(lambda num: torch.randn(1, 4) + 0.01 * torch.randn(num, 4), held_out=held_out)
    assert good.num == bad.num == 100
    assert (good.space, good.num_features) == ("pca-4", 4)
    assert good.floor == bad.floor
    assert good.samples["frechet"] == pytest.approx(good.floor["frechet"], abs=0.1)
    assert good.reconstructions["frechet"] > 2 * good.floor["frechet"]
    assert bad.samples["frechet"] > 10 * good.samples["frechet"]
    assert bad.samples["recall"] < 0.1 < 0.7 < good.samples["recall"]
    assert bad.samples["coverage"] < 0.3 < 0.7 < good.samples["coverage"]
    fewer = quality(lambda num: torch.randn(num, 4), held_out=held_out, num=30, seed=1)
    assert fewer.num == 30


def test_masked_elements_are_equal_in_all_sets() -> None:
    mask = torch.rand(100, 4) > 0.3
    seen: list[Tensor] = []

    class Recording(PrincipalComponents):
        def features(self, x: Tensor) -> Tensor:
            seen.append(x)
            return super().features(x)

    spec = DataSpec((4,), Domain("real"))
    x = torch.randn(100, 4).masked_fill(~mask, torch.nan)
    sample_quality(
        "pca",
        Recording(Vector(), spec, components=2),
        spec,
        sample=lambda num, _: torch.ones(num, 4),
        reconstruct=lambda batch: torch.ones_like(batch.x),
        train=TensorSource(x, mask=mask),
        held_out=TensorSource(x, mask=mask),
    )
    real, samples, reconstructions, floor = seen
    assert torch.equal(real == 0, samples == 0)
    assert torch.equal(reconstructions == 0, floor == 0)


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(AeframeError) as caught:
        quality(torch.randn, held_out=TensorSource(torch.randn(19, 4)))
    assert str(caught.value) == (
        "feature space pca compares at least 10 samples with as many others, found 19 held-out samples and num None; "
        "choose a larger split, or a larger number"
    )


def test_components_of_categories_are_refused() -> None:
    with pytest.raises(AeframeError) as caught:
        PrincipalComponents(Vector(), DataSpec((4,), Domain.parse("category(3)")))
    assert str(caught.value) == (
        "feature space pca is for numbers at fixed positions, found categories; feature spaces of modality Vector are "
        "pca"
    )


def test_conditions_of_the_held_out_samples_are_used() -> None:
    conditions: list[Tensor | None] = []
    condition = torch.arange(40.0).unsqueeze(1)
    spec = DataSpec((4,), Domain("real"), condition=1)

    def sample(num: int, given: Tensor | None) -> Tensor:
        conditions.append(given)
        return torch.randn(num, 4)

    source = TensorSource(torch.randn(40, 4), condition=condition)

    def reconstruct(batch: Batch) -> Tensor:
        return batch.x

    sample_quality(
        "pca",
        PrincipalComponents(Vector(), spec, components=2),
        spec,
        sample=sample,
        reconstruct=reconstruct,
        train=source,
        held_out=source,
    )
    (given,) = conditions
    assert given is not None
    assert len(given.unique()) == 20
