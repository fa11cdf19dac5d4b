"""LSTM and GRU networks over tokens.

Shapes: B sentences, T positions, V tokens of the vocabulary, D dimensions of an embedding, H of a hidden state.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.parts.networks.base import Encoder
from aeframe.types import Batch, Domain, Shape
from aeframe_text.autoregressive import Autoregressive, Conditioning
from aeframe_text.packing import pack_tokens, reverse_sequences
from aeframe_text.search import State
from aeframe_text.specials import check_tokens

Cell = Literal["lstm", "gru"]
_CELLS: dict[str, type[nn.LSTM | nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}


class TokenRNN(Encoder):
    """An LSTM (Hochreiter & Schmidhuber 1997) or GRU (Cho et al. 2014, arXiv 1406.1078) over tokens: ``(B, T)`` ->
    ``(B, H)``, or ``(B, 2 H)`` if bidirectional: the final hidden state of each direction.

    Masked positions (padding, tokens that a corruption removed) are skipped, so the features of a sentence do not
    depend on its batch. Unlike ``pack_padded_sequence``, this needs no lengths on the CPU.

    Args:
        shape: ``(T,)``.
        domain: Must be ``category(V)``.
        cell: ``lstm`` or ``gru``.
        embedding: D, the size of a token embedding.
        hidden: H, the size of a hidden state.
        layers: Number of stacked layers.
        bidirectional: Whether a second RNN reads each sentence from its end.
        dropout: Dropout probability of the inputs of each layer.
    """

    def __init__(
        self,
        shape: Shape,
        domain: Domain,
        *,
        cell: Cell = "lstm",
        embedding: int = 128,
        hidden: int = 256,
        layers: int = 1,
        bidirectional: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        vocabulary_size = check_tokens("encoder token_rnn", shape, domain.classes)
        _check_options("encoder token_rnn", embedding, hidden, layers, dropout)
        self.embed = nn.Embedding(vocabulary_size, embedding)
        nn.init.normal_(self.embed.weight, std=embedding**-0.5)
        width = hidden * (2 if bidirectional else 1)
        input_sizes = [embedding] + [width] * (layers - 1)
        rnn_class = _CELLS[cell]
        self.forward_layers = nn.ModuleList(rnn_class(size, hidden, batch_first=True) for size in input_sizes)
        self.backward_layers = nn.ModuleList(
            rnn_class(size, hidden, batch_first=True) for size in input_sizes if bidirectional
        )
        self.drop = nn.Dropout(dropout)
        self.out_shape = (width,)
        self._mirrored_decoder = {
            "name": "token_rnn",
            "cell": cell,
            "embedding": embedding,
            "hidden": hidden,
            "layers": layers,
            "dropout": dropout,
        }

    def forward(self, batch: Batch) -> Tensor:
        tokens, lengths = pack_tokens(batch)
        # A sentence without unmasked tokens is read as a single padding token.
        lengths = lengths.clamp(min=1)
        values = self.embed(tokens)
        final_states: list[Tensor] = []
        for number, forward_layer in enumerate(self.forward_layers):
            values = self.drop(values)
            outputs = [forward_layer(values)[0]]
            final_states = [_last_states(outputs[0], lengths)]
            if len(self.backward_layers):
                backward = self.backward_layers[number](reverse_sequences(values, lengths))[0]
                outputs.append(reverse_sequences(backward, lengths))
                final_states.append(_last_states(backward, lengths))
            values = torch.cat(outputs, 2)
        return torch.cat(final_states, 1)

    def mirrored_decoder_config(self) -> dict[str, Any]:
        return self._mirrored_decoder


class TokenRNNDecoder(Autoregressive):
    """An autoregressive LSTM or GRU: ``(B, *z_shape)`` -> logits ``(B, V, T)``.

    Args:
        z_shape: Shape of one z, which is flattened.
        out_shape: ``(V, T)``.
        cell: ``lstm`` or ``gru``.
        embedding: D, the size of a token embedding; the embeddings are also the weights of the output layer.
        hidden: H, the size of a hidden state.
        layers: Number of stacked layers.
        condition_via: How the decoder is conditioned on z: ``start`` computes the initial state from it, ``input`` adds
            a vector to each token embedding, and ``prefix`` replaces the embedding of the start token.
        word_dropout: Probability that a token before the predicted one is replaced by ``<unk>`` in training (Bowman et
            al. 2016, arXiv 1511.06349), so that the decoder has to use z.
        dropout: Dropout probability of the embeddings, between layers and of the hidden vectors.
        temperature: Divides the logits when tokens are sampled; below 1 it sharpens the distribution.
        beams: Number of beams of the beam search, where tokens are not sampled; 1 is greedy decoding.
    """

    def __init__(
        self,
        z_shape: Shape,
        out_shape: Shape,
        *,
        cell: Cell = "lstm",
        embedding: int = 128,
        hidden: int = 256,
        layers: int = 1,
        condition_via: tuple[Conditioning, ...] = ("start", "input"),
        word_dropout: float = 0.0,
        dropout: float = 0.0,
        temperature: float = 1.0,
        beams: int = 1,
    ) -> None:
        super().__init__(
            "decoder token_rnn",
            z_shape,
            out_shape,
            condition_via=condition_via,
            embedding=embedding,
            hidden=hidden,
            word_dropout=word_dropout,
            dropout=dropout,
            temperature=temperature,
            beams=beams,
        )
        _check_options("decoder token_rnn", embedding, hidden, layers, dropout)
        self.cell = _CELLS[cell](embedding, hidden, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.state_shape = (2 if cell == "lstm" else 1, layers, hidden)
        """An LSTM has a hidden and a cell state, a GRU only a hidden state."""
        self.state_projection = (
            nn.Linear(math.prod(z_shape), math.prod(self.state_shape)) if "start" in condition_via else None
        )

    def initial_state(self, z: Tensor) -> State:
        if self.state_projection is None:
            return [z.new_zeros(z.shape[0], *self.state_shape)]
        return [self.state_projection(z).tanh().unflatten(1, self.state_shape)]

    def forward_incremental(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        # The RNN modules of PyTorch take states (layers, B, H).
        h, *c = (tensor.transpose(0, 1).contiguous() for tensor in state[0].to(inputs.dtype).unbind(1))
        hidden, last = self.cell(inputs, (h, *c) if c else h)
        new_states = last if c else (last,)
        return hidden, [torch.stack([tensor.transpose(0, 1) for tensor in new_states], 1)]


def _last_states(values: Tensor, lengths: Tensor) -> Tensor:
    """Return the value at the last position of each sequence: ``(B, T, H)`` -> ``(B, H)``."""
    index = (lengths - 1).reshape(-1, 1, 1).expand(-1, 1, values.shape[2])
    return values.gather(1, index).squeeze(1)


def _check_options(who: str, embedding: int, hidden: int, layers: int, dropout: float) -> None:
    if min(embedding, hidden, layers) < 1 or not 0 <= dropout < 1:
        raise AeframeError(
            f"{who} needs embedding, hidden and layers of at least 1 and dropout in [0, 1), found {embedding}, "
            f"{hidden}, {layers} and {dropout:g}"
        )
