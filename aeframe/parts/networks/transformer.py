"""A pre-norm transformer (Vaswani et al. 2017, arXiv 1706.03762) with masked and with incremental causal attention.

Shapes: B sequences, n new tokens, m tokens before them, D numbers in a token, H attention heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from aeframe.types import Shape


class Transformer(nn.Module):
    """Self-attention blocks with a final layer norm: ``(B, n, D)`` -> ``(B, n, D)``.

    It adds no position embeddings: the caller adds them to the tokens.

    Args:
        dim: Numbers in a token, D.
        depth: Number of blocks.
        heads: Number of attention heads, H; it must divide `dim`.
        hidden: Hidden units of each block's dense layers.
        dropout: Fraction of each residual branch's output that is dropped in training.
    """

    def __init__(self, dim: int, depth: int, heads: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dim = dim
        self.layers = nn.ModuleList(TransformerBlock(dim, heads, hidden, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend to all tokens, or where `mask`, broadcast to ``(B, H, n, n)``, is True."""
        for layer in self.layers:
            tokens = layer(tokens, mask)
        normalised: Tensor = self.norm(tokens)
        return normalised

    def empty_cache(self, like: Tensor) -> list[Tensor]:
        """Return the cache before the first token, for as many sequences as `like` ``(B, ...)``, in its dtype."""
        return [like.new_empty(like.shape[0], 0, 2 * self.dim) for _ in self.layers]

    def forward_incremental(self, tokens: Tensor, cache: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Attend from each new token ``(B, n, D)`` to itself and all tokens before it.

        Args:
            tokens: ``(B, n, D)``.
            cache: The keys and values ``(B, m, 2 D)`` of the m tokens before, for each block.

        Returns:
            The output ``(B, n, D)``, and the cache of all m + n tokens.
        """
        extended: list[Tensor] = []
        for layer, keys_and_values in zip(self.layers, cache, strict=True):
            assert isinstance(layer, TransformerBlock)
            tokens, keys_and_values = layer.forward_incremental(tokens, keys_and_values)
            extended.append(keys_and_values)
        return self.norm(tokens), extended


class TransformerBlock(nn.Module):
    """Attention and dense layers, each a residual branch behind a layer norm: ``(B, n, D)`` -> ``(B, n, D)``."""

    def __init__(self, dim: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query, self.key_value, self.out = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)
        self.dense = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))
        self.drop = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend to all tokens, or where `mask`, broadcast to ``(B, H, n, n)``, is True."""
        return self._residual(tokens, self.query(self.norm(tokens)), self.key_value(self.norm(tokens)), mask)

    def forward_incremental(self, tokens: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        """Attend from n new tokens to themselves and the m in `cache` ``(B, m, 2 D)``; return output and new cache."""
        new = self.key_value(self.norm(tokens))
        m, n = cache.shape[1], tokens.shape[1]
        keys_and_values = torch.cat([cache.to(new.dtype), new], 1)
        mask = torch.ones(n, m + n, dtype=torch.bool, device=tokens.device).tril(m)
        return self._residual(tokens, self.query(self.norm(tokens)), keys_and_values, mask), keys_and_values

    def _residual(self, tokens: Tensor, query: Tensor, keys_and_values: Tensor, mask: Tensor | None) -> Tensor:
        """Return the block's output for tokens with these queries, keys and values."""
        key, value = map(self._by_head, keys_and_values.chunk(2, -1))
        attended = scaled_dot_product_attention(self._by_head(query), key, value, attn_mask=mask)
        tokens = tokens + self.drop(self.out(attended.transpose(1, 2).flatten(2)))
        return tokens + self.drop(self.dense(self.norm2(tokens)))

    def _by_head(self, value: Tensor) -> Tensor:
        """Return ``(B, n, D)`` as ``(B, H, n, D / H)``."""
        return value.unflatten(2, (self.heads, -1)).transpose(1, 2)


def sinusoidal_positions(grid: Shape, dim: int) -> Tensor:
    """Return position embeddings ``(N, dim)`` of the N positions of a grid of one to three dimensions.

    Each coordinate has an equal share of the `dim` numbers: its sines and cosines at wavelengths from 2 pi to 20000 pi
    (Vaswani et al. 2017, arXiv 1706.03762). The numbers that remain if `dim` is no multiple are zero.
    """
    num_frequencies = dim // (2 * len(grid))
    frequencies = 10000.0 ** -(torch.arange(num_frequencies) / max(1, num_frequencies))
    axes = torch.meshgrid(*(torch.arange(n, dtype=frequencies.dtype) for n in grid), indexing="ij")
    angles = torch.stack(axes, -1).flatten(0, -2).unsqueeze(-1) * frequencies
    embeddings = torch.cat([angles.sin(), angles.cos()], -1).flatten(1)
    return nn.functional.pad(embeddings, (0, dim - embeddings.shape[1]))
