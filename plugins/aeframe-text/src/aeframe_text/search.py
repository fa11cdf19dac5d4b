"""Say a sentence: greedily, by drawing, or by following several beginnings (beam search).

Shapes: B sentences, K beams, T places, V tokens of the vocabulary.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from aeframe_text.specials import END, MASK, PAD, START

State = list[Tensor]
"""What a decoder remembers of what it has said: ``(B, ...)`` each."""


class Step(Protocol):
    """Take in one token ``(B,)`` of each sentence, and return logits ``(B, V)`` of the next, and the state after it."""

    def __call__(self, tokens: Tensor, state: State, *, first: bool) -> tuple[Tensor, State]: ...


def said(step: Step, state: State, length: int, *, temperature: float | None) -> Tensor:
    """Return logits ``(B, V, T)`` whose likeliest tokens are a sentence, said one after another.

    Args:
        step: The decoder.
        state: In which it begins.
        length: T.
        temperature: Draw each token, from logits divided by this; null takes the likeliest. Logits of what is drawn
            leave no other choice.
    """
    tokens = torch.full((len(state[0]),), START, device=state[0].device)
    ended = torch.zeros_like(tokens, dtype=torch.bool)
    given: list[Tensor] = []
    for place in range(length):
        logits, state = step(tokens, state, first=place == 0)
        logits = _sayable(logits)
        if temperature is None:
            tokens = logits.argmax(1)
        else:
            tokens = (logits / temperature).softmax(1).multinomial(1).squeeze(1)
            logits = _only(tokens, logits)
        tokens = tokens.masked_fill(ended, PAD)
        given.append(torch.where(ended.unsqueeze(1), _only(tokens, logits), logits))
        ended = ended | (tokens == END)
        if bool(ended.all()):
            break
    rest = _only(torch.zeros_like(tokens) + PAD, given[-1])
    return torch.stack([*given, *[rest] * (length - len(given))], 2)


def best(step: Step, state: State, length: int, beams: int) -> Tensor:
    """Return logits ``(B, V, T)`` that allow one sentence only: the likeliest that `beams` beginnings lead to.

    Likeliest is by the sum of the logarithms, without a norm for length. A sentence that has not ended in T places is
    one as it is.
    """
    num, device = len(state[0]), state[0].device
    state = [each.repeat_interleave(beams, 0) for each in state]
    tokens = torch.full((num, beams), START, device=device)
    paths = tokens.new_empty(num, beams, 0)
    # All beginnings are one at first.
    scores = torch.full((num, beams), -torch.inf, device=device).index_fill(1, tokens.new_zeros(1), 0.0)
    first_of = torch.arange(num, device=device).unsqueeze(1) * beams
    size = 0
    for place in range(length):
        ended = (paths == END).any(2)
        if bool(ended.all()):
            break
        logits, state = step(tokens.flatten(), state, first=place == 0)
        log_p = _sayable(logits).log_softmax(1).unflatten(0, (num, beams))
        size = log_p.shape[2]
        # What has ended goes on with padding, which costs nothing.
        log_p = torch.where(ended.unsqueeze(2), _only(torch.zeros_like(tokens) + PAD, log_p), log_p)
        scores, chosen = (scores.unsqueeze(2) + log_p).flatten(1).topk(beams, 1)
        beam, tokens = chosen // size, chosen % size
        paths = torch.cat([paths.gather(1, beam.unsqueeze(2).expand(-1, -1, place)), tokens.unsqueeze(2)], 2)
        at = (first_of + beam).flatten()
        state = [each.index_select(0, at) for each in state]
    first = paths[torch.arange(num, device=device), scores.argmax(1)]
    first = torch.nn.functional.pad(first, (0, length - first.shape[1]), value=PAD)
    return _only(first, scores.new_zeros(*first.shape, size)).transpose(1, 2)


def _sayable(logits: Tensor) -> Tensor:
    """Return logits that leave out what no sentence has in it."""
    never = torch.zeros(logits.shape[-1], dtype=torch.bool, device=logits.device)
    for token in (PAD, START, MASK):
        never[token] = True
    return logits.masked_fill(never, torch.finfo(logits.dtype).min)


def _only(tokens: Tensor, like: Tensor) -> Tensor:
    """Return logits ``(..., V)`` that allow only the tokens ``(...)``."""
    low = torch.full_like(like, torch.finfo(like.dtype).min)
    return low.scatter(-1, tokens.unsqueeze(-1), 0.0)
