"""Corruptions that replace each span of tokens by a single ``<mask>``, so that a model must infer its length.

Shapes: B sentences, T positions, S spans at most; V is the number of tokens in the vocabulary.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.types import Batch, Domain, Shape
from aeframe_text.corruptions import TokenCorruption
from aeframe_text.packing import pack_tokens
from aeframe_text.specials import END, MASK, PAD


class _SpanMasking(TokenCorruption):
    """Replace spans of tokens, which `sample_spans` chooses, by one ``<mask>`` each."""

    def sample_spans(self, num_tokens: Tensor, width: int) -> tuple[Tensor, Tensor]:
        """Return random spans for sentences of `num_tokens` ``(B,)`` tokens, the end token excluded, with T = `width`.

        Returns:
            The length of each span ``(B, S)``, -1 for unused entries; and the positions of the ``<mask>`` tokens in the
            corrupted sentence, ``(B, T)`` bool.
        """
        raise NotImplementedError

    def forward(self, batch: Batch) -> Batch:
        tokens, counts = pack_tokens(batch)
        last = tokens.gather(1, (counts - 1).clamp(min=0).unsqueeze(1)).squeeze(1)
        has_end = (counts > 0) & (last == END)
        num_tokens = counts - has_end.long()
        spans = self.sample_spans(num_tokens, tokens.shape[1])
        x, lengths = replace_spans(tokens, num_tokens, has_end, *spans)
        return replace(batch, x=x, mask=torch.arange(x.shape[1], device=x.device) < lengths.unsqueeze(1))


class TextInfilling(_SpanMasking):
    """Replace spans with Poisson-distributed lengths by one ``<mask>`` each; a span of length 0 inserts a ``<mask>``
    (BART: Lewis et al. 2020, arXiv 1910.13461).

    Lengths are sampled until a fraction `amount` of the tokens is covered, and the last span is cut to reach it
    exactly. Spans do not overlap, and all arrangements are equally likely. Inserted ``<mask>`` tokens that would make a
    sentence longer than T are omitted.

    Args:
        shape: ``(T,)``.
        domain: Must be ``category(V)``.
        amount: The fraction of tokens to mask, in [0, 1); their number is rounded.
        mean_length: Mean of the Poisson distribution.
    """

    def __init__(self, shape: Shape, domain: Domain, *, amount: float = 0.3, mean_length: float = 3.0) -> None:
        super().__init__("corruption text_infilling", shape, domain, amount=amount)
        self.mean_length = _positive("corruption text_infilling", mean_length)

    def sample_spans(self, num_tokens: Tensor, width: int) -> tuple[Tensor, Tensor]:
        num_masked = (num_tokens * self.amount).round().long().unsqueeze(1)
        sampled = torch.poisson(torch.full((len(num_tokens), width), self.mean_length, device=num_tokens.device)).long()
        covered_before = sampled.cumsum(1) - sampled
        lengths = torch.where(covered_before < num_masked, torch.minimum(sampled, num_masked - covered_before), -1)
        # T samples of a small mean may cover fewer tokens than num_masked.
        remaining = num_tokens - lengths.clamp(min=0).sum(1)
        max_insertions = width - 1 - remaining - (lengths > 0).sum(1)
        empty = lengths == 0
        lengths = lengths.masked_fill(empty & (empty.cumsum(1) > max_insertions.unsqueeze(1)), -1)
        num_spans = (lengths >= 0).sum(1)
        return _left_align(lengths), _random_subset(num_spans, remaining + num_spans, width)


class SpanCorruption(_SpanMasking):
    """Replace spans, about `mean_length` long on average, by one ``<mask>`` each (T5: Raffel et al. 2020, arXiv
    1910.10683).

    A sentence alternates between kept and masked spans, equally many of both, starting with a kept one. All divisions
    of the kept and of the masked tokens into spans of at least one token are equally likely. T5 has a different mask
    token for each span because its target lists the spans; here the target is the full sentence, so one suffices.

    Args:
        shape: ``(T,)``.
        domain: Must be ``category(V)``.
        amount: The fraction of tokens to mask, in [0, 1); their number is rounded. At least one token is masked and at
            least one is kept.
        mean_length: Mean length of the masked spans.
    """

    def __init__(self, shape: Shape, domain: Domain, *, amount: float = 0.15, mean_length: float = 3.0) -> None:
        super().__init__("corruption span_corruption", shape, domain, amount=amount)
        self.mean_length = _positive("corruption span_corruption", mean_length)

    def sample_spans(self, num_tokens: Tensor, width: int) -> tuple[Tensor, Tensor]:
        num_masked = torch.minimum(
            (num_tokens * self.amount).round().long().clamp(min=1), (num_tokens - 1).clamp(min=0)
        )
        num_spans = (num_masked / self.mean_length).round().long().clamp(min=1)
        # A sentence of one token is not masked.
        num_spans = torch.minimum(num_spans, num_tokens - num_masked) * (num_masked > 0)
        kept = _random_composition(num_tokens - num_masked, num_spans, width)
        masked = _random_composition(num_masked, num_spans, width)
        # The k-th <mask> follows the first k kept spans and k - 1 earlier <mask> tokens.
        mask_positions = (kept + (kept > 0).long()).cumsum(1) - 1
        span_numbers = torch.arange(width, device=num_tokens.device)
        mask_positions = torch.where(span_numbers < num_spans.unsqueeze(1), mask_positions, width)
        is_mask = torch.zeros(len(num_tokens), width + 1, dtype=torch.bool, device=num_tokens.device)
        is_mask = is_mask.scatter(1, mask_positions, True)
        return torch.where(masked > 0, masked, -1), is_mask[:, :-1]


def replace_spans(
    tokens: Tensor, num_tokens: Tensor, has_end: Tensor, lengths: Tensor, is_mask: Tensor
) -> tuple[Tensor, Tensor]:
    """Return sentences ``(B, T)`` with each span replaced by a ``<mask>``, and their lengths ``(B,)``.

    Args:
        tokens: ``(B, T)``, left-aligned.
        num_tokens: ``(B,)`` the number of tokens, the end token excluded.
        has_end: ``(B,)`` whether an end token follows them.
        lengths: ``(B, S)`` the length of each span, in order; -1 for unused entries.
        is_mask: ``(B, T)``, True at the positions of the ``<mask>`` tokens in the returned sentences.
    """
    width = tokens.shape[1]
    span_numbers = (is_mask.cumsum(1) - 1).clamp(min=0)
    # How many input tokens each output position stands for, and the input position where these begin.
    consumed = torch.where(is_mask, lengths.clamp(min=0).gather(1, span_numbers), 1)
    source = consumed.cumsum(1) - consumed
    x = torch.where(is_mask, MASK, tokens.gather(1, source.clamp(max=width - 1)))
    new_num_tokens = num_tokens - lengths.clamp(min=0).sum(1) + (lengths >= 0).sum(1)
    positions = torch.arange(width, device=tokens.device)
    x = torch.where(positions < new_num_tokens.unsqueeze(1), x, PAD)
    x = torch.where(has_end.unsqueeze(1) & (positions == new_num_tokens.unsqueeze(1)), END, x)
    return x, new_num_tokens + has_end.long()


def _left_align(lengths: Tensor) -> Tensor:
    """Move the unused entries (-1) of ``(B, S)`` to the end, keeping the order of the others."""
    return lengths.gather(1, (lengths < 0).to(torch.uint8).argsort(dim=1, stable=True))


def _random_subset(num: Tensor, total: Tensor, width: int) -> Tensor:
    """Return `num` ``(B,)`` random positions among the first `total` ``(B,)``, as ``(B, width)`` bool."""
    keys = torch.rand(len(num), width, device=num.device)
    keys = keys.masked_fill(torch.arange(width, device=num.device) >= total.unsqueeze(1), torch.inf)
    return keys.argsort(1).argsort(1) < num.unsqueeze(1)


def _random_composition(total: Tensor, num_parts: Tensor, width: int) -> Tensor:
    """Return a uniformly random division of `total` ``(B,)`` into `num_parts` ``(B,)`` positive integers: ``(B,
    width)``, 0 after the last.
    """
    # The units 1, ..., total are cut into parts; a cut may lie before any unit but the first.
    cuts = _random_subset((num_parts - 1).clamp(min=0), (total - 1).clamp(min=0), width)
    part_of_unit = torch.nn.functional.pad(cuts[:, :-1], (1, 0)).long().cumsum(1)
    valid = (torch.arange(width, device=total.device) < total.unsqueeze(1)) & (num_parts > 0).unsqueeze(1)
    sizes = torch.zeros(len(total), width, dtype=torch.long, device=total.device)
    return sizes.scatter_add(1, part_of_unit, valid.long())


def _positive(who: str, mean_length: float) -> float:
    if mean_length <= 0:
        raise AeframeError(f"{who} needs mean_length above 0, found {mean_length:g}")
    return mean_length
