"""What both decoders are: networks that say a sentence token by token, each in the light of those before.

Shapes: B sentences, T places, V tokens of the vocabulary, D numbers of an embedding, H of the network's answer.
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
from aeframe_text.search import State, best, said
from aeframe_text.specials import SPECIALS, START, UNKNOWN

Way = Literal["start", "input", "prefix"]
"""How z reaches the decoder: as the state it starts in, beside every token, or in the place of the start token."""


class Autoregressive(Decoder):
    """A decoder that is taught by the tokens before each place, and goes on from its own where there are none.

    Args:
        who: Names it in errors.
        z_shape: Of a code, flattened whatever it is.
        out_shape: ``(V, T)``.
        ways: How z reaches it.
        embedding: D.
        hidden: H.
        word_dropout: The share of the tokens before that are hidden in training, as ``<unk>`` (Bowman et al. 2016,
            arXiv 1511.06349): what they do not tell, z must.
        dropout: The share of the numbers of embeddings and answers that is dropped in training.
        temperature: Of tokens that are drawn: below 1 the likely are likelier still.
        beams: How many beginnings of a sentence are followed, where it is not drawn; 1 is greedy.
    """

    def __init__(
        self,
        who: str,
        z_shape: Shape,
        out_shape: Shape,
        *,
        ways: tuple[Way, ...],
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
        if not ways:
            raise AeframeError(f"{who} must hear of z somehow; set z_to to one or more of its ways")
        size = math.prod(z_shape)
        self.embed = nn.Embedding(out_shape[0], embedding)
        nn.init.normal_(self.embed.weight, std=embedding**-0.5)
        self.prefix = nn.Linear(size, embedding) if "prefix" in ways else None
        self.like = nn.Linear(size, embedding) if "input" in ways else None
        # The embedding serves as the last layer too (Press & Wolf 2017, arXiv 1608.05859).
        self.answer = nn.Identity() if hidden == embedding else nn.Linear(hidden, embedding)
        self.bias = nn.Parameter(torch.zeros(out_shape[0]))
        self.drop = nn.Dropout(dropout)
        self.word_dropout, self.temperature, self.beams = word_dropout, temperature, beams
        self.length: int = out_shape[1]

    def begin(self, z: Tensor) -> State:
        """Return the state ``(B, ...)`` each, before anything was said."""
        raise NotImplementedError

    def advance(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Take in embeddings ``(B, n, D)``, and return answers ``(B, n, H)`` and the state after them."""
        raise NotImplementedError

    def forward(self, z: Tensor, batch: Batch | None = None) -> Tensor:
        if batch is None:
            return self.generate(z)
        z = z.flatten(1)
        before = F.pad(batch.masked_x().long()[:, :-1], (1, 0), value=START)
        if self.training and self.word_dropout:
            hidden = torch.rand(before.shape, device=before.device) < self.word_dropout
            hidden[:, 0] = False
            before = before.masked_fill(hidden, UNKNOWN)
        found, _ = self.advance(self._inputs(before, z, first=True), self.begin(z))
        return self._logits(found).transpose(1, 2)

    def generate(self, z: Tensor, *, draw: bool = False) -> Tensor:
        z = z.flatten(1)
        # What is said depends on z as well as on the state, so they are carried together.
        state = [z, *self.begin(z)]
        if draw or self.beams == 1:
            return said(self._step, state, self.length, temperature=self.temperature if draw else None)
        return best(self._step, state, self.length, self.beams)

    def _step(self, tokens: Tensor, state: State, *, first: bool) -> tuple[Tensor, State]:
        """Take in one token ``(B,)`` of each, and return logits ``(B, V)`` of the next one."""
        z, *rest = state
        found, rest = self.advance(self._inputs(tokens.unsqueeze(1), z, first=first), rest)
        return self._logits(found).squeeze(1), [z, *rest]

    def _inputs(self, tokens: Tensor, z: Tensor, *, first: bool) -> Tensor:
        inputs: Tensor = self.embed(tokens)
        if first and self.prefix is not None:
            inputs = torch.cat([self.prefix(z).unsqueeze(1).to(inputs.dtype), inputs[:, 1:]], 1)
        if self.like is not None:
            inputs = inputs + self.like(z).unsqueeze(1)
        return self.drop(inputs)

    def _logits(self, found: Tensor) -> Tensor:
        return F.linear(self.answer(self.drop(found)), self.embed.weight, self.bias)


def check_tokens(who: str, shape: Shape, classes: int | None) -> int:
    """Return how many tokens there are, of data that are sentences.

    Raises:
        AeframeError: Anything but tokens ``(T,)`` of a vocabulary that begins with the specials.
    """
    if classes is None or len(shape) != 1 or classes < len(SPECIALS):
        what = "numbers" if classes is None else f"classes of {classes}"
        raise AeframeError(
            f"{who} is for tokens (T,) of {len(SPECIALS)} classes or more, as modality=text gives them, and these data "
            f"are {what} of shape {tuple(shape)}; choose another network"
        )
    return classes
