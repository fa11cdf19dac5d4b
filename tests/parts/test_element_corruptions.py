"""Corruptions of single elements: which are chosen, where the values come from, and what the encoder receives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor

from aeframe.devices import LocalRows, shared_batch
from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.parts.corruptions import Corruption, NoCorruption
from aeframe.parts.networks.mlp import MLPEncoder
from aeframe.types import Batch, Domain, Shape

GROUPED = Domain.parse("mixed(0+3,0,2,0+0+4)")
"""Four columns: a number with modes, a number, a class, and two numbers with a class."""
COLUMNS = [[0, 1], [2], [3], [4, 5, 6]]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def make(name: str, domain: Domain = GROUPED, shape: Shape = (7,), **options: Any) -> Corruption:
    corruption: Corruption = build("corruption", {"name": name, **options}, shape=shape, domain=domain)
    return corruption


def rows_of(num: int, domain: Domain = GROUPED, shape: Shape = (7,)) -> Tensor:
    return domain.values(torch.rand(num, *shape), torch.randn(num, *shape))


def row_numbers(num: int, width: int) -> Tensor:
    """Return samples whose elements are the number of their row."""
    return torch.arange(num, dtype=torch.float32).unsqueeze(1).expand(num, width).contiguous()


# -- hidden elements -----------------------------------------------------------------------------------------------


def test_whole_cells_are_hidden_at_the_rate_of_amount() -> None:
    x = rows_of(4000)
    seen = make("elements", amount=0.3, value=0.0)(Batch(x))
    hidden = seen.extras["hidden"]
    for elements in COLUMNS:
        cells = hidden[:, elements]
        assert torch.equal(cells.all(1), cells.any(1))
        assert stats.binomtest(int(cells[:, 0].sum()), 4000, 0.3).pvalue > 0.001
    # Columns are chosen independently of each other.
    assert torch.corrcoef(hidden[:, [0, 2, 3, 4]].T.float()).fill_diagonal_(0).abs().max() < 0.06
    assert seen.mask is not None
    assert torch.equal(seen.mask, ~hidden)
    assert torch.equal(seen.x, x.masked_fill(hidden, 0))


@pytest.mark.parametrize(("amount", "share"), [(0.0, 0.0), (1.0, 1.0)])
def test_the_ends_of_amount_hide_nothing_and_all(amount: float, share: float) -> None:
    assert make("elements", amount=amount)(Batch(rows_of(20))).extras["hidden"].float().mean() == share


def test_elements_of_pictures_are_hidden_alone() -> None:
    hidden = make("elements", Domain("unit"), (3, 8, 8), amount=0.5)(Batch(torch.rand(50, 3, 8, 8))).extras["hidden"]
    assert hidden.shape == (50, 3, 8, 8)
    assert hidden.float().mean().item() == pytest.approx(0.5, abs=0.02)
    assert not torch.equal(hidden.all(1), hidden.any(1))


@pytest.mark.parametrize("domain", [Domain.parse("mixed(0*3,2)"), GROUPED, Domain("real"), Domain.parse("category(3)")])
def test_the_encoder_distinguishes_hidden_elements_from_zeros(domain: Domain) -> None:
    width = len(domain.element_classes) or 7
    encoder = MLPEncoder((width,), domain, make("elements", domain, (width,)), hidden=(6,)).eval()
    zeros = Batch(torch.zeros(1, width), mask=torch.ones(1, width, dtype=torch.bool))
    groups = domain.group_numbers((width,))
    for group in groups.unique():
        hidden = Batch(zeros.x, mask=(groups != group).unsqueeze(0))
        assert not torch.allclose(encoder(hidden), encoder(zeros))
    # Without a mask nothing is hidden.
    assert torch.equal(encoder(Batch(zeros.x)), encoder(zeros))


def test_the_encoder_has_inputs_for_hidden_numbers_only_where_the_corruption_hides() -> None:
    for domain, plain, hiding in ((GROUPED, 13, 1), (Domain("real"), 7, 7), (Domain.parse("category(3)"), 21, 0)):
        sizes = [
            MLPEncoder((7,), domain, corruption, hidden=(2,)).layers[0].in_features
            for corruption in (NoCorruption(), make("swap_noise", domain), make("elements", domain))
        ]
        assert sizes == [plain, plain, plain + hiding]


# -- swapped elements ----------------------------------------------------------------------------------------------


def test_cells_are_replaced_at_the_rate_of_amount_by_those_of_other_rows() -> None:
    x = row_numbers(4000, 7)
    seen = make("swap_noise", amount=0.15)(Batch(x)).x
    changed = seen != x
    for elements in COLUMNS:
        assert torch.equal(seen[:, elements[:1]].expand(-1, len(elements)), seen[:, elements])
        assert stats.binomtest(int(changed[:, elements[0]].sum()), 4000, 0.15).pvalue > 0.001


def test_the_row_of_a_replaced_cell_is_uniform_among_the_others() -> None:
    num, corruption = 5, make("swap_noise", amount=1.0)
    counts = torch.zeros(num, num)
    for _ in range(600):
        seen = corruption(Batch(row_numbers(num, 7))).x[:, 0].long()
        counts[torch.arange(num), seen] += 1
    assert not counts.diagonal().any()
    others = counts[~torch.eye(num, dtype=torch.bool)]
    assert stats.chisquare(others.numpy()).pvalue > 0.001


def test_the_distribution_of_each_column_is_unchanged() -> None:
    x = rows_of(5000)
    seen = make("swap_noise", amount=0.5)(Batch(x)).x
    for column in (0, 2, 4, 5):
        assert stats.ks_2samp(x[:, column].numpy(), seen[:, column].numpy()).pvalue > 0.001
    for column in (1, 3, 6):
        counts = [values[:, column].long().bincount(minlength=5)[:4].numpy() for values in (x, seen)]
        table = [count[counts[0] > 0] for count in counts]
        assert stats.chi2_contingency(table).pvalue > 0.001
    # Two cells of a row keep their relation where neither was replaced: (1 - 0.5)^2 of the correlation is left.
    y = torch.randn(20_000, 1).expand(-1, 7).contiguous()
    seen = make("swap_noise", amount=0.5)(Batch(y)).x
    assert torch.corrcoef(seen.T)[0, 2].item() == pytest.approx(0.25, abs=0.03)


def test_missing_cells_are_swapped_like_values() -> None:
    x, mask = rows_of(4000), torch.rand(4000, 4) < 0.7
    mask = mask[:, [0, 0, 1, 2, 3, 3, 3]]
    x = x.masked_fill(~mask, torch.nan)
    seen = make("swap_noise", amount=0.5)(Batch(x, mask=mask))
    assert seen.mask is not None
    assert torch.equal(seen.x.isnan(), ~seen.mask)
    assert not torch.equal(seen.mask, mask)
    for elements in COLUMNS:
        assert torch.equal(seen.mask[:, elements].all(1), seen.mask[:, elements].any(1))
        assert seen.mask[:, elements[0]].float().mean().item() == pytest.approx(0.7, abs=0.03)


def test_padding_keeps_its_length() -> None:
    x = row_numbers(50, 12).reshape(50, 2, 6) + 1
    mask = torch.ones(50, 2, dtype=torch.bool)
    mask[::2, 1] = False
    x[::2, 1] = torch.nan
    seen = make("swap_noise", Domain("real"), (2, 6), amount=0.9)(Batch(x, mask=mask))
    assert torch.equal(seen.mask, mask)
    assert torch.equal(seen.x.isnan(), x.isnan())
    assert (seen.x[mask] != x[mask]).any()


def test_one_sample_stays_as_it_is() -> None:
    x = rows_of(1)
    assert torch.equal(make("swap_noise", amount=1.0)(Batch(x)).x, x)


def test_a_device_swaps_with_the_rows_of_all_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    x, corruption = row_numbers(10, 7), make("swap_noise", amount=0.7)
    mask = torch.rand(10, 7) < 0.5
    draws = [torch.rand(10, 4), torch.rand(10, 4)]

    def run(rows: slice) -> Batch:
        own = iter(draws)
        monkeypatch.setattr(torch, "rand", lambda *size, **_: next(own)[rows])
        return corruption(Batch(x[rows], mask=mask[rows]))

    whole = run(slice(0, 10))
    gathered = {torch.float32: x, torch.uint8: mask.to(torch.uint8)}
    monkeypatch.setattr("aeframe.devices._gather", lambda rows, shared: gathered[rows.dtype])
    for rank in range(3):
        rows = LocalRows(10, rank, 3)
        with shared_batch(rows):
            part = run(slice(rows.start, rows.stop))
        assert torch.equal(part.x, whole.x[rows.start : rows.stop])
        assert whole.mask is not None
        assert part.mask is not None
        assert torch.equal(part.mask, whole.mask[rows.start : rows.stop])


@pytest.mark.parametrize("name", ["elements", "swap_noise"])
@pytest.mark.parametrize("amount", [-0.1, 1.1])
def test_error_messages_of_wrong_amounts(name: str, amount: float) -> None:
    with pytest.raises(AeframeError) as error:
        make(name, amount=amount)
    assert str(error.value) == f"corruption {name} needs amount in [0, 1], found {amount}"
