"""Corruptions: their noise, and the clean batch, which stays unchanged."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.parts.corruptions import Corruption
from aeframe.registry import registry
from aeframe.types import Batch, Domain

NAMES = [entry.name for entry in registry().entries("corruption") if entry.plugin == "core"]
SHAPE = (3, 20, 20)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def make(name: str, domain: str = "unit", **options: Any) -> Corruption:
    corruption: Corruption = build("corruption", {"name": name, **options}, shape=SHAPE, domain=Domain.parse(domain))
    return corruption


@pytest.mark.parametrize("name", NAMES)
def test_the_clean_batch_is_unchanged_and_other_tensors_are_kept(name: str) -> None:
    x = torch.rand(4, *SHAPE)
    batch = Batch(x.clone(), condition=torch.ones(4, 2), index=torch.arange(4), extras={"label": torch.arange(4)})
    seen = make(name)(batch)
    assert torch.equal(batch.x, x)
    assert seen.x.shape == x.shape
    assert seen.x.dtype == x.dtype
    assert seen.condition is batch.condition
    assert seen.index is batch.index
    assert set(batch.extras) == {"label"}
    assert seen.extras["label"] is batch.extras["label"]
    assert torch.equal(seen.x, x) == (name == "none")


@pytest.mark.parametrize("name", NAMES)
def test_the_noise_depends_on_the_seed(name: str) -> None:
    corruption, batch = make(name), Batch(torch.rand(4, *SHAPE))
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(corruption(batch).x)
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[0], drawn[2]) == (name == "none")


@pytest.mark.parametrize("name", NAMES)
def test_an_amount_of_zero_changes_nothing(name: str) -> None:
    nothing: dict[str, Any] = {"none": {}, "gaussian": {"std": 0.0}}
    nothing |= {mask: {"ratio": 0.0} for mask in ("patches", "blocks", "spans")}
    x = torch.rand(4, *SHAPE)
    assert torch.equal(make(name, **nothing.get(name, {"amount": 0.0}))(Batch(x)).x, x)


def test_gaussian_noise_has_mean_zero_and_its_standard_deviation() -> None:
    noise = make("gaussian", std=0.3)(Batch(torch.full((20, *SHAPE), 0.5))).x - 0.5
    assert noise.mean().item() == pytest.approx(0.0, abs=0.01)
    assert noise.std().item() == pytest.approx(0.3, rel=0.02)


def test_salt_and_pepper_sets_half_of_amount_to_each_end() -> None:
    x = torch.full((20, *SHAPE), 0.5)
    seen = make("salt_pepper", "signed", amount=0.3)(Batch(x)).x
    for value, share in ((-1.0, 0.15), (1.0, 0.15), (0.5, 0.7)):
        assert (seen == value).float().mean().item() == pytest.approx(share, abs=0.01)


def test_salt_and_pepper_uses_the_ends_of_the_batch_in_unbounded_domains() -> None:
    x = torch.randn(20, *SHAPE)
    seen = make("salt_pepper", "real", amount=0.5)(Batch(x)).x
    assert set(seen[seen != x].unique().tolist()) == {x.min().item(), x.max().item()}
    counts = torch.arange(1, 7.0).expand(500, 6)
    seen = make("salt_pepper", "count", amount=0.5)(Batch(counts)).x
    # The minimum of counts is 0, the maximum that of the batch.
    assert set(seen[seen != counts].unique().tolist()) == {0.0, 6.0}


def test_salt_and_pepper_ignores_masked_values() -> None:
    x = torch.arange(12.0).repeat(50, 1)
    x[:, 0], x[:, 11] = torch.nan, 100.0
    mask = torch.ones(50, 12, dtype=torch.bool)
    mask[:, 0] = mask[:, 11] = False
    seen = Batch(x, mask=mask)
    changed = make("salt_pepper", "real", amount=0.5)(seen).x[mask]
    assert set(changed[changed != x[mask]].unique().tolist()) == {1.0, 10.0}


def test_masking_hides_whole_positions_or_single_values() -> None:
    x = torch.rand(20, *SHAPE) + 1
    whole = make("masking", amount=0.4, value=-1.0)(Batch(x)).x
    hidden = whole == -1
    assert hidden.float().mean().item() == pytest.approx(0.4, abs=0.02)
    assert (hidden.all(1) == hidden.any(1)).all()
    single = make("masking", amount=0.4, whole_channels=False)(Batch(x)).x == 0
    assert single.float().mean().item() == pytest.approx(0.4, abs=0.02)
    assert not (single.all(1) == single.any(1)).all()


def test_masking_of_flat_data_hides_single_features() -> None:
    hidden = make("masking", amount=0.5)(Batch(torch.ones(500, 8))).x == 0
    assert hidden.float().mean().item() == pytest.approx(0.5, abs=0.05)
    # All but 1 in 128 rows are partly hidden.
    assert (hidden.any(1) & ~hidden.all(1)).float().mean().item() > 0.9


def test_dropout_keeps_the_mean() -> None:
    seen = make("dropout", amount=0.25)(Batch(torch.ones(20, *SHAPE))).x
    assert seen.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert seen.mean().item() == pytest.approx(1.0, abs=0.02)


def test_a_corruption_without_methods_is_an_error() -> None:
    class Empty(Corruption):
        pass

    with pytest.raises(AeframeError) as error:
        Empty()(Batch(torch.zeros(1, 2)))
    assert str(error.value) == "corruption Empty defines neither forward nor corrupt"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("gaussian", {"std": -0.1}, "corruption gaussian needs std >= 0, found -0.1"),
        ("salt_pepper", {"amount": 1.1}, "corruption salt_pepper needs amount in [0, 1], found 1.1"),
        ("masking", {"amount": -1.0}, "corruption masking needs amount in [0, 1], found -1.0"),
        ("dropout", {"amount": 2.0}, "corruption dropout needs amount in [0, 1], found 2.0"),
        ("dropout", {"amount": 1.0}, "corruption dropout needs amount below 1, found 1"),
    ],
)
def test_error_messages_of_wrong_amounts(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(AeframeError) as error:
        make(name, **options)
    assert str(error.value) == message
