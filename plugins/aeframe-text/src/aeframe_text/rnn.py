"""Recurrent networks of tokens.

Shapes: B sentences, T places, D numbers of an embedding, H of a state.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.parts.networks.base import Encoder
from aeframe.types import Batch, Domain, Shape
from aeframe_text.autoregressive import Autoregressive, Way, check_tokens
from aeframe_text.packing import packed, turned
from aeframe_text.search import State

Cell = Literal["lstm", "gru"]
_CELLS: dict[str, type[nn.LSTM | nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}


class TokenRNN(Encoder):
    """An LSTM (Hochreiter & Schmidhuber 1997) or GRU (Cho et al. 2014, arXiv 1406.1078) over tokens: ``(B, T)`` ->
    ``(B, H)``, or ``(B, 2 H)`` in both directions; the last state of each.

    Only what the mask counts is read, as if each sentence were alone: padding, or what a corruption has hidden, takes
    no step. Sentences need not come to the CPU for that, as packed sequences of torch would.

    Args:
        shape: ``(T,)``.
        domain: Must be ``category(V)``.
        cell: ``lstm`` or ``gru``.
        embedding: D.
        hidden: H.
        layers: On top of one another.
        bidirectional: Read in both directions.
        dropout: The share of the numbers of embeddings, and between layers, that is dropped in training.
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
        size = check_tokens("encoder token_rnn", shape, domain.classes)
        _check("encoder token_rnn", embedding, hidden, layers, dropout)
        self.embed = nn.Embedding(size, embedding)
        nn.init.normal_(self.embed.weight, std=embedding**-0.5)
        width = hidden * (2 if bidirectional else 1)
        sizes = [embedding] + [width] * (layers - 1)
        make = _CELLS[cell]
        self.onward = nn.ModuleList(make(each, hidden, batch_first=True) for each in sizes)
        self.backward_ = nn.ModuleList(make(each, hidden, batch_first=True) for each in sizes if bidirectional)
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
        tokens, lengths = packed(batch)
        lengths = lengths.clamp(min=1)
        values = self.embed(tokens)
        last: list[Tensor] = []
        for layer, onward in enumerate(self.onward):
            values = self.drop(values)
            found = [onward(values)[0]]
            last = [_at(found[0], lengths)]
            if len(self.backward_):
                back = self.backward_[layer](turned(values, lengths))[0]
                found.append(turned(back, lengths))
                last.append(_at(back, lengths))
            values = torch.cat(found, 2)
        return torch.cat(last, 1)

    def mirrored_decoder_config(self) -> dict[str, Any]:
        return self._mirrored_decoder


class TokenRNNDecoder(Autoregressive):
    """An LSTM or GRU that says a sentence: ``(B, *z_shape)`` -> logits ``(B, V, T)``.

    Args:
        z_shape: Of a code, flattened whatever it is.
        out_shape: ``(V, T)``.
        cell: ``lstm`` or ``gru``.
        embedding: D, of the tokens before and of the last layer, which are the same numbers.
        hidden: H.
        layers: On top of one another.
        z_to: How z reaches it: ``start`` makes the first state of it, ``input`` adds it to each token's embedding, and
            ``prefix`` puts it in the place of the start token.
        word_dropout: The share of the tokens before that are hidden in training, as ``<unk>`` (Bowman et al. 2016,
            arXiv 1511.06349): what they do not tell, z must.
        dropout: The share of the numbers of embeddings and answers, and between layers, that is dropped in training.
        temperature: Of sentences that are drawn: below 1 the likely is likelier still.
        beams: How many beginnings of a sentence are followed, where it is not drawn; 1 is greedy.
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
        z_to: tuple[Way, ...] = ("start", "input"),
        word_dropout: float = 0.0,
        dropout: float = 0.0,
        temperature: float = 1.0,
        beams: int = 1,
    ) -> None:
        super().__init__(
            "decoder token_rnn",
            z_shape,
            out_shape,
            ways=z_to,
            embedding=embedding,
            hidden=hidden,
            word_dropout=word_dropout,
            dropout=dropout,
            temperature=temperature,
            beams=beams,
        )
        _check("decoder token_rnn", embedding, hidden, layers, dropout)
        self.cell = _CELLS[cell](embedding, hidden, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.kept = (2 if cell == "lstm" else 1, layers, hidden)
        """An LSTM has a state and a cell."""
        self.start = nn.Linear(math.prod(z_shape), math.prod(self.kept)) if "start" in z_to else None

    def begin(self, z: Tensor) -> State:
        if self.start is None:
            return [z.new_zeros(len(z), *self.kept)]
        return [self.start(z).tanh().unflatten(1, self.kept)]

    def advance(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        h, *c = (each.transpose(0, 1).contiguous() for each in state[0].to(inputs.dtype).unbind(1))
        found, kept = self.cell(inputs, (h, *c) if c else h)
        after = kept if c else (kept,)
        return found, [torch.stack([each.transpose(0, 1) for each in after], 1)]


def _at(values: Tensor, lengths: Tensor) -> Tensor:
    """Return the last of each sequence: ``(B, T, H)`` -> ``(B, H)``."""
    at = (lengths - 1).reshape(-1, 1, 1).expand(-1, 1, values.shape[2])
    return values.gather(1, at).squeeze(1)


def _check(who: str, embedding: int, hidden: int, layers: int, dropout: float) -> None:
    if min(embedding, hidden, layers) < 1 or not 0 <= dropout < 1:
        raise AeframeError(
            f"{who} needs embedding, hidden and layers of at least 1 and dropout in [0, 1), found {embedding}, "
            f"{hidden}, {layers} and {dropout:g}"
        )
