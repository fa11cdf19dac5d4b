"""A transformer encoder of sentences, and an autoregressive transformer decoder (Vaswani et al. 2017, arXiv
1706.03762).

Shapes: B sentences, T positions, D dimensions of a token's vector, V tokens of the vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.parts.networks.base import Encoder
from aeframe.parts.networks.transformer import Transformer, sinusoidal_positions
from aeframe.types import Batch, Domain, Shape
from aeframe_text.autoregressive import Autoregressive, Conditioning
from aeframe_text.packing import pack_tokens
from aeframe_text.search import State
from aeframe_text.specials import check_tokens


class TokenTransformer(Encoder):
    """A bidirectional transformer: tokens ``(B, T)`` -> ``(B, D)``, the mean of its outputs over the tokens.

    Masked tokens and padding have no influence.

    Args:
        shape: ``(T,)``.
        domain: Must be ``category(V)``.
        dim: D, the size of a token's vector.
        depth: Number of pre-norm blocks.
        heads: Attention heads; they must divide `dim`.
        expansion: Hidden units of a block's dense layers, in units of `dim`.
        dropout: Fraction of the embeddings and of each residual branch's output that is dropped in training.
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
        self.blocks = _Transformer("encoder token_transformer", shape[0], dim, depth, heads, expansion, dropout)
        self.out_shape = (dim,)
        self._mirrored_decoder = {
            "name": "token_transformer",
            "dim": dim,
            "depth": depth,
            "heads": heads,
            "expansion": expansion,
            "dropout": dropout,
        }

    def forward(self, batch: Batch) -> Tensor:
        tokens, lengths = pack_tokens(batch)
        mask = torch.arange(tokens.shape[1], device=tokens.device) < lengths.clamp(min=1).unsqueeze(1)
        outputs = self.blocks(self.embed(tokens), mask[:, None, None, :])
        weight = mask.unsqueeze(2).to(outputs.dtype)
        mean: Tensor = (outputs * weight).sum(1) / weight.sum(1)
        return mean

    def mirrored_decoder_config(self) -> dict[str, Any]:
        return self._mirrored_decoder


class TokenTransformerDecoder(Autoregressive):
    """A causal transformer over tokens: ``(B, *z_shape)`` -> logits ``(B, V, T)``.

    Args:
        z_shape: Shape of one z, which is flattened.
        out_shape: ``(V, T)``.
        dim: D, the size of a token's vector.
        depth: Number of pre-norm blocks.
        heads: Attention heads; they must divide `dim`.
        expansion: Hidden units of a block's dense layers, in units of `dim`.
        condition_via: How the decoder is conditioned on z: ``prefix`` replaces the embedding of the start token,
            ``input`` adds z to the embedding of each token.
        word_dropout: Fraction of the previous tokens that is replaced by ``<unk>`` in training, so that the decoder
            depends more on z (Bowman et al. 2016, arXiv 1511.06349).
        dropout: Fraction of the embeddings and of each residual branch's output that is dropped in training.
        temperature: Divides the logits when tokens are sampled; below 1 probable tokens become more probable.
        beams: Number of beams of the beam search, where tokens are not sampled; 1 is greedy search.
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
        self.blocks = _Transformer("decoder token_transformer", out_shape[1], dim, depth, heads, expansion, dropout)

    def initial_state(self, z: Tensor) -> State:
        return self.blocks.empty_cache(z)

    def forward_incremental(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        return self.blocks.forward_incremental(inputs, state)


class _Transformer(Transformer):
    """A transformer that adds sinusoidal position embeddings to up to `length` tokens ``(B, T, D)``."""

    places: Tensor

    def __init__(
        self, who: str, length: int, dim: int, depth: int, heads: int, expansion: float, dropout: float
    ) -> None:
        if min(dim, depth, heads) < 1 or dim % heads or expansion * dim < 1 or not 0 <= dropout < 1:
            raise AeframeError(
                f"{who} needs dim, depth, heads and expansion * dim of at least 1, heads that divide dim, and dropout "
                f"in [0, 1), found dim {dim}, depth {depth}, heads {heads}, expansion {expansion:g} and dropout "
                f"{dropout:g}"
            )
        super().__init__(dim, depth, heads, int(expansion * dim), dropout)
        # Scaled like the token embeddings, so that positions do not outweigh them.
        self.register_buffer("places", sinusoidal_positions((length,), dim) * dim**-0.5)
        self.drop = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        return super().forward(self.drop(tokens + self.places[: tokens.shape[1]]), mask)

    def forward_incremental(self, tokens: Tensor, cache: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        start = cache[0].shape[1]
        tokens = self.drop(tokens + self.places[start : start + tokens.shape[1]])
        return super().forward_incremental(tokens, cache)
