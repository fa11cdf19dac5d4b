"""Codebooks: numbered vectors that a quantiser looks up, and how data move them.

Shapes: D numbers of a code vector, K codes of a codebook, N vectors of a batch on all processes.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.tensors import autocast_disabled

_KMEANS_ITERATIONS = 10
# Laplace smoothing of the cluster sizes: an empty cluster is not divided by zero.
_SMOOTHING = 1e-5
_32_BITS = 0xFFFFFFFF


class Codebook(nn.Module):
    """Code vectors ``(D,)`` with the numbers 0 to `size` - 1. Each level of a quantiser looks them up in one."""

    size: int
    learned: bool = False
    """Whether a gradient reaches the vectors."""
    updated: bool = False
    """Whether `ema_update` changes the vectors."""
    is_initialized: bool = True
    """Whether the vectors can be looked up in training; `initialize` is called first where they cannot."""

    def nearest(self, vectors: Tensor) -> Tensor:
        """Return ``(...)``: the number of the code nearest to each of the vectors ``(..., D)``."""
        raise NotImplementedError

    def forward(self, codes: Tensor) -> Tensor:
        """Return the vectors ``(..., D)`` of the codes ``(...)``."""
        raise NotImplementedError

    def initialize(self, observed: Tensor) -> None:
        """Place the code vectors by the first training vectors ``(N, D)``, N > 0."""

    def ema_update(self, observed: Tensor, codes: Tensor, counted: Tensor | None = None) -> None:
        """Move the code vectors after a training batch was looked up.

        Args:
            observed: ``(N, D)``, the vectors of all processes.
            codes: ``(N,)``, the codes that they were given.
            counted: ``(N,)`` bool, the vectors that take part; None for all of them.
        """


class Table(Codebook):
    """A codebook that writes its vectors out, so that the nearest can be found by comparing all."""

    @property
    def vectors(self) -> Tensor:
        """All code vectors, ``(K, D)``."""
        raise NotImplementedError

    @torch.no_grad()
    def nearest(self, vectors: Tensor) -> Tensor:
        with autocast_disabled(vectors.device):
            return _nearest(vectors, self.vectors)

    def forward(self, codes: Tensor) -> Tensor:
        with autocast_disabled(codes.device):
            return nn.functional.embedding(codes, self.vectors)


class DataInitializedTable(Table):
    """A table whose vectors may be placed by the first training batch.

    The buffer `initialized` is the state. Its value is copied to the host once after the table was made or loaded, so
    that a training step does not wait for the device.
    """

    initialized: Tensor

    def __init__(self, size: int, *, initialized: bool) -> None:
        super().__init__()
        if size < 2:
            raise AeframeError(f"a codebook needs at least 2 codes, found {size}; set latent.codebook_size")
        self.size = size
        self.register_buffer("initialized", torch.tensor(initialized))
        self._initialized_on_host: bool | None = initialized
        self.register_load_state_dict_post_hook(_forget_host_copy)  # type: ignore[no-untyped-call]

    @property
    def is_initialized(self) -> bool:  # type: ignore[override]
        if self._initialized_on_host is None:
            self._initialized_on_host = bool(self.initialized)
        return self._initialized_on_host

    @torch.no_grad()
    def initialize(self, observed: Tensor) -> None:
        if not self.is_initialized:
            self.place(observed)
            self.initialized.fill_(True)
            self._initialized_on_host = True

    def place(self, observed: Tensor) -> None:
        """Set the code vectors from the first training vectors ``(N, D)``, N > 0."""
        raise NotImplementedError


def _forget_host_copy(table: DataInitializedTable, _: object) -> None:
    table._initialized_on_host = None


class LearnedCodebook(DataInitializedTable):
    """Code vectors learned by gradients, or by exponential moving averages (EMA) of the vectors that chose them.

    The averages are those of van den Oord et al. 2017 (arXiv 1711.00937), appendix A.1: of how many vectors chose each
    code and of their sum, whose ratio is the code. The k-means initialisation and the revival of dead codes from
    vectors of the batch are those of Zeghidour et al. 2021 (arXiv 2107.03312), section III-C.

    Codes change in training only. With several processes each one sees the vectors of all and makes the same change.
    All state is in buffers. Random choices are a function of the buffer `draws`, computed on the device: a resumed run
    repeats them, and no step reads a value to the host.

    Args:
        size: K.
        dim: D.
        update: See `VectorQuantized`, and so for the other options.
        decay: Of the averages.
        kmeans_init: Place the codes by k-means on the first training batch.
        revive: Share of an even use below which a code counts as dead.
        cosine: Codes have length 1.
    """

    cluster_size: Tensor
    """``(K,)``: the average number of vectors of a batch that chose each code."""
    cluster_sum: Tensor
    """``(K, D)``: the average sum of those vectors."""
    draws: Tensor
    """``()``: a random start, plus the number of random orders drawn."""

    def __init__(
        self,
        size: int,
        dim: int,
        *,
        update: Literal["ema", "gradient"],
        decay: float,
        kmeans_init: bool,
        revive: float,
        cosine: bool = False,
    ) -> None:
        super().__init__(size, initialized=not kmeans_init)
        if dim < 1:
            raise AeframeError(f"a codebook needs dim of at least 1, found {dim}; set latent.dim")
        if not 0 <= decay < 1 or not 0 <= revive < 1:
            raise AeframeError(f"a codebook needs decay and revive in [0, 1), found {decay} and {revive}")
        if cosine and update == "gradient":
            raise AeframeError("a codebook has no distance=cosine with update=gradient; set update=ema")
        self.decay, self.revive, self.cosine, self.learned = decay, revive, cosine, update == "gradient"
        self.updated = revive > 0 or not self.learned
        bound = math.sqrt(6 / (size * dim))
        table = self._normalized(torch.empty(size, dim).uniform_(-bound, bound))
        if self.learned:
            self.table = nn.Parameter(table)
        else:
            self.register_buffer("table", table)
        self.register_buffer("cluster_size", torch.ones(size))
        self.register_buffer("cluster_sum", table.clone())
        self.register_buffer("draws", torch.randint(2**31, ()))

    @property
    def vectors(self) -> Tensor:
        table: Tensor = self.table
        return table

    @torch.no_grad()
    def place(self, observed: Tensor) -> None:
        """Place the codes by k-means, started at vectors of the batch."""
        with autocast_disabled(observed.device):
            order = self._random_order(len(observed))
            means = observed[order[torch.arange(self.size, device=order.device) % len(order)]]
            for _ in range(_KMEANS_ITERATIONS):
                sizes, sums = self._clusters(observed, _nearest(observed, means))
                updated = self._normalized(sums / sizes.clamp(min=1).unsqueeze(1))
                means = torch.where((sizes > 0).unsqueeze(1), updated, means)
            self.table.copy_(means)
            self.cluster_size.copy_(sizes)
            self.cluster_sum.copy_(means * sizes.unsqueeze(1))

    @torch.no_grad()
    def ema_update(self, observed: Tensor, codes: Tensor, counted: Tensor | None = None) -> None:
        """Move the averages, and the codes with them; then revive dead codes."""
        with autocast_disabled(observed.device):
            if counted is None:
                counted = torch.ones_like(codes, dtype=torch.bool)
            sizes, sums = self._clusters(observed, codes, counted)
            num = sizes.sum()
            # A batch of which no vector counts changes nothing.
            rate = (1 - self.decay) * (num > 0).to(num.dtype)
            self.cluster_size.lerp_(sizes, rate)
            self.cluster_sum.lerp_(sums, rate)
            if not self.learned:
                total = self.cluster_size.sum()
                smoothed = (self.cluster_size + _SMOOTHING) * total / (total + self.size * _SMOOTHING)
                means = self._normalized(self.cluster_sum / smoothed.unsqueeze(1))
                self.table.copy_(torch.where(num > 0, means, self.table))
            if self.revive:
                self._revive(observed, counted, num)

    def _revive(self, observed: Tensor, counted: Tensor, num: Tensor) -> None:
        """Move dead codes to vectors of the batch, each to another; where vectors are few, as many codes as those."""
        # A share of an even use, so that the size of a batch does not decide which codes are dead.
        threshold = self.revive * num / self.size
        slots = self._random_order(self.size, first=self.cluster_size < threshold)[: len(observed)]
        rows = self._random_order(len(observed), first=counted)[: self.size]
        revived = (self.cluster_size[slots] < threshold) & (torch.arange(len(slots), device=num.device) < num)
        source = observed[rows]
        for buffer, value in (
            (self.table, source),
            (self.cluster_sum, threshold * source),
            (self.cluster_size, threshold.expand(len(slots))),
        ):
            chosen = revived.reshape(-1, *[1] * (buffer.ndim - 1))
            buffer.index_copy_(0, slots, torch.where(chosen, value, buffer[slots]))

    def _clusters(self, observed: Tensor, codes: Tensor, counted: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return ``(K,)`` how many of the vectors chose each code, and ``(K, D)`` their sums."""
        chosen = codes.unsqueeze(1) == torch.arange(self.size, device=codes.device)
        # A product of matrices, since sums by index are not repeatable on a GPU.
        one_hot = (chosen if counted is None else chosen & counted.unsqueeze(1)).to(observed.dtype)
        return one_hot.sum(0), one_hot.T @ observed

    def _normalized(self, vectors: Tensor) -> Tensor:
        return nn.functional.normalize(vectors, dim=-1) if self.cosine else vectors

    def _random_order(self, num: int, *, first: Tensor | None = None) -> Tensor:
        """Return a random permutation ``(num,)``, with the positions where `first` is True before the others."""
        self.draws += 1
        keys = _hashed(torch.arange(num, device=self.draws.device) ^ _hashed(self.draws))
        return (keys if first is None else torch.where(first, keys, keys + _32_BITS + 1)).argsort(stable=True)


def _nearest(vectors: Tensor, table: Tensor) -> Tensor:
    # |v - c|^2 without |v|^2, which is the same for every code.
    distances = table.square().sum(1) - 2.0 * vectors @ table.T
    return distances.argmin(-1)


def _hashed(numbers: Tensor) -> Tensor:
    """Return whole numbers in [0, 2^32) that look random: the low 32 bits, mixed.

    The mixing is a bijection of 32 bits from github.com/skeeto/hash-prospector. Its factors are below 2^31, so that
    no product leaves 63 bits and every device returns the same.
    """
    mixed = numbers & _32_BITS
    mixed = (mixed ^ (mixed >> 16)) * 0x21F0AAAD & _32_BITS
    mixed = (mixed ^ (mixed >> 15)) * 0x735A2D97 & _32_BITS
    return mixed ^ (mixed >> 15)
