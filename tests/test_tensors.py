"""Functions on tensors."""

from __future__ import annotations

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aeframe.tensors import per_sample


@settings(deadline=None)
@given(shape=st.lists(st.integers(1, 4), min_size=0, max_size=3), k=st.integers(1, 3), b=st.integers(1, 4))
def test_per_sample_sums_all_but_the_leading_dimensions(shape: list[int], k: int, b: int) -> None:
    value = torch.arange(float(k * b * math.prod(shape))).reshape(k, b, *shape)
    expected = value.reshape(k, b, -1).sum(-1)
    torch.testing.assert_close(per_sample(value, 2), expected)
    torch.testing.assert_close(per_sample(value[0]), expected[0])
