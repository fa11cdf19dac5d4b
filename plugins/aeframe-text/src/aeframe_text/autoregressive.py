"""The base class of the autoregressive decoders: teacher forcing in training, token-by-token generation otherwise.

Shapes: B sentences, T positions, V tokens of the vocabulary, D dimensions of an embedding, H of a hidden vector.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aeframe.errors import AeframeError
from aeframe.parts.networks.base import Decoder
from aeframe.types import Batch, Shape
from aeframe_text.search import State, beam_search, greedy_or_sample
from aeframe_text.specials import START, UNKNOWN, check_tokens

Conditioning = Literal["start", "input", "prefix"]
"""How a decoder is conditioned on z: through its initial state (``start``), by a vector that is added to each token
embedding (``input``), or by one that replaces the embedding of the start token (``prefix``)."""


class Autoregressive(Decoder):
    """A decoder that predicts each token from z and the tokens before it.

    In training these are the tokens of the data (teacher forcing); otherwise they are the decoder's own outputs.
    Subclasses implement `initial_state` and `forward_incremental`.

    Args:
        who: The decoder's name, for error messages.
        z_shape: Shape of one z, which is flattened.
        out_shape: ``(V, T)``.
        condition_via: How the decoder is conditioned on z: one or more of `Conditioning`.
        embedding: D, the size of a token embedding.
        hidden: H, the size of a hidden vector.
        word_dropout: Probability that a token before the predicted one is replaced by ``<unk>`` in training (Bowman et
            al. 2016, arXiv 1511.06349), so that the decoder has to use z.
        dropout: Dropout probability of the embeddings and of the hidden vectors.
        temperature: Divides the logits when tokens are sampled; below 1 it sharpens the distribution.
        beams: Number of beams of the beam search, where tokens are not sampled; 1 is greedy decoding.
    """

    def __init__(
        self,
        who: str,
        z_shape: Shape,
        out_shape: Shape,
        *,
        condition_via: tuple[Conditioning, ...],
        embedding: int,
        hidden: int,
        word_dropout: float,
        dropout: float,
        temperature: float,
        beams: int,
    ) -> None:
        super().__init__()
        check_tokens(who, out_shape[1:], out_shape[0])
        if min(embedding, hidden, beams) < 1 or temperature <= 0:
            raise AeframeError(
                f"{who} needs sizes and beams of at least 1 and a temperature above 0, found embedding {embedding}, "
                f"hidden {hidden}, beams {beams} and temperature {temperature:g}"
            )
        if not 0 <= word_dropout <= 1 or not 0 <= dropout < 1:
            raise AeframeError(
                f"{who} needs word_dropout in [0, 1] and dropout in [0, 1), found {word_dropout:g} and {dropout:g}"
            )
        if not condition_via:
            raise AeframeError(f"{who} needs at least one entry in condition_via to depend on z; set it to [input]")
        size = math.prod(z_shape)
        self.embed = nn.Embedding(out_shape[0], embedding)
        nn.init.normal_(self.embed.weight, std=embedding**-0.5)
        self.prefix_projection = nn.Linear(size, embedding) if "prefix" in condition_via else None
        self.input_projection = nn.Linear(size, embedding) if "input" in condition_via else None
        # The embedding matrix is also the output layer (weight tying: Press & Wolf 2017, arXiv 1608.05859).
        self.output_projection = nn.Identity() if hidden == embedding else nn.Linear(hidden, embedding)
        self.bias = nn.Parameter(torch.zeros(out_shape[0]))
        self.drop = nn.Dropout(dropout)
        self.word_dropout, self.temperature, self.beams = word_dropout, temperature, beams
        self.length: int = out_shape[1]

    def initial_state(self, z: Tensor) -> State:
        """Return the state before the first token, tensors ``(B, ...)``; z is flattened, one row for each sentence."""
        raise NotImplementedError

    def forward_incremental(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Process the next n input embeddings ``(B, n, D)``; return hidden vectors ``(B, n, H)`` and the new state."""
        raise NotImplementedError

    def forward(self, z: Tensor, batch: Batch | None = None) -> Tensor:
        if batch is None:
            return self.generate(z)
        z = z.flatten(1)
        previous = F.pad(batch.masked_x().long()[:, :-1], (1, 0), value=START)
        if self.training and self.word_dropout:
            dropped = torch.rand(previous.shape, device=previous.device) < self.word_dropout
            dropped[:, 0] = False
            previous = previous.masked_fill(dropped, UNKNOWN)
        hidden, _ = self.forward_incremental(self._inputs(previous, z, first=True), self.initial_state(z))
        return self._logits(hidden).transpose(1, 2)

    def generate(self, z: Tensor, *, draw: bool = False) -> Tensor:
        z = z.flatten(1)
        # Beam search reorders the state; z is part of it so that each row keeps its z.
        state = [z, *self.initial_state(z)]
        if draw or self.beams == 1:
            return greedy_or_sample(self._step, state, self.length, temperature=self.temperature if draw else None)
        return beam_search(self._step, state, self.length, self.beams)

    def _step(self, tokens: Tensor, state: State, *, first: bool) -> tuple[Tensor, State]:
        """Process one token ``(B,)`` of each sentence; return the logits ``(B, V)`` of the next, and the new state."""
        z, *state = state
        hidden, state = self.forward_incremental(self._inputs(tokens.unsqueeze(1), z, first=first), state)
        return self._logits(hidden).squeeze(1), [z, *state]

    def _inputs(self, tokens: Tensor, z: Tensor, *, first: bool) -> Tensor:
        """Return the input embeddings ``(B, n, D)`` of tokens ``(B, n)``.

        `first` is True if the first of these is the start token, whose embedding z may replace.
        """
        inputs: Tensor = self.embed(tokens)
        if first and self.prefix_projection is not None:
            inputs = torch.cat([self.prefix_projection(z).unsqueeze(1).to(inputs.dtype), inputs[:, 1:]], 1)
        if self.input_projection is not None:
            inputs = inputs + self.input_projection(z).unsqueeze(1)
        return self.drop(inputs)

    def _logits(self, hidden: Tensor) -> Tensor:
        return F.linear(self.output_projection(self.drop(hidden)), self.embed.weight, self.bias)
