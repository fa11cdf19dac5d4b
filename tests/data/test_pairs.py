"""Random partners: of the same label, uniform, and reproducible."""

from __future__ import annotations

import torch
from torch import Tensor

from aeframe.data.memory import TensorSource
from aeframe.data.pairs import Paired
from aeframe.types import Batch

LABELS = torch.tensor([2, 0, 1, 0, 2, 0, 0, 7])


def paired(labels: Tensor | None) -> Paired:
    """Samples that equal their row numbers."""
    x = torch.arange(8.0)[:, None]
    return Paired(TensorSource(x, extras={} if labels is None else {"label": labels}))


def partners(source: Paired, rows: Tensor) -> Tensor:
    partner = source.batch(rows).partner()
    assert partner is not None
    return partner.x[:, 0].long()


def counts(source: Paired, row: int, num: int = 3000) -> list[int]:
    torch.manual_seed(0)
    return partners(source, torch.full((num,), row)).bincount(minlength=8).tolist()


def test_partners_are_uniform_over_the_same_label() -> None:
    # Rows 1, 3, 5 and 6 have label 0.
    frequencies = counts(paired(LABELS), 3)
    assert [number for number, count in enumerate(frequencies) if count] == [1, 5, 6]
    assert all(abs(count - 1000) < 150 for count in frequencies if count)
    assert counts(paired(LABELS), 0) == [0, 0, 0, 0, 3000, 0, 0, 0]


def test_the_only_sample_of_a_label_is_its_own_partner() -> None:
    assert counts(paired(LABELS), 7)[7] == 3000


def test_without_classes_any_other_sample_is_a_partner() -> None:
    for labels in (None, torch.rand(8), torch.zeros(8, 2, dtype=torch.long)):
        frequencies = counts(paired(labels), 2)
        assert frequencies[2] == 0
        assert all(abs(count - 3000 / 7) < 100 for count in frequencies[:2] + frequencies[3:])


def test_the_sample_is_unchanged_and_partners_are_reproducible() -> None:
    source, rows = paired(LABELS), torch.tensor([5, 0, 3])
    batches = []
    for _ in range(2):
        torch.manual_seed(4)
        batches.append(source.batch(rows))
    assert batches[0].x[:, 0].tolist() == [5, 0, 3]
    assert batches[0].extras["label"].tolist() == [0, 2, 0]
    assert batches[0].index is not None
    assert batches[0].index.tolist() == [5, 0, 3]
    assert torch.equal(batches[0].extras["partner"], batches[1].extras["partner"])
    assert source.in_memory
    assert len(source) == 8


def test_a_partner_has_its_own_mask_condition_and_extras() -> None:
    x = torch.arange(4.0)[:, None]
    source = Paired(TensorSource(x, mask=x > 1, condition=-x, extras={"size": 10 * x[:, 0]}))
    batch = source.batch(torch.arange(4))
    partner = batch.partner()
    assert partner is not None
    assert partner.mask is not None
    assert partner.condition is not None
    assert torch.equal(partner.mask, partner.x > 1)
    assert torch.equal(partner.condition, -partner.x)
    assert torch.equal(partner.extras["size"], 10 * partner.x[:, 0])
    assert Batch(x).partner() is None
