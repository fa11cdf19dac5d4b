"""Corruptions of single tokens: replacement by ``<unk>`` and deletion.

Shapes: B sentences, T positions; V is the number of tokens in the vocabulary.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.parts.corruptions import Corruption
from aeframe.types import Batch, Domain, Shape
from aeframe_text.packing import pack_tokens
from aeframe_text.specials import END, UNKNOWN, check_tokens


class TokenCorruption(Corruption):
    """The base class of corruptions of tokens; they leave padding and end tokens as they are.

    Args:
        who: The corruption's name, for error messages.
        shape: ``(T,)``, the shape of one sentence.
        domain: Must be ``category(V)``.
        amount: The fraction of tokens to corrupt, in [0, 1).
    """

    domains: ClassVar[frozenset[str]] = frozenset({"category"})

    def __init__(self, who: str, shape: Shape, domain: Domain, *, amount: float) -> None:
        super().__init__()
        check_tokens(who, shape, domain.classes)
        if not 0 <= amount < 1:
            raise AeframeError(f"{who} needs amount in [0, 1), found {amount:g}")
        self.amount = amount


class TokenDropout(TokenCorruption):
    """Replace each token by ``<unk>`` with probability `amount` (word dropout: Iyyer et al. 2015, ACL).

    It corrupts the input of the encoder; ``decoder.word_dropout`` (Bowman et al. 2016, arXiv 1511.06349) does the same
    to the input of the decoder.
    """

    def __init__(self, shape: Shape, domain: Domain, *, amount: float = 0.3) -> None:
        super().__init__("corruption token_dropout", shape, domain, amount=amount)

    def forward(self, batch: Batch) -> Batch:
        x = batch.masked_x()
        dropped = (torch.rand(x.shape, device=x.device) < self.amount) & (x != END)
        return batch.with_x(torch.where(dropped if batch.mask is None else dropped & batch.mask, UNKNOWN, x))


class TokenDeletion(TokenCorruption):
    """Delete each token with probability `amount` and close the gaps (Lewis et al. 2020, arXiv 1910.13461)."""

    def __init__(self, shape: Shape, domain: Domain, *, amount: float = 0.3) -> None:
        super().__init__("corruption token_deletion", shape, domain, amount=amount)

    def forward(self, batch: Batch) -> Batch:
        uniform = torch.rand(batch.x.shape, device=batch.x.device)
        keep = (uniform >= self.amount) | (batch.x == END)
        return delete_tokens(batch, keep if batch.mask is None else keep & batch.mask)


def delete_tokens(batch: Batch, keep: Tensor) -> Batch:
    """Return the batch with only the tokens where `keep` ``(B, T)`` is True, left-aligned; the rest is masked."""
    x, lengths = pack_tokens(replace(batch, mask=keep))
    return replace(batch, x=x, mask=torch.arange(x.shape[1], device=x.device) < lengths.unsqueeze(1))
