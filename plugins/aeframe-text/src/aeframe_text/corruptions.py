"""Corruptions of single tokens. Shapes: B sentences, T places."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.parts.corruptions import Corruption
from aeframe.types import Batch, Domain, Shape
from aeframe_text.autoregressive import check_tokens
from aeframe_text.packing import packed
from aeframe_text.specials import END, UNKNOWN


class TokenCorruption(Corruption):
    """What is done to tokens: padding and the end of a sentence are left alone."""

    domains: ClassVar[frozenset[str]] = frozenset({"category"})

    def __init__(self, who: str, shape: Shape, domain: Domain, *, amount: float) -> None:
        super().__init__()
        check_tokens(who, shape, domain.classes)
        if not 0 <= amount < 1:
            raise AeframeError(f"{who} needs amount in [0, 1), found {amount:g}")
        self.amount = amount


class TokenDropout(TokenCorruption):
    """Put ``<unk>`` in the place of a share `amount` of the tokens, each drawn for itself (word dropout: Iyyer et al.
    2015, ACL; Bowman et al. 2016, arXiv 1511.06349, whose is that of the decoder: ``decoder.word_dropout``).
    """

    def __init__(self, shape: Shape, domain: Domain, *, amount: float = 0.3) -> None:
        super().__init__("corruption token_dropout", shape, domain, amount=amount)

    def forward(self, batch: Batch) -> Batch:
        x = batch.masked_x()
        hit = (torch.rand(x.shape, device=x.device) < self.amount) & (x != END)
        return batch.with_x(torch.where(hit if batch.mask is None else hit & batch.mask, UNKNOWN, x))


class TokenDeletion(TokenCorruption):
    """Leave out a share `amount` of the tokens, so that those behind move up (Lewis et al. 2020, arXiv 1910.13461)."""

    def __init__(self, shape: Shape, domain: Domain, *, amount: float = 0.3) -> None:
        super().__init__("corruption token_deletion", shape, domain, amount=amount)

    def forward(self, batch: Batch) -> Batch:
        drawn = torch.rand(batch.x.shape, device=batch.x.device)
        kept = (drawn >= self.amount) | (batch.x == END)
        return shortened(batch, kept if batch.mask is None else kept & batch.mask)


def shortened(batch: Batch, kept: Tensor) -> Batch:
    """Return the tokens that are `kept` ``(B, T)`` pushed together, the rest masked."""
    x, lengths = packed(replace(batch, mask=kept))
    return replace(batch, x=x, mask=torch.arange(x.shape[1], device=x.device) < lengths.unsqueeze(1))
