"""Corruptions that put one ``<mask>`` in the place of several tokens, so that a model must tell how many were there.

Shapes: B sentences, T places, S spans at most.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.types import Batch, Domain, Shape
from aeframe_text.corruptions import TokenCorruption
from aeframe_text.packing import packed
from aeframe_text.specials import END, MASK, PAD


class _Infilling(TokenCorruption):
    """Hide spans, laid out by `draw`."""

    def draw(self, body: Tensor, width: int) -> tuple[Tensor, Tensor]:
        """Return how many tokens each span hides ``(B, S)``, -1 where there is no span, and where the spans lie among
        what stays, ``(B, T)`` True at the place of each ``<mask>``, given how many tokens there are, ``(B,)``.
        """
        raise NotImplementedError

    def forward(self, batch: Batch) -> Batch:
        tokens, counts = packed(batch)
        last = tokens.gather(1, (counts - 1).clamp(min=0).unsqueeze(1)).squeeze(1)
        closed = (counts > 0) & (last == END)
        body = counts - closed.long()
        x, lengths = infilled(tokens, body, closed, *self.draw(body, tokens.shape[1]))
        return replace(batch, x=x, mask=torch.arange(x.shape[1], device=x.device) < lengths.unsqueeze(1))


class TextInfilling(_Infilling):
    """One ``<mask>`` for each of some spans whose lengths are drawn from a Poisson distribution; one of length 0 puts
    in a ``<mask>`` where nothing was (BART: Lewis et al. 2020, arXiv 1910.13461).

    Spans are drawn until a share `amount` of the tokens is hidden, the last one cut to that; none overlaps another,
    and every way to lay them is as likely. What is put in must fit into T places, or stays out.

    Args:
        shape: ``(T,)``.
        domain: Must be ``category(V)``.
        amount: The share of the tokens to hide, in [0, 1), rounded to whole ones.
        mean_length: Of the spans.
    """

    def __init__(self, shape: Shape, domain: Domain, *, amount: float = 0.3, mean_length: float = 3.0) -> None:
        super().__init__("corruption text_infilling", shape, domain, amount=amount)
        self.mean_length = _positive("corruption text_infilling", mean_length)

    def draw(self, body: Tensor, width: int) -> tuple[Tensor, Tensor]:
        hide = (body * self.amount).round().long().unsqueeze(1)
        drawn = torch.poisson(torch.full((len(body), width), self.mean_length, device=body.device)).long()
        before = drawn.cumsum(1) - drawn
        lengths = torch.where(before < hide, torch.minimum(drawn, hide - before), -1)
        # Of very short spans there may be too few: what they hide is less than was asked for.
        left = body - lengths.clamp(min=0).sum(1)
        room = width - 1 - left - (lengths > 0).sum(1)
        empty = lengths == 0
        lengths = lengths.masked_fill(empty & (empty.cumsum(1) > room.unsqueeze(1)), -1)
        num = (lengths >= 0).sum(1)
        return _first(lengths), _chosen(num, left + num, width)


class SpanCorruption(_Infilling):
    """One ``<mask>`` for each of evenly many spans (T5: Raffel et al. 2020, arXiv 1910.10683).

    A share `amount` of the tokens is cut into spans of `mean_length` on average, the rest into as many stretches that
    stand before one each; every way to cut is as likely. T5 tells its spans apart by a token for each, since its target
    lists them; here the loss compares with the whole sentence, and one ``<mask>`` serves for all.

    Args:
        shape: ``(T,)``.
        domain: Must be ``category(V)``.
        amount: The share of the tokens to hide, in [0, 1), rounded; one is hidden and one stays in any case.
        mean_length: Of the spans.
    """

    def __init__(self, shape: Shape, domain: Domain, *, amount: float = 0.15, mean_length: float = 3.0) -> None:
        super().__init__("corruption span_corruption", shape, domain, amount=amount)
        self.mean_length = _positive("corruption span_corruption", mean_length)

    def draw(self, body: Tensor, width: int) -> tuple[Tensor, Tensor]:
        hide = torch.minimum((body * self.amount).round().long().clamp(min=1), (body - 1).clamp(min=0))
        num = (hide / self.mean_length).round().long().clamp(min=1)
        # One token is too little to hide a part of.
        num = torch.minimum(num, body - hide) * (hide > 0)
        stay, lengths = _composition(body - hide, num, width), _composition(hide, num, width)
        ends = (stay + (stay > 0).long()).cumsum(1) - 1
        places = torch.arange(width, device=body.device)
        at = torch.where(places < num.unsqueeze(1), ends, width)
        spans = torch.zeros(len(body), width + 1, dtype=torch.bool, device=body.device).scatter(1, at, True)
        return torch.where(lengths > 0, lengths, -1), spans[:, :-1]


def infilled(tokens: Tensor, body: Tensor, closed: Tensor, lengths: Tensor, spans: Tensor) -> tuple[Tensor, Tensor]:
    """Return sentences with a ``<mask>`` in the place of each span, ``(B, T)``, and how long they are, ``(B,)``.

    Args:
        tokens: ``(B, T)``.
        body: ``(B,)`` how many tokens there are, without the end.
        closed: ``(B,)`` whether an end follows them.
        lengths: ``(B, S)`` how many tokens each span hides, in order; -1 where there is no span.
        spans: ``(B, T)``, True at the place of each ``<mask>`` in what comes out.
    """
    width = tokens.shape[1]
    number = (spans.cumsum(1) - 1).clamp(min=0)
    taken = torch.where(spans, lengths.clamp(min=0).gather(1, number), 1)
    source = taken.cumsum(1) - taken
    x = torch.where(spans, MASK, tokens.gather(1, source.clamp(max=width - 1)))
    left = body - lengths.clamp(min=0).sum(1) + (lengths >= 0).sum(1)
    places = torch.arange(width, device=tokens.device)
    x = torch.where(places < left.unsqueeze(1), x, PAD)
    x = torch.where(closed.unsqueeze(1) & (places == left.unsqueeze(1)), END, x)
    return x, left + closed.long()


def _first(lengths: Tensor) -> Tensor:
    """Push spans to the front, in their order."""
    return lengths.gather(1, (lengths < 0).to(torch.uint8).argsort(dim=1, stable=True))


def _chosen(num: Tensor, slots: Tensor, width: int) -> Tensor:
    """Choose `num` ``(B,)`` of the first `slots` ``(B,)`` places: ``(B, width)``, every choice as likely."""
    keys = torch.rand(len(num), width, device=num.device)
    keys = keys.masked_fill(torch.arange(width, device=num.device) >= slots.unsqueeze(1), torch.inf)
    return keys.argsort(1).argsort(1) < num.unsqueeze(1)


def _composition(total: Tensor, parts: Tensor, width: int) -> Tensor:
    """Cut `total` ``(B,)`` into so many `parts` ``(B,)`` of 1 or more: ``(B, width)``, 0 behind the last."""
    # A cut is before one of all tokens but the first.
    cuts = _chosen((parts - 1).clamp(min=0), (total - 1).clamp(min=0), width)
    part = torch.nn.functional.pad(cuts[:, :-1], (1, 0)).long().cumsum(1)
    there = (torch.arange(width, device=total.device) < total.unsqueeze(1)) & (parts > 0).unsqueeze(1)
    return torch.zeros(len(total), width, dtype=torch.long, device=total.device).scatter_add(1, part, there.long())


def _positive(who: str, mean_length: float) -> float:
    if mean_length <= 0:
        raise AeframeError(f"{who} needs mean_length above 0, found {mean_length:g}")
    return mean_length
