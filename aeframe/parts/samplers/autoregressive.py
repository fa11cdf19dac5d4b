"""An autoregressive sampler of integer codes: a causal transformer over positions and levels.

A quantiser has one or more levels, and returns one integer code of each level at each position. A place is a position
and a level.

Shapes: B samples, n codes or tokens in sequence, P places (levels within positions), K different codes, D numbers in a
token.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from aeframe.errors import AeframeError
from aeframe.parts.gradient_descent import hold_out, minimise, random_batches
from aeframe.parts.networks.transformer import Transformer
from aeframe.parts.samplers.codes import CodeSampler
from aeframe.types import Model

_NUM_VALIDATIONS = 20
_MAX_HELD_OUT_BATCHES = 4


class AutoregressiveSampler(CodeSampler):
    """Draws codes one by one from a small causal transformer, which is trained on the codes of the training data.

    This is the second model of van den Oord et al. 2017 (arXiv 1711.00937), with a transformer (Vaswani et al. 2017,
    arXiv 1706.03762) instead of a PixelCNN. Codes are ordered by position, and by level within a position. The logits
    are the log-frequencies at each place plus the transformer's output, which is initially 0. A tenth of the codes is
    held out, and the weights with the highest likelihood on them are kept.

    Args:
        model: A model whose latent space is a quantiser.
        dim: Numbers in a token, D.
        depth: Number of transformer blocks.
        heads: Number of attention heads; it must divide `dim`.
        steps: Number of training batches. The cost of one grows with the square of the number of places.
        batch_size: Samples in a batch, drawn with replacement.
        lr: Initial learning rate of Adam; it decays to 0 along a cosine.
        temperature: Divides the logits; below 1, samples are more typical and less diverse.
        top_k: Draw from this number of most probable codes only; null draws from all.
    """

    name = "autoregressive"

    def __init__(
        self,
        model: Model,
        *,
        dim: int = 64,
        depth: int = 2,
        heads: int = 4,
        steps: int = 300,
        batch_size: int = 64,
        lr: float = 3e-3,
        temperature: float = 1.0,
        top_k: int | None = None,
    ) -> None:
        super().__init__(model)
        if min(dim, depth, heads, steps, batch_size, 1 if top_k is None else top_k) < 1 or dim % max(heads, 1):
            raise AeframeError(
                f"sampler autoregressive needs numbers of at least 1 and heads that divide dim, found dim {dim}, depth "
                f"{depth}, heads {heads}, steps {steps}, batch_size {batch_size} and top_k {top_k}"
            )
        if lr <= 0 or temperature <= 0:
            raise AeframeError(f"sampler autoregressive needs lr and temperature above 0, found {lr} and {temperature}")
        self.steps, self.batch_size, self.lr = steps, batch_size, lr
        self.temperature, self.top_k = temperature, top_k
        num_places, num_codes = self.frequencies.shape
        self._make_transformer = functools.partial(
            CodeTransformer, num_places, num_codes, model.latent.num_levels, dim=dim, depth=depth, heads=heads
        )
        self.transformer = self._make_transformer()

    def fit(self, z: Tensor, codes: Tensor | None) -> None:
        super().fit(z, codes)
        assert codes is not None
        # New initial weights, so that a second fit does not depend on the first.
        self.transformer.load_state_dict(self._make_transformer().state_dict())
        held_out, rows = hold_out(codes.to(self.frequencies.device), at_most=_MAX_HELD_OUT_BATCHES * self.batch_size)
        optimizer = torch.optim.Adam(self.transformer.parameters(), lr=self.lr)
        minimise(
            self.transformer,
            lambda batch: -self.log_prob(batch),
            random_batches(rows, self.batch_size, self.steps),
            optimizer,
            schedule=torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps),
            held_out=held_out,
            validate_at={*range(0, self.steps, math.ceil(self.steps / _NUM_VALIDATIONS)), self.steps},
        )

    def log_prob(self, codes: Tensor) -> Tensor:
        """Return ``(B,)``: the log-probability of codes ``(B, *positions, levels)`` in nats, at temperature 1."""
        flat = codes.flatten(1)
        logits = self.log_frequencies() + self.transformer(self.transformer.previous_tokens(flat))
        return -cross_entropy(logits.transpose(1, 2), flat, reduction="none").sum(1)

    def draw(self, num: int) -> Tensor:
        log_frequencies = self.log_frequencies()
        previous = self.transformer.previous_tokens(
            torch.zeros(num, 1, dtype=torch.long, device=log_frequencies.device)
        )
        cache = self.transformer.blocks.empty_cache(log_frequencies.new_empty(num))
        codes: list[Tensor] = []
        for place, log_frequencies_here in enumerate(log_frequencies):
            output, cache = self.transformer.forward_incremental(previous, place, cache)
            logits = (log_frequencies_here + output[:, 0]) / self.temperature
            if self.top_k is not None and self.top_k < logits.shape[1]:
                threshold = logits.topk(self.top_k).values[:, -1:]
                logits = logits.masked_fill(logits < threshold, -torch.inf)
            codes.append(torch.multinomial(logits.softmax(1), 1))
            previous = self.transformer.token(codes[-1], place)
        return torch.cat(codes, 1)


class CodeTransformer(nn.Module):
    """A causal transformer over codes: tokens ``(B, n)`` -> logits ``(B, n, K)`` of the code after each token.

    Each code of each level has a token; one more stands for the start. Each level has an output layer of its own.
    """

    def __init__(self, num_places: int, num_codes: int, num_levels: int, *, dim: int, depth: int, heads: int) -> None:
        super().__init__()
        self.num_codes, self.num_levels = num_codes, num_levels
        self.tokens = nn.Embedding(num_levels * num_codes + 1, dim)
        self.places = nn.Embedding(num_places, dim)
        self.blocks = Transformer(dim, depth, heads, 4 * dim)
        self.outputs = nn.ModuleList(nn.Linear(dim, num_codes) for _ in range(num_levels))
        for output in self.outputs:
            nn.init.zeros_(output.weight)  # type: ignore[arg-type]
            nn.init.zeros_(output.bias)  # type: ignore[arg-type]

    def token(self, codes: Tensor, place: int | Tensor) -> Tensor:
        """Return the tokens of codes ``(B, n)`` at `place`, which decides their level."""
        return codes + self.num_codes * (place % self.num_levels)

    def previous_tokens(self, codes: Tensor) -> Tensor:
        """Return the token before each of the first n codes ``(B, n)``, the start token first."""
        tokens = self.token(codes, torch.arange(codes.shape[1], device=codes.device))
        return torch.cat([torch.full_like(tokens[:, :1], self.tokens.num_embeddings - 1), tokens[:, :-1]], 1)

    def forward(self, previous: Tensor) -> Tensor:
        """Return the logits of the first n places: previous tokens ``(B, n)`` -> ``(B, n, K)``."""
        return self.forward_incremental(
            previous, 0, self.blocks.empty_cache(self.places.weight.new_empty(len(previous)))
        )[0]

    def forward_incremental(self, previous: Tensor, start: int, cache: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return the logits ``(B, n, K)`` of n places from `start` on, and the extended cache of `Transformer`."""
        x = self.tokens(previous) + self.places.weight[start : start + previous.shape[1]]
        x, cache = self.blocks.forward_incremental(x, cache)
        num = min(self.num_levels, x.shape[1])
        by_level = [
            self.outputs[(start + level) % self.num_levels](x[:, level :: self.num_levels]) for level in range(num)
        ]
        return torch.stack(by_level, 2).flatten(1, 2), cache
