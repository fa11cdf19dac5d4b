"""Saying a sentence: greedily, drawn, and by beams, against all sentences there are."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from aeframe.noise import noise_of
from aeframe_text.search import State, best, said
from aeframe_text.specials import END, MASK, PAD, START, UNKNOWN

CPU = torch.device("cpu")
V, T = 8, 4
SAYABLE = (END, UNKNOWN, 5, 6, 7)
# The next token depends on the last two, the one before being in the state, and on the sentence at hand.
ROWS = 12
TABLE = torch.randn(ROWS, V, V, V, generator=torch.Generator().manual_seed(5)) * 1.5
# Long sentences are likely, so that the search has far to go.
TABLE[..., END] -= 3


def step(tokens: Tensor, state: State, *, first: bool) -> tuple[Tensor, State]:
    row, before = state
    assert first == bool((tokens == START).all())
    return TABLE[row, before, tokens], [row, tokens]


def start(num: int = ROWS) -> State:
    return [torch.arange(num), torch.full((num,), START)]


def log_p(row: int, sentence: tuple[int, ...]) -> float:
    """Return the log-probability of a sentence among those that can be said."""
    total, earlier, before = 0.0, START, START
    for token in sentence:
        logits = TABLE[row, earlier, before]
        total += float(logits[token] - logits[list(SAYABLE)].logsumexp(0))
        if token == END:
            return total
        earlier, before = before, token
    return total


def every(length: int) -> set[tuple[int, ...]]:
    found = set()
    for tokens in itertools.product(SAYABLE, repeat=length):
        end = tokens.index(END) + 1 if END in tokens else length
        found.add(tokens[:end])
    return found


def sentences(logits: Tensor) -> list[tuple[int, ...]]:
    assert not logits.isnan().any()
    rows = logits.argmax(1).tolist()
    return [tuple(token for token in row if token != PAD) for row in rows]


def test_enough_beams_find_the_likeliest_sentence_of_all() -> None:
    found = sentences(best(step, start(), T, beams=125))
    for row in range(ROWS):
        assert found[row] == max(every(T), key=lambda sentence: log_p(row, sentence))


def test_more_beams_are_no_worse() -> None:
    one, three, many = (sentences(best(step, start(), T, beams=beams)) for beams in (1, 3, 60))
    assert one == sentences(said(step, start(), T, temperature=None))
    for row in range(ROWS):
        assert log_p(row, one[row]) <= log_p(row, three[row]) + 1e-6 <= log_p(row, many[row]) + 2e-6
    assert one != many


def test_greedy_gives_the_logits_and_padding_behind_the_end() -> None:
    logits = said(step, start(), T, temperature=None)
    assert logits.shape == (ROWS, V, T)
    chosen = logits.argmax(1)
    for row in range(ROWS):
        earlier = before = START
        for place, token in enumerate(chosen[row].tolist()):
            allowed = TABLE[row, earlier, before].clone()
            allowed[[PAD, START, MASK]] = -math.inf
            assert token == int(allowed.argmax())
            assert logits[row, 5, place] == TABLE[row, earlier, before, 5]
            if token == END:
                assert (chosen[row, place + 1 :] == PAD).all()
                break
            earlier, before = before, token


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_draws_come_as_often_as_they_should(temperature: float) -> None:
    num = 20000
    with noise_of(CPU, 0):
        logits = said(step, [torch.zeros(num, dtype=torch.long), torch.full((num,), START)], 2, temperature=temperature)
    drawn = sentences(logits)
    # What is drawn is drawn already: the loss has no choice left.
    assert torch.equal(torch.distributions.Categorical(logits=logits.transpose(1, 2)).sample(), logits.argmax(1))
    for sentence in every(2):
        p, earlier, before = 1.0, START, START
        for token in sentence:
            p *= float((TABLE[0, earlier, before][list(SAYABLE)] / temperature).softmax(0)[SAYABLE.index(token)])
            earlier, before = before, token
        share = drawn.count(sentence) / num
        assert share == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / num) + 1e-9)
