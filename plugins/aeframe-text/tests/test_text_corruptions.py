"""Corruptions of tokens, compared with results computed by hand."""

from __future__ import annotations

import pytest
import torch

from aeframe import AeframeError
from aeframe.factory import build
from aeframe.noise import noise_of
from aeframe.types import Batch, Domain
from aeframe_text.corruptions import delete_tokens
from aeframe_text.infilling import SpanCorruption, TextInfilling, replace_spans
from aeframe_text.specials import END, MASK, PAD, UNKNOWN

CPU = torch.device("cpu")
A, B, C, D, E, F = range(5, 11)
SENTENCES = torch.tensor([[A, B, C, D, E, F, END, PAD], [A, B, END, PAD, PAD, PAD, PAD, PAD]])
BATCH = Batch(SENTENCES, SENTENCES != PAD, index=torch.arange(2), extras={"words": torch.tensor([7, 3])})
SPEC = {"shape": (8,), "domain": Domain("category", 20)}
LONG = torch.cat([torch.arange(5, 105).expand(400, -1), torch.full((400, 1), END)], 1)
MANY = Batch(LONG, torch.ones_like(LONG, dtype=torch.bool))


def test_text_infilling_by_hand() -> None:
    # a b c d e f: the span b c becomes one mask, and a mask is inserted between e and f.
    lengths = torch.tensor([[2, 0, -1], [2, -1, -1]])
    is_mask = torch.zeros(2, 8, dtype=torch.bool)
    is_mask[0, [1, 4]] = True
    is_mask[1, 0] = True
    x, count = replace_spans(SENTENCES, torch.tensor([6, 2]), torch.tensor([True, True]), lengths, is_mask)
    assert x.tolist() == [[A, MASK, D, E, MASK, F, END, PAD], [MASK, END, *[PAD] * 6]]
    assert count.tolist() == [7, 2]


def test_spans_of_t5_by_hand() -> None:
    # Masked spans of 1 and 2 tokens after kept spans of 2 and 1: a b [c] d [e f].
    is_mask = torch.zeros(1, 8, dtype=torch.bool)
    is_mask[0, [2, 4]] = True
    lengths = torch.tensor([[1, 2]])
    x, count = replace_spans(SENTENCES[:1], torch.tensor([6]), torch.tensor([True]), lengths, is_mask)
    assert x.tolist() == [[A, B, MASK, D, MASK, END, PAD, PAD]]
    assert count.tolist() == [6]


def test_deletion_by_hand() -> None:
    keep = torch.tensor([[1, 0, 0, 1, 1, 0, 1, 0], [0, 1, 1, 0, 0, 0, 0, 0]], dtype=torch.bool)
    corrupted = delete_tokens(BATCH, keep)
    assert corrupted.x.tolist() == [[A, D, E, END, *[PAD] * 4], [B, END, *[PAD] * 6]]
    assert corrupted.mask is not None
    assert corrupted.mask.sum(1).tolist() == [4, 2]
    assert corrupted.extras is BATCH.extras


@pytest.mark.parametrize("name", ["token_dropout", "token_deletion", "text_infilling", "span_corruption"])
def test_every_sentence_keeps_its_end_and_the_order_of_its_tokens(name: str) -> None:
    corruption = build("corruption", name, **SPEC)
    with noise_of(CPU, 0):
        for _ in range(50):
            corrupted = corruption(BATCH)
            assert corrupted.mask is not None
            assert corrupted.x.shape == (2, 8)
            for row, clean in zip(range(2), SENTENCES.tolist(), strict=True):
                tokens = corrupted.x[row][corrupted.mask[row]].tolist()
                assert tokens[-1] == END
                assert END not in tokens[:-1]
                assert not corrupted.x[row][~corrupted.mask[row]].any()
                kept = [token for token in tokens if token not in (MASK, UNKNOWN)]
                remaining = iter(clean)
                assert all(token in remaining for token in kept)
    assert torch.equal(BATCH.x, SENTENCES)


