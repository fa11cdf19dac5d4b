"""Generate token sequences: greedily, by sampling, or by beam search.

Outside of compiled and exported programs, whose control flow cannot depend on values, a search stops as soon as all
sentences have ended.

Shapes: B sentences, K beams, T positions, V tokens of the vocabulary.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from aeframe_text.specials import END, MASK, PAD, START

State = list[Tensor]
"""What an autoregressive decoder keeps between steps, such as the hidden state of an RNN: tensors ``(B, ...)``."""


class Step(Protocol):
    """One decoder step: the last tokens ``(B,)`` -> logits ``(B, V)`` of the next tokens, and the new state.

    `first` is True in the first step, whose tokens are start tokens.
    """

    def __call__(self, tokens: Tensor, state: State, *, first: bool) -> tuple[Tensor, State]: ...


def greedy_or_sample(step: Step, state: State, length: int, *, temperature: float | None) -> Tensor:
    """Generate sentences token by token, and return logits ``(B, V, T)`` whose argmax over V are their tokens.

    Args:
        step: The decoder.
        state: Its initial state.
        length: T, the number of positions to return.
        temperature: Sample each token from the logits divided by this; None takes the argmax. The returned logits of
            sampled tokens are one-hot, so that sampling from them again returns the same tokens.
    """
    tokens = torch.full((state[0].shape[0],), START, device=state[0].device)
    ended = torch.zeros_like(tokens, dtype=torch.bool)
    outputs: list[Tensor] = []
    for position in range(length):
        logits, state = step(tokens, state, first=position == 0)
        logits = mask_special_tokens(logits)
        if temperature is None:
            tokens = logits.argmax(1)
        else:
            tokens = (logits / temperature).softmax(1).multinomial(1).squeeze(1)
            logits = one_hot_logits(tokens, logits)
        tokens = tokens.masked_fill(ended, PAD)
        outputs.append(torch.where(ended.unsqueeze(1), one_hot_logits(tokens, logits), logits))
        ended = ended | (tokens == END)
        if not torch.compiler.is_compiling() and bool(ended.all()):
            break
    padding = one_hot_logits(torch.zeros_like(tokens) + PAD, outputs[-1])
    return torch.stack([*outputs, *[padding] * (length - len(outputs))], 2)


def beam_search(step: Step, state: State, length: int, beams: int) -> Tensor:
    """Return one-hot logits ``(B, V, T)`` of the sentence with the highest log-probability that beam search finds.

    Log-probabilities are summed without length normalisation. A sentence without an end token after T positions is
    complete as it is.

    Args:
        step: The decoder.
        state: Its initial state.
        length: T, the number of positions to return.
        beams: K.
    """
    num_sentences, device = state[0].shape[0], state[0].device
    state = [tensor.repeat_interleave(beams, 0) for tensor in state]
    tokens = torch.full((num_sentences, beams), START, device=device)
    paths = tokens.new_empty(num_sentences, beams, 0)
    # All beams are equal at first, so only the first one may be extended.
    scores = torch.full((num_sentences, beams), -torch.inf, device=device).index_fill(1, tokens.new_zeros(1), 0.0)
    offsets = torch.arange(num_sentences, device=device).unsqueeze(1) * beams
    vocabulary_size = 0
    for position in range(length):
        ended = (paths == END).any(2)
        if not torch.compiler.is_compiling() and bool(ended.all()):
            break
        logits, state = step(tokens.flatten(), state, first=position == 0)
        log_p = mask_special_tokens(logits).log_softmax(1).unflatten(0, (num_sentences, beams))
        vocabulary_size = log_p.shape[2]
        # A sentence that has ended is extended by padding at log-probability 0.
        log_p = torch.where(ended.unsqueeze(2), one_hot_logits(torch.zeros_like(tokens) + PAD, log_p), log_p)
        scores, chosen = (scores.unsqueeze(2) + log_p).flatten(1).topk(beams, 1)
        beam, tokens = chosen // vocabulary_size, chosen % vocabulary_size
        paths = torch.cat([paths.gather(1, beam.unsqueeze(2).expand(-1, -1, position)), tokens.unsqueeze(2)], 2)
        rows = (offsets + beam).flatten()
        state = [tensor.index_select(0, rows) for tensor in state]
    best = paths[torch.arange(num_sentences, device=device), scores.argmax(1)]
    best = torch.nn.functional.pad(best, (0, length - best.shape[1]), value=PAD)
    return one_hot_logits(best, scores.new_zeros(*best.shape, vocabulary_size)).transpose(1, 2)


def mask_special_tokens(logits: Tensor) -> Tensor:
    """Return logits ``(..., V)`` that exclude the tokens no sentence contains: ``<pad>``, ``<s>`` and ``<mask>``."""
    tokens = torch.arange(logits.shape[-1], device=logits.device)
    excluded = (tokens == PAD) | (tokens == START) | (tokens == MASK)
    return logits.masked_fill(excluded, torch.finfo(logits.dtype).min)


def one_hot_logits(tokens: Tensor, like: Tensor) -> Tensor:
    """Return logits ``(..., V)`` that put all probability on `tokens` ``(...)``; dtype and device of `like`."""
    low = torch.full_like(like, torch.finfo(like.dtype).min)
    return low.scatter(-1, tokens.unsqueeze(-1), 0.0)
