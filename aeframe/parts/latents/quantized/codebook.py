"""Codebooks: the numbered code vectors of a quantiser, and how training batches update them.

Shapes: D dimensions of a code vector, K codes of a codebook, N vectors of a batch on all devices.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.parts.schedules import Schedule
from aeframe.tensors import autocast_disabled

_KMEANS_ITERATIONS = 10
# Laplace smoothing of the cluster sizes, so that an empty cluster is not divided by zero.
_SMOOTHING = 1e-5
_32_BITS = 0xFFFFFFFF


class Codebook(nn.Module):
    """Code vectors ``(D,)`` numbered from 0 to `size` - 1."""

    size: int
    learned: bool = False
    """Whether a gradient reaches the vectors."""
    updated: bool = False
    """Whether `ema_update` changes the vectors."""
    is_initialized: bool = True
    """Whether the vectors can be used in training; otherwise `initialize` must be called first."""

    def nearest(self, vectors: Tensor) -> Tensor:
        """Return the code ``(...)`` nearest to each of the vectors ``(..., D)``."""
        raise NotImplementedError

    def forward(self, codes: Tensor) -> Tensor:
        """Return the vectors ``(..., D)`` of codes ``(...)``."""
        raise NotImplementedError

    def initialize(self, observed: Tensor) -> None:
        """Set the code vectors from the first training vectors ``(N, D)``, N > 0; by default does nothing."""

    def ema_update(self, observed: Tensor, codes: Tensor, counted: Tensor | None = None) -> None:
        """Update the code vectors after a training batch was quantised; by default does nothing.

        Args:
            observed: ``(N, D)``, the vectors of all devices.
            codes: ``(N,)``, the code assigned to each.
            counted: ``(N,)`` bool, the vectors to use; None for all of them.
        """


class Table(Codebook):
    """A codebook that stores all its vectors and finds the nearest by comparing all of them."""

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
    """A table whose vectors can be initialised from the first training batch.

    The buffer `initialized` is part of the state. Its value is copied to the host once after construction or loading,
    so that a training step does not wait for the device.
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
            self.set_vectors(observed)
            self.initialized.fill_(True)
            self._initialized_on_host = True

    def set_vectors(self, observed: Tensor) -> None:
        """Set the code vectors from training vectors ``(N, D)``, N > 0."""
        raise NotImplementedError


def _forget_host_copy(table: DataInitializedTable, _: object) -> None:
    table._initialized_on_host = None


@dataclass(frozen=True, slots=True)
class CodebookOptions:
    """The options that latents vq, rvq and vq_hierarchy have in common; vq.py documents each of them."""

    codebook_size: int
    dim: int
    tokens: int
    update: Literal["ema", "gradient"]
    decay: float
    commitment: Schedule
    kmeans_init: bool
    revive: float
    rotation_trick: bool
    distance: Literal["euclidean", "cosine"] = "euclidean"


class LearnedCodebook(DataInitializedTable):
    """Code vectors learned by gradients, or by exponential moving averages (EMA) of the vectors assigned to them.

    The averages are those of van den Oord et al. 2017 (arXiv 1711.00937), appendix A.1: the number of vectors assigned
    to each code, and their sum; the ratio is the code. The k-means initialisation and the replacement of dead codes by
    vectors of the batch follow Zeghidour et al. 2021 (arXiv 2107.03312), section III-C.

    Codes change in training only. With several devices, each gathers the vectors of all and makes the same update.
    All state is in buffers. Random choices are a function of the buffer `draws`, computed on the device: a resumed run
    repeats them, and no step copies a value to the host.
    """

    cluster_size: Tensor
    """``(K,)``: moving average of the number of vectors of a batch assigned to each code."""
    cluster_sum: Tensor
    """``(K, D)``: moving average of the sum of those vectors."""
    draws: Tensor
    """``()``: a random seed, plus the number of permutations drawn since."""

    def __init__(self, options: CodebookOptions) -> None:
        super().__init__(options.codebook_size, initialized=not options.kmeans_init)
        size, dim, decay, revive = options.codebook_size, options.dim, options.decay, options.revive
        if dim < 1:
            raise AeframeError(f"a codebook needs dim of at least 1, found {dim}; set latent.dim")
        if not 0 <= decay < 1 or not 0 <= revive < 1:
            raise AeframeError(f"a codebook needs decay and revive in [0, 1), found {decay} and {revive}")
        self.decay, self.revive = decay, revive
        self.cosine, self.learned = options.distance == "cosine", options.update == "gradient"
        if self.cosine and self.learned:
            raise AeframeError("a codebook has no distance=cosine with update=gradient; set update=ema")
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
    def set_vectors(self, observed: Tensor) -> None:
        """Set the codes by k-means, started at vectors of the batch."""
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
        """Update the moving averages, and with update=ema the codes; then replace dead codes."""
        with autocast_disabled(observed.device):
            if counted is None:
                counted = torch.ones_like(codes, dtype=torch.bool)
            sizes, sums = self._clusters(observed, codes, counted)
            num = sizes.sum()
            # A batch without a counted vector changes nothing.
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
        """Replace dead codes by vectors of the batch, each by a different one; at most as many as there are vectors."""
        # Relative to uniform use, so that the threshold does not depend on the batch size.
        threshold = self.revive * num / self.size
        # Slots are the codes to replace, dead ones first; rows are the vectors to replace them by, counted ones first.
        slots = self._random_order(self.size, first=self.cluster_size < threshold)[: len(observed)]
        rows = self._random_order(len(observed), first=counted)[: self.size]
        revived = (self.cluster_size[slots] < threshold) & (torch.arange(len(slots), device=num.device) < num)
        source = observed[rows]
        for buffer, value in (
            (self.table, source),
            (self.cluster_sum, threshold * source),
            (self.cluster_size, threshold.expand(len(slots))),
        ):
            mask = revived.reshape(-1, *[1] * (buffer.ndim - 1))
            buffer.index_copy_(0, slots, torch.where(mask, value, buffer[slots]))

    def _clusters(self, observed: Tensor, codes: Tensor, counted: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the number of vectors assigned to each code ``(K,)``, and their sums ``(K, D)``."""
        assigned = codes.unsqueeze(1) == torch.arange(self.size, device=codes.device)
        # A matrix product, because sums by index are not deterministic on a GPU.
        one_hot = (assigned if counted is None else assigned & counted.unsqueeze(1)).to(observed.dtype)
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
    """Return pseudo-random integers in [0, 2^32), a hash of the low 32 bits of each number.

    The mixing is a bijection of 32 bits from github.com/skeeto/hash-prospector. Its factors are below 2^31, so that
    no product exceeds 63 bits and every device returns the same.
    """
    mixed = numbers & _32_BITS
    mixed = (mixed ^ (mixed >> 16)) * 0x21F0AAAD & _32_BITS
    mixed = (mixed ^ (mixed >> 15)) * 0x735A2D97 & _32_BITS
    return mixed ^ (mixed >> 15)