def test_the_fraction_of_corrupted_tokens_is_amount() -> None:
    for name, replacement in (("token_dropout", UNKNOWN), ("token_deletion", PAD)):
        corruption = build("corruption", {"name": name, "amount": 0.2}, shape=(101,), domain=Domain("category", 200))
        with noise_of(CPU, 1):
            fraction = (corruption(MANY).x == replacement).float().sum(1).mean().item() / 100
        assert fraction == pytest.approx(0.2, abs=0.01)


def test_text_infilling_masks_its_amount_in_spans_of_poisson_length() -> None:
    with noise_of(CPU, 1):
        x = TextInfilling((101,), Domain("category", 200))(MANY).x
        lengths, is_mask = TextInfilling((101,), Domain("category", 200)).sample_spans(torch.full((400,), 100), 101)
    # Exactly 30 of 100 tokens are masked in each sentence.
    assert ((x > MASK).sum(1) == 70).all()
    assert ((lengths.clamp(min=0)).sum(1) == 30).all()
    assert ((lengths >= 0).sum(1) == is_mask.sum(1)).all()
    # The first three spans are not shortened to reach the amount, so their lengths are Poisson(3): mean 3, and 0 with
    # probability exp(-3).
    first = lengths[:, :3].float()
    assert first.mean().item() == pytest.approx(3.0, abs=0.15)
    assert (first == 0).float().mean().item() == pytest.approx(0.0498, abs=0.02)
    # All positions are equally likely.
    thirds = is_mask[:, :78].float().unflatten(1, (3, 26)).sum((0, 2))
    assert (thirds / thirds.mean() - 1).abs().max() < 0.1


def test_text_infilling_inserts_masks_only_where_they_fit() -> None:
    full = Batch(torch.arange(5, 13).expand(300, -1), None)
    with noise_of(CPU, 2):
        corrupted = TextInfilling(**SPEC, amount=0.1, mean_length=0.3)(full)  # type: ignore[arg-type]
    assert corrupted.mask is not None
    masks, kept = (corrupted.x == MASK).sum(1), (corrupted.x > MASK).sum(1)
    # At most one token of eight is masked, and the sentences have no free position for insertions.
    assert ((kept == 7) | (kept == 8)).all()
    assert (kept == 7).float().mean() > 0.7
    assert torch.equal(corrupted.mask.sum(1), masks + kept)
    assert torch.equal(masks, 8 - kept)


def test_span_corruption_alternates_kept_and_masked_spans() -> None:
    corruption = SpanCorruption((101,), Domain("category", 200))
    with noise_of(CPU, 1):
        x = corruption(MANY).x
    # 15 of 100 tokens in 5 spans, none adjacent; the first token is kept and the last is masked.
    assert ((x > MASK).sum(1) == 85).all()
    assert ((x == MASK).sum(1) == 5).all()
    assert not ((x[:, 1:] == MASK) & (x[:, :-1] == MASK)).any()
    assert (x[:, 0] == 5).all()
    assert (x[:, 89] == MASK).all()
    assert (x[:, 90] == END).all()
    # A single token is kept, and one of two is masked.
    short = torch.tensor([[A, END, PAD], [A, B, END]])
    corrupted = SpanCorruption((3,), Domain("category", 20))(Batch(short, short != PAD))
    assert corrupted.x.tolist() == [[A, END, PAD], [A, MASK, END]]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "token_dropout", "amount": 1.0}, "corruption token_dropout needs amount in [0, 1), found 1"),
        (
            {"name": "text_infilling", "mean_length": 0.0},
            "corruption text_infilling needs mean_length above 0, found 0",
        ),
    ],
)
def test_invalid_options_are_refused(config: dict[str, object], message: str) -> None:
    with pytest.raises(AeframeError) as caught:
        build("corruption", config, **SPEC)
    assert str(caught.value) == message


def test_other_data_are_refused() -> None:
    with pytest.raises(AeframeError) as caught:
        build("corruption", "token_deletion", shape=(1, 8, 8), domain=Domain("category", 4))
    assert str(caught.value) == (
        "corruption token_deletion is for tokens (T,) of at least 5 classes, as modality=text provides them, and these "
        "data are 4 classes of shape (1, 8, 8); choose another part"
    )
