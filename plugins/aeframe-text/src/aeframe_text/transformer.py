"""Transformers of tokens (Vaswani et al. 2017, arXiv 1706.03762), with their norms before (pre-norm).

Shapes: B sentences, T places, D numbers of a token.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aeframe.errors import AeframeError
from aeframe.parts.networks.base import Encoder
from aeframe.parts.networks.vit import sincos
from aeframe.types import Batch, Domain, Shape
from aeframe_text.autoregressive import Autoregressive, Conditioning
from aeframe_text.packing import pack_tokens
from aeframe_text.search import State
from aeframe_text.specials import check_tokens


class TokenTransformer(Encoder):
    """A transformer that reads both ways: ``(B, T)`` -> ``(B, D)``, the mean of what it makes of the tokens.

    Only what the mask counts is read, as if each sentence were alone.

    Args:
        shape: ``(T,)``.
        domain: Must be ``category(V)``.
        dim: D.
        depth: Blocks.
        heads: Of the attention; they must divide `dim`.
        expansion: Hidden units of a block's dense layers, in units of `dim`.
        dropout: The share of the numbers of embeddings, and of what each block adds, that is dropped in training.
    """

    def __init__(
        self,
        shape: Shape,
        domain: Domain,
        *,
        dim: int = 128,
        depth: int = 2,
        heads: int = 4,
        expansion: float = 4.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        size = check_tokens("encoder token_transformer", shape, domain.classes)
        self.embed = nn.Embedding(size, dim)
        nn.init.normal_(self.embed.weight, std=dim**-0.5)
        self.blocks = _Blocks("encoder token_transformer", shape[0], dim, depth, heads, expansion, dropout)
        self.out_shape = (dim,)
        self._mirror = {
            "name": "token_transformer",
            "dim": dim,
            "depth": depth,
            "heads": heads,
            "expansion": expansion,
            "dropout": dropout,
        }

    def forward(self, batch: Batch) -> Tensor:
        tokens, lengths = pack_tokens(batch)
        counted = torch.arange(tokens.shape[1], device=tokens.device) < lengths.clamp(min=1).unsqueeze(1)
        found = self.blocks(self.embed(tokens), allowed=counted[:, None, None, :])
        weight = counted.unsqueeze(2).to(found.dtype)
        mean: Tensor = (found * weight).sum(1) / weight.sum(1)
        return mean

    def mirror(self) -> dict[str, Any]:
        return self._mirror


class TokenTransformerDecoder(Autoregressive):
    """A causal transformer that says a sentence: ``(B, *z_shape)`` -> logits ``(B, V, T)``.

    Args:
        z_shape: Of a code, flattened whatever it is.
        out_shape: ``(V, T)``.
        dim: D.
        depth: Blocks.
        heads: Of the attention; they must divide `dim`.
        expansion: Hidden units of a block's dense layers, in units of `dim`.
        condition_via: How the decoder is conditioned on z: ``prefix`` replaces the embedding of the start token, and
            ``input`` adds a vector to each token embedding.
        word_dropout: The share of the tokens before that are hidden in training, as ``<unk>`` (Bowman et al. 2016,
            arXiv 1511.06349): what they do not tell, z must.
        dropout: The share of the numbers of embeddings, and of what each block adds, that is dropped in training.
        temperature: Of sentences that are drawn: below 1 the likely is likelier still.
        beams: How many beginnings of a sentence are followed, where it is not drawn; 1 is greedy.
    """

    def __init__(
        self,
        z_shape: Shape,
        out_shape: Shape,
        *,
        dim: int = 128,
        depth: int = 2,
        heads: int = 4,
        expansion: float = 4.0,
        condition_via: tuple[Conditioning, ...] = ("prefix", "input"),
        word_dropout: float = 0.0,
        dropout: float = 0.0,
        temperature: float = 1.0,
        beams: int = 1,
    ) -> None:
        if "start" in condition_via:
            raise AeframeError(
                "decoder token_transformer has no initial state, found start in condition_via; set it to prefix, input "
                "or both"
            )
        super().__init__(
            "decoder token_transformer",
            z_shape,
            out_shape,
            condition_via=condition_via,
            embedding=dim,
            hidden=dim,
            word_dropout=word_dropout,
            dropout=dropout,
            temperature=temperature,
            beams=beams,
        )
        self.blocks = _Blocks("decoder token_transformer", out_shape[1], dim, depth, heads, expansion, dropout)

    def initial_state(self, z: Tensor) -> State:
        return [z.new_empty(len(z), 0, self.embed.embedding_dim) for _ in self.blocks.layers]

    def forward_incremental(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        return self.blocks.onward(inputs, state)


class _Blocks(nn.Module):
    """Places and blocks, with a norm at the end: ``(B, T, D)`` -> ``(B, T, D)``, for any T up to `length`."""

    places: Tensor

    def __init__(
        self, who: str, length: int, dim: int, depth: int, heads: int, expansion: float, dropout: float
    ) -> None:
        super().__init__()
        if min(dim, depth, heads) < 1 or dim % heads or expansion * dim < 1 or not 0 <= dropout < 1:
            raise AeframeError(
                f"{who} needs dim, depth, heads and expansion * dim of at least 1, heads that divide dim, and dropout "
                f"in [0, 1), found dim {dim}, depth {depth}, heads {heads}, expansion {expansion:g} and dropout "
                f"{dropout:g}"
            )
        # At the scale of the embeddings, which are not to be drowned.
        self.register_buffer("places", sincos((length,), dim) * dim**-0.5)
        self.layers = nn.ModuleList(_Block(dim, heads, int(expansion * dim), dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.drop = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, *, allowed: Tensor) -> Tensor:
        """Let each place look at those that are `allowed`, ``(B, 1, 1, T)``."""
        tokens = self.drop(tokens + self.places[: tokens.shape[1]])
        for layer in self.layers:
            tokens = layer(tokens, tokens, allowed)
        normal: Tensor = self.norm(tokens)
        return normal

    def onward(self, tokens: Tensor, before: State) -> tuple[Tensor, State]:
        """Let each of n new places look at itself and at all before it.

        Args:
            tokens: ``(B, n, D)``.
            before: ``(B, m, D)`` for each block: what came into it at the m places before.
        """
        m, n = before[0].shape[1], tokens.shape[1]
        tokens = self.drop(tokens + self.places[m : m + n])
        allowed = torch.ones(n, m + n, dtype=torch.bool, device=tokens.device).tril(m)
        after: State = []
        for layer, known in zip(self.layers, before, strict=True):
            after.append(torch.cat([known.to(tokens.dtype), tokens], 1))
            tokens = layer(tokens, after[-1], allowed)
        return self.norm(tokens), after


class _Block(nn.Module):
    """Attention and dense layers, each added to what came in."""

    def __init__(self, dim: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.ask, self.tell, self.out = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)
        self.dense = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))
        self.drop = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, known: Tensor, allowed: Tensor) -> Tensor:
        """Let tokens ``(B, n, D)`` look at what is known, ``(B, m, D)``, where it is `allowed`."""
        query = self._by_head(self.ask(self.norm(tokens)))
        key, value = (self._by_head(each) for each in self.tell(self.norm(known)).chunk(2, -1))
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        tokens = tokens + self.drop(self.out(seen.transpose(1, 2).flatten(2)))
        return tokens + self.drop(self.dense(self.norm2(tokens)))

    def _by_head(self, value: Tensor) -> Tensor:
        return value.unflatten(2, (self.heads, -1)).transpose(1, 2)
