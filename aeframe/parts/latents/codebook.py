"""What a quantiser looks up: vectors with numbers, and how a codebook of them is learned.

Shapes: D numbers of a code vector, N vectors of a whole batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
import vector_quantize_pytorch.vector_quantize_pytorch as vq
from loguru import logger
from torch import Tensor, nn

from aeframe.batch import full_precision
from aeframe.devices import num_devices, rows_of_all_devices
from aeframe.errors import AeframeError
from aeframe.noise import seed_noise

# Its one message is that k-means began with fewer vectors than codes; revival fills such codes in the same step.
logger.disable("vector_quantize_pytorch")


class Book(nn.Module):
    """Vectors ``(D,)`` with the numbers 0 to `size` - 1; each level of a quantiser looks them up in one."""

    size: int
    learned: bool = False
    """Whether a gradient reaches the vectors."""
    follows: bool = False
    """Whether it is moved by the vectors it is shown in training (`place` and `follow`)."""

    def nearest(self, vectors: Tensor) -> Tensor:
        """Return ``(...)``: the number that each of the vectors ``(..., D)`` is given."""
        raise NotImplementedError

    def forward(self, codes: Tensor) -> Tensor:
        """Return the vectors ``(..., D)`` of numbers ``(...)``."""
        raise NotImplementedError

    def place(self, every: Tensor) -> None:
        """Place the vectors by the first ``(N, D)`` that it is shown, before they are looked up."""

    def follow(self, every: Tensor, codes: Tensor) -> None:
        """Follow the vectors ``(N, D)`` of all processes, once they were looked up; `codes` are this process's."""


class Table(Book):
    """A book that writes its vectors out, so that the nearest can be found."""

    @property
    def vectors(self) -> Tensor:
        """All of them, ``(size, D)``."""
        raise NotImplementedError

    @torch.no_grad()
    def nearest(self, vectors: Tensor) -> Tensor:
        with full_precision(vectors.device):
            table = self.vectors
            # |v - c|^2 without |v|^2, which is the same for every code.
            distances = table.square().sum(1) - 2.0 * vectors @ table.T
        return distances.argmin(-1)

    def forward(self, codes: Tensor) -> Tensor:
        with full_precision(codes.device):
            return nn.functional.embedding(codes, self.vectors)


class Codebook(Table):
    """Vectors that are learned by gradients, or by averages of what chose them; see `VectorQuantized` for both.

    They change in training only. With several processes every one sees all the vectors and makes the same change.
    """

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
        super().__init__()
        if size < 2:
            raise AeframeError(f"a codebook needs at least 2 codes, found {size}; set latent.codebook_size")
        if dim < 1:
            raise AeframeError(f"a codebook needs dim of at least 1, found {dim}; set latent.dim")
        if not 0 <= decay < 1 or not 0 <= revive < 1:
            raise AeframeError(f"a codebook needs decay and revive in [0, 1), found {decay} and {revive}")
        if cosine and update == "gradient":
            raise AeframeError("a codebook has no distance=cosine with update=gradient; set update=ema")
        self.size, self.revive, self.learned = size, revive, update == "gradient"
        self.follows = kmeans_init or revive > 0 or not self.learned
        # Only its life is the library's (averages, k-means, revival). The look-up is ours, since its own would run the
        # k-means on the first batch it is shown, in evaluation too.
        self.life = vq.Codebook(
            dim,
            size,
            decay=decay,
            ema_update=not self.learned,
            learnable_codebook=self.learned,
            threshold_ema_dead_code=revive,
            use_cosine_sim=cosine,
        )
        if kmeans_init:
            self.life.initted.fill_(False)
        self.register_buffer("draws", torch.randint(2**48, ()))

    @property
    def vectors(self) -> Tensor:
        table: Tensor = self.life.embed[0]
        return table

    @torch.no_grad()
    def place(self, every: Tensor) -> None:
        """Place the codebook by k-means, once in its life."""
        if not self.life.initted:
            with self._same_draws(every.device), full_precision(every.device):
                self.life.init_embed_(every[None])

    @torch.no_grad()
    def follow(self, every: Tensor, codes: Tensor) -> None:
        """Let the codebook follow, and revive the codes that few of the vectors chose."""
        if len(codes) < len(every):
            codes = self.nearest(every)
        # A share of an even use, so that a batch's size does not decide which codes are dead.
        self.life.threshold_ema_dead_code = self.life.reset_cluster_size = self.revive * len(every) / self.size
        with self._same_draws(every.device), full_precision(every.device):
            self.life.train()
            self.life.update_indices(every[None], codes[None])

    @contextmanager
    def _same_draws(self, device: torch.device) -> Iterator[None]:
        """Draw inside what every process draws alike, and what a resumed run draws again."""
        draws: Tensor = self.draws  # type: ignore[assignment]
        draws += 1
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            seed_noise(device, int(draws))
            yield


def of_all_processes(vectors: Tensor) -> Tensor:
    """Return the vectors ``(N, D)`` of every process, in the order of their ranks; numbers of them may differ."""
    if num_devices() == 1:
        return vectors
    counts = rows_of_all_devices(torch.tensor([len(vectors)], device=vectors.device)).tolist()
    longest = max(counts)
    padded = rows_of_all_devices(nn.functional.pad(vectors, (0, 0, 0, longest - len(vectors))))
    shares = padded.reshape(len(counts), longest, vectors.shape[1])
    return torch.cat([share[:count] for share, count in zip(shares, counts, strict=True)])
