"""Greedy decoding, sampling and beam search, compared with the enumeration of all sentences."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from aeframe.noise import noise_of
from aeframe_text.search import State, beam_search, greedy_or_sample
from aeframe_text.specials import END, MASK, PAD, START, UNKNOWN

CPU = torch.device("cpu")
V, T = 8, 4
ALLOWED = (END, UNKNOWN, 5, 6, 7)
# Logits of the next token, by sentence, the token before the last (part of the state) and the last token.
ROWS = 12
TABLE = torch.randn(ROWS, V, V, V, generator=torch.Generator().manual_seed(5)) * 1.5
# Low logits of the end token make long sentences likely.
TABLE[..., END] -= 3


def step(tokens: Tensor, state: State, *, first: bool) -> tuple[Tensor, State]:
    row, before = state
    assert first == bool((tokens == START).all())
    return TABLE[row, before, tokens], [row, tokens]


def start(num: int = ROWS) -> State:
    return [torch.arange(num), torch.full((num,), START)]


def log_p(row: int, sentence: tuple[int, ...]) -> float:
    """Return the log-probability of a sentence, with the excluded tokens at probability 0."""
    total, earlier, before = 0.0, START, START
    for token in sentence:
        logits = TABLE[row, earlier, before]
        total += float(logits[token] - logits[list(ALLOWED)].logsumexp(0))
        if token == END:
            return total
        earlier, before = before, token
    return total


def all_sentences(length: int) -> set[tuple[int, ...]]:
    result = set()
    for tokens in itertools.product(ALLOWED, repeat=length):
        end = tokens.index(END) + 1 if END in tokens else length
        result.add(tokens[:end])
    return result


def sentences(logits: Tensor) -> list[tuple[int, ...]]:
    assert not logits.isnan().any()
    rows = logits.argmax(1).tolist()
    return [tuple(token for token in row if token != PAD) for row in rows]


def test_enough_beams_find_the_most_likely_sentence() -> None:
    best = sentences(beam_search(step, start(), T, beams=125))
    for row in range(ROWS):
        assert best[row] == max(all_sentences(T), key=lambda sentence: log_p(row, sentence))


def test_more_beams_find_sentences_at_least_as_likely() -> None:
    one, three, many = (sentences(beam_search(step, start(), T, beams=beams)) for beams in (1, 3, 60))
    assert one == sentences(greedy_or_sample(step, start(), T, temperature=None))
    for row in range(ROWS):
        assert log_p(row, one[row]) <= log_p(row, three[row]) + 1e-6 <= log_p(row, many[row]) + 2e-6
    assert one != many


def test_greedy_decoding_returns_the_logits_and_padding_after_the_end() -> None:
    logits = greedy_or_sample(step, start(), T, temperature=None)
    assert logits.shape == (ROWS, V, T)
    chosen = logits.argmax(1)
    for row in range(ROWS):
        earlier = before = START
        for position, token in enumerate(chosen[row].tolist()):
            allowed = TABLE[row, earlier, before].clone()
            allowed[[PAD, START, MASK]] = -math.inf
            assert token == int(allowed.argmax())
            assert logits[row, 5, position] == TABLE[row, earlier, before, 5]
            if token == END:
                assert (chosen[row, position + 1 :] == PAD).all()
                break
            earlier, before = before, token


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_sampled_sentences_have_the_frequencies_of_the_model(temperature: float) -> None:
    num = 20000
    state = [torch.zeros(num, dtype=torch.long), torch.full((num,), START)]
    with noise_of(CPU, 0):
        logits = greedy_or_sample(step, state, 2, temperature=temperature)
    samples = sentences(logits)
    # Sampling again from the returned logits does not change the tokens.
    assert torch.equal(torch.distributions.Categorical(logits=logits.transpose(1, 2)).sample(), logits.argmax(1))
    for sentence in all_sentences(2):
        p, earlier, before = 1.0, START, START
        for token in sentence:
            p *= float((TABLE[0, earlier, before][list(ALLOWED)] / temperature).softmax(0)[ALLOWED.index(token)])
            earlier, before = before, token
        frequency = samples.count(sentence) / num
        assert frequency == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / num) + 1e-9)
