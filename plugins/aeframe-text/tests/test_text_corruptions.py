"""Corruptions of tokens, against cases that were worked by hand."""

from __future__ import annotations

import pytest
import torch

from aeframe import AeframeError
from aeframe.factory import build
from aeframe.noise import noise_of
from aeframe.types import Batch, Domain
from aeframe_text.corruptions import shortened
from aeframe_text.infilling import SpanCorruption, TextInfilling, infilled
from aeframe_text.specials import END, MASK, PAD, UNKNOWN

CPU = torch.device("cpu")
A, B, C, D, E, F = range(5, 11)
SENTENCES = torch.tensor([[A, B, C, D, E, F, END, PAD], [A, B, END, PAD, PAD, PAD, PAD, PAD]])
BATCH = Batch(SENTENCES, SENTENCES != PAD, index=torch.arange(2), extras={"words": torch.tensor([7, 3])})
GIVEN = {"shape": (8,), "domain": Domain("category", 20)}
LONG = torch.cat([torch.arange(5, 105).expand(400, -1), torch.full((400, 1), END)], 1)
MANY = Batch(LONG, torch.ones_like(LONG, dtype=torch.bool))


def test_text_infilling_by_hand() -> None:
    # a b c d e f: the span b c becomes one mask, and one comes in between e and f where nothing was.
    lengths = torch.tensor([[2, 0, -1], [2, -1, -1]])
    spans = torch.zeros(2, 8, dtype=torch.bool)
    spans[0, [1, 4]] = True
    spans[1, 0] = True
    x, count = infilled(SENTENCES, torch.tensor([6, 2]), torch.tensor([True, True]), lengths, spans)
    assert x.tolist() == [[A, MASK, D, E, MASK, F, END, PAD], [MASK, END, *[PAD] * 6]]
    assert count.tolist() == [7, 2]


def test_spans_of_t5_by_hand() -> None:
    # Spans of 1 and 2 behind stretches of 2 and 1: a b [c] d [e f].
    spans = torch.zeros(1, 8, dtype=torch.bool)
    spans[0, [2, 4]] = True
    lengths = torch.tensor([[1, 2]])
    x, count = infilled(SENTENCES[:1], torch.tensor([6]), torch.tensor([True]), lengths, spans)
    assert x.tolist() == [[A, B, MASK, D, MASK, END, PAD, PAD]]
    assert count.tolist() == [6]


def test_deletion_by_hand() -> None:
    kept = torch.tensor([[1, 0, 0, 1, 1, 0, 1, 0], [0, 1, 1, 0, 0, 0, 0, 0]], dtype=torch.bool)
    found = shortened(BATCH, kept)
    assert found.x.tolist() == [[A, D, E, END, *[PAD] * 4], [B, END, *[PAD] * 6]]
    assert found.mask is not None
    assert found.mask.sum(1).tolist() == [4, 2]
    assert found.extras is BATCH.extras


@pytest.mark.parametrize("name", ["token_dropout", "token_deletion", "text_infilling", "span_corruption"])
def test_every_sentence_keeps_its_end_and_the_order_of_its_tokens(name: str) -> None:
    made = build("corruption", name, **GIVEN)
    with noise_of(CPU, 0):
        for _ in range(50):
            found = made(BATCH)
            assert found.mask is not None
            assert found.x.shape == (2, 8)
            for row, clean in zip(range(2), SENTENCES.tolist(), strict=True):
                tokens = found.x[row][found.mask[row]].tolist()
                assert tokens[-1] == END
                assert END not in tokens[:-1]
                assert not found.x[row][~found.mask[row]].any()
                kept = [token for token in tokens if token not in (MASK, UNKNOWN)]
                rest = iter(clean)
                assert all(token in rest for token in kept)
    assert torch.equal(BATCH.x, SENTENCES)


def test_shares_of_single_tokens() -> None:
    for name, at in (("token_dropout", UNKNOWN), ("token_deletion", PAD)):
        made = build("corruption", {"name": name, "amount": 0.2}, shape=(101,), domain=Domain("category", 200))
        with noise_of(CPU, 1):
            share = (made(MANY).x == at).float().sum(1).mean().item() / 100
        assert share == pytest.approx(0.2, abs=0.01)


def test_text_infilling_hides_its_share_in_spans_of_a_poisson_distribution() -> None:
    with noise_of(CPU, 1):
        x = TextInfilling((101,), Domain("category", 200))(MANY).x
        lengths, spans = TextInfilling((101,), Domain("category", 200)).draw(torch.full((400,), 100), 101)
    # Exactly 30 of 100 tokens are gone from each.
    assert ((x > MASK).sum(1) == 70).all()
    assert ((lengths.clamp(min=0)).sum(1) == 30).all()
    assert ((lengths >= 0).sum(1) == spans.sum(1)).all()
    # Spans before the one that is cut, of which there are enough in each: the mean of a Poisson distribution of 3 is
    # 3, and one in e^3 is empty. The first eight of a sentence are drawn before anything can be cut off for good.
    first = lengths[:, :3].float()
    assert first.mean().item() == pytest.approx(3.0, abs=0.15)
    assert (first == 0).float().mean().item() == pytest.approx(0.0498, abs=0.02)
    # Every place is as likely.
    thirds = spans[:, :78].float().unflatten(1, (3, 26)).sum((0, 2))
    assert (thirds / thirds.mean() - 1).abs().max() < 0.1


def test_what_is_put_in_must_fit() -> None:
    full = Batch(torch.arange(5, 13).expand(300, -1), None)
    with noise_of(CPU, 2):
        found = TextInfilling(**GIVEN, amount=0.1, mean_length=0.3)(full)  # type: ignore[arg-type]
    assert found.mask is not None
    masks, kept = (found.x == MASK).sum(1), (found.x > MASK).sum(1)
    # At most one token of eight is hidden; as many masks come in as places are left, the last one being the end's.
    assert ((kept == 7) | (kept == 8)).all()
    assert (kept == 7).float().mean() > 0.7
    assert torch.equal(found.mask.sum(1), masks + kept)
    assert torch.equal(masks, 8 - kept)


def test_spans_of_t5_are_even_and_come_after_what_stays() -> None:
    made = SpanCorruption((101,), Domain("category", 200))
    with noise_of(CPU, 1):
        x = made(MANY).x
    # 15 of 100 tokens in 5 spans, none beside another, the first token stays and the last goes.
    assert ((x > MASK).sum(1) == 85).all()
    assert ((x == MASK).sum(1) == 5).all()
    assert not ((x[:, 1:] == MASK) & (x[:, :-1] == MASK)).any()
    assert (x[:, 0] == 5).all()
    assert (x[:, 89] == MASK).all()
    assert (x[:, 90] == END).all()
    # One token is left alone, of two one is hidden.
    short = torch.tensor([[A, END, PAD], [A, B, END]])
    found = SpanCorruption((3,), Domain("category", 20))(Batch(short, short != PAD))
    assert found.x.tolist() == [[A, END, PAD], [A, MASK, END]]


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
def test_options_that_cannot_be(config: dict[str, object], message: str) -> None:
    with pytest.raises(AeframeError) as caught:
        build("corruption", config, **GIVEN)
    assert str(caught.value) == message


def test_other_data_are_refused() -> None:
    with pytest.raises(AeframeError) as caught:
        build("corruption", "token_deletion", shape=(1, 8, 8), domain=Domain("category", 4))
    assert str(caught.value) == (
        "corruption token_deletion is for tokens (T,) of 5 classes or more, as modality=text gives them, and these "
        "data are classes of 4 of shape (1, 8, 8); choose another network"
    )
