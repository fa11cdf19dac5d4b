"""Conversion of stored pixels to the values of a domain, and back."""

from __future__ import annotations

import pytest
import torch

from aeframe.types import Batch, Domain
from aeframe_image.values import Values

ALL = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)


@pytest.mark.parametrize("domain", ["unit", "signed", "binary"])
@pytest.mark.parametrize("binarize", ["threshold", "sample", "fixed"])
def test_values_are_in_the_domain(domain: str, binarize: str) -> None:
    x = Values(domain, binarize=binarize)(ALL)  # type: ignore[arg-type]
    assert x.dtype == torch.float32
    assert not Domain.parse(domain).violations(x).any()


@pytest.mark.parametrize("domain", ["unit", "signed"])
def test_conversion_to_values_and_back_is_lossless(domain: str) -> None:
    values = Values(domain)  # type: ignore[arg-type]
    assert torch.equal(values.pixels(values(ALL)), ALL)


def test_signed_values_are_from_minus_one_to_one() -> None:
    assert Values("signed")(ALL).flatten()[[0, 51, 255]].tolist() == pytest.approx([-1.0, -0.6, 1.0])


def test_the_threshold_is_half_brightness() -> None:
    assert Values("binary")(ALL).flatten().tolist() == [0.0] * 128 + [1.0] * 128
    assert Values("binary")(torch.tensor([0.4999, 0.5])).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("domain", ["unit", "signed", "binary"])
def test_values_outside_the_domain_are_clipped(domain: str) -> None:
    assert Values(domain).pixels(torch.tensor([-7.0, 7.0])).tolist() == [0, 255]  # type: ignore[arg-type]


def test_training_images_are_sampled_from_the_global_generator_by_brightness() -> None:
    values = Values("binary", binarize="sample")
    grey = torch.full((400, 1, 8, 8), 64, dtype=torch.uint8)
    torch.manual_seed(0)
    first, second = values(grey), values(grey)
    torch.manual_seed(0)
    assert torch.equal(values(grey), first)
    assert not torch.equal(first, second)
    # Five standard deviations of a mean of 25,600 samples.
    assert first.mean() == pytest.approx(64 / 255, abs=0.0136)


def test_sampled_evaluation_images_depend_only_on_their_row() -> None:
    values = Values("binary", binarize="sample")
    stored = Batch(torch.full((6, 1, 8, 8), 120, dtype=torch.uint8), index=torch.arange(6))
    state = torch.get_rng_state()
    samples = values.evaluation(stored).x
    assert torch.equal(torch.get_rng_state(), state)
    part = values.evaluation(stored.rows(torch.tensor([4, 1]))).x
    assert torch.equal(part, samples[[4, 1]])
    assert not torch.equal(samples[0], samples[1])
    assert values.evaluation(stored.rows(torch.tensor([2]))).x.mean() == pytest.approx(120 / 255, abs=0.32)


def test_floats_and_bytes_are_sampled_alike() -> None:
    values = Values("binary", binarize="sample")
    index = torch.arange(2)
    stored = torch.full((2, 1, 4, 4), 51, dtype=torch.uint8)
    of_bytes = values.evaluation(Batch(stored, index=index)).x
    assert torch.equal(values.evaluation(Batch(stored.float() / 255, index=index)).x, of_bytes)
