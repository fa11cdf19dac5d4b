"""Quantised latents: a code is one of finitely many vectors at each position.

Shapes: B samples, D numbers of a code vector, N vectors of a whole batch, ``positions`` those of the features.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Literal

import torch
import torch.distributed as dist
from loguru import logger
from torch import Tensor, nn
from vector_quantize_pytorch import FSQ, VectorQuantize
from vector_quantize_pytorch.vector_quantize_pytorch import rotate_to

from aeframe.batch import Latent, Shape, per_sample
from aeframe.errors import AeframeError
from aeframe.noise import seed_noise
from aeframe.parts.latents.base import Head, LatentSpace
from aeframe.parts.schedules import Schedule, fixed

# Its one message is that k-means began with fewer vectors than codes; revival fills such codes in the same step.
logger.disable("vector_quantize_pytorch")


class Tokens(nn.Module):
    """The last linear step before a quantiser: features ``(B, C, *positions)`` -> ``(B, *positions, D)``.

    Each position gives one vector; flat features ``(B, C)`` give `tokens` of them. The vectors come last, and in
    float32 at least: near-by codes differ by less than half precision shows.
    """

    def __init__(self, who: str, feature_shape: Shape, dim: int, tokens: int) -> None:
        super().__init__()
        if dim < 1 or tokens < 1:
            raise AeframeError(f"{who} needs dim and tokens of at least 1, found {dim} and {tokens}")
        positions = feature_shape[1:] or (tokens,)
        self.flat = len(feature_shape) == 1
        self.head = Head(feature_shape, tokens * dim if self.flat else dim, spatial=not self.flat)
        self.shape: Shape = (dim, *positions)

    def forward(self, features: Tensor) -> Tensor:
        projected: Tensor = self.head(features)
        vectors = (projected.unflatten(1, self.shape) if self.flat else projected).movedim(1, -1)
        return vectors.to(torch.promote_types(vectors.dtype, torch.float32))


class VectorQuantized(LatentSpace):
    """Replace each vector by the nearest of a learned codebook (van den Oord et al. 2017, arXiv 1711.00937).

    z is ``(dim, *positions)``, or ``(dim, tokens)`` of flat features. Terms, summed over the sample's own elements:
    ``commitment`` ||features - sg(code)||^2 and, where gradients learn the codebook, ``codebook``
    ||sg(features) - code||^2. The codebook changes in training mode only. With several processes every one sees all
    the vectors and makes the same change.

    Args:
        feature_shape: ``(C, *positions)``.
        codebook_size: How many vectors there are to choose from.
        dim: Numbers of one vector.
        tokens: Vectors for each sample when the features are flat.
        update: ``ema`` moves a code to the mean of what chose it (appendix A.1 of the paper); ``gradient`` learns it
            as a parameter.
        decay: Of the averages behind ``ema`` and `revive`, for each batch.
        commitment: Weight of the commitment term; a number or a schedule.
        kmeans_init: The first training batch places the codebook by k-means.
        revive: A code that is chosen less often than this share of an even use is moved to one of the batch's
            vectors (Dhariwal et al. 2020, arXiv 2005.00341); 0 leaves dead codes dead.
        rotation_trick: The gradient is rotated and scaled with the vector instead of copied straight through
            (Fifty et al. 2024, arXiv 2410.06424).
        distance: ``cosine`` brings vectors and codes to length 1 first (Yu et al. 2022, arXiv 2110.04627).
    """

    gives = frozenset({"codes"})

    def __init__(
        self,
        feature_shape: Shape,
        *,
        codebook_size: int = 512,
        dim: int = 64,
        tokens: int = 8,
        update: Literal["ema", "gradient"] = "ema",
        decay: float = 0.99,
        commitment: Schedule = fixed(0.25),
        kmeans_init: bool = True,
        revive: float = 0.1,
        rotation_trick: bool = False,
        distance: Literal["euclidean", "cosine"] = "euclidean",
    ) -> None:
        super().__init__()
        if codebook_size < 2:
            raise AeframeError(f"latent vq needs a codebook_size of at least 2, found {codebook_size}")
        if not 0 <= decay < 1 or not 0 <= revive < 1:
            raise AeframeError(f"latent vq needs decay and revive in [0, 1), found {decay} and {revive}")
        if distance == "cosine" and update == "gradient":
            raise AeframeError("latent vq has no distance=cosine with update=gradient; set update=ema")
        self.tokens = Tokens("latent vq", feature_shape, dim, tokens)
        self.shape = self.tokens.shape
        self.weights["commitment"] = commitment
        self.num_codes = codebook_size
        self.update, self.revive, self.cosine = update, revive, distance == "cosine"
        self.rotation_trick = rotation_trick
        # Only its codebook's life is used (averages, k-means, revival). Terms are ours, by sample; and so is the
        # look-up, since its own would run the k-means on the first batch it is shown, in evaluation too.
        self.quantizer = VectorQuantize(
            dim,
            codebook_size,
            decay=decay,
            commitment_weight=0.0,
            ema_update=update == "ema",
            learnable_codebook=update == "gradient",
            threshold_ema_dead_code=revive,
            use_cosine_sim=self.cosine,
            rotation_trick=False,
            # It would ask whether there are several processes here and now, before any were joined.
            sync_codebook=False,
        )
        if kmeans_init:
            self.quantizer._codebook.initted.fill_(False)
        self.register_buffer("draws", torch.randint(2**48, ()))

    @property
    def codebook(self) -> Tensor:
        """The vectors ``(codebook_size, dim)``."""
        vectors: Tensor = self.quantizer.codebook
        return vectors

    def forward(self, features: Tensor, *, sample: bool, num_samples: int | None = None) -> Latent:
        vectors = self.tokens(features)
        if self.cosine:
            vectors = nn.functional.normalize(vectors, dim=-1)
        # Without gradients somebody only looks (a second player, the first pass of a recomputed layer).
        learn = self.training and torch.is_grad_enabled() and not vectors.is_meta
        every = _of_all_processes(vectors.detach().flatten(0, -2)) if learn else None
        if every is not None:
            self._place(every)
        codes = self._nearest(vectors.detach())
        quantized = nn.functional.embedding(codes, self.codebook)
        terms = {"commitment": per_sample((vectors - quantized.detach()).square())}
        if self.update == "gradient":
            terms["codebook"] = per_sample((vectors.detach() - quantized).square())
        if every is not None:
            self._learn(every, codes.flatten())
        z = _passed_on(vectors, quantized.detach(), rotate=self.rotation_trick and self.training).movedim(-1, 1)
        return Latent(
            z if num_samples is None else z.expand(num_samples, *z.shape), z, codes=codes.unsqueeze(-1), terms=terms
        )

    def from_codes(self, codes: Tensor) -> Tensor:
        return nn.functional.embedding(codes[..., 0], self.codebook).movedim(-1, 1)

    @torch.no_grad()
    def _nearest(self, vectors: Tensor) -> Tensor:
        """Return ``(...)``: the code nearest to each of the vectors ``(..., D)``."""
        codebook = self.codebook
        with _full_precision(vectors.device):
            # |v - c|^2 without |v|^2, which is the same for every code.
            distances = codebook.square().sum(1) - 2.0 * vectors @ codebook.T
        return distances.argmin(-1)

    @torch.no_grad()
    def _place(self, every: Tensor) -> None:
        """Place the codebook by k-means on the vectors ``(N, D)`` of all processes, once in its life."""
        book = self.quantizer._codebook
        if not book.initted:
            with self._same_draws(every.device), _full_precision(every.device):
                book.init_embed_(every[None])

    @torch.no_grad()
    def _learn(self, every: Tensor, codes: Tensor) -> None:
        """Let the codebook follow the vectors ``(N, D)`` of all processes, and revive the codes few of them chose.

        `codes` are those of this process's vectors.
        """
        if len(codes) < len(every):
            codes = self._nearest(every)
        book = self.quantizer._codebook
        # A share of an even use, so that a batch's size does not decide which codes are dead.
        book.threshold_ema_dead_code = book.reset_cluster_size = self.revive * len(every) / self.num_codes
        with self._same_draws(every.device), _full_precision(every.device):
            book.train()
            book.update_indices(every[None], codes[None])

    @contextmanager
    def _same_draws(self, device: torch.device) -> Iterator[None]:
        """Draw inside what every process draws alike, and what a resumed run draws again."""
        draws: Tensor = self.draws  # type: ignore[assignment]
        draws += 1
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            seed_noise(device, int(draws))
            yield


class FiniteScalarQuantized(LatentSpace):
    """Bound each number of a vector and round it to one of a few levels (Mentzer et al. 2023, arXiv 2309.15505).

    z is ``(len(levels), *positions)``, or ``(len(levels), tokens)`` of flat features, with values in [-1, 1]. There is
    no codebook to learn, and there are no terms. The gradient goes straight through the rounding.

    Args:
        feature_shape: ``(C, *positions)``.
        levels: How many values each number can take, at least 3; their product is the number of codes. The paper
            advises (8, 6, 5), (8, 5, 5, 5), (7, 5, 5, 5, 5) and (8, 8, 8, 6, 5) for 2^8, 2^10, 2^12 and 2^14.
        tokens: Vectors for each sample when the features are flat.
    """

    gives = frozenset({"codes"})

    def __init__(self, feature_shape: Shape, *, levels: tuple[int, ...] = (8, 5, 5, 5), tokens: int = 8) -> None:
        super().__init__()
        if not levels or any(level < 3 for level in levels):
            raise AeframeError(f"latent fsq needs levels of at least 3, found {list(levels)}")
        self.tokens = Tokens("latent fsq", feature_shape, len(levels), tokens)
        self.shape = self.tokens.shape
        self.num_codes = math.prod(levels)
        # Its indices are asked for below: with them it would hold a table of every code there is.
        self.quantizer = FSQ(levels, return_indices=False)

    def forward(self, features: Tensor, *, sample: bool, num_samples: int | None = None) -> Latent:
        rounded = self.quantizer.quantize(self.tokens(features))
        codes = self.quantizer.codes_to_indices(rounded.detach()).long().unsqueeze(-1)
        # `rounded` is off the grid by the last bit; what a code says is on it.
        z = _passed_on(rounded.movedim(-1, 1), self.from_codes(codes), rotate=False)
        return Latent(z if num_samples is None else z.expand(num_samples, *z.shape), z, codes=codes)

    def from_codes(self, codes: Tensor) -> Tensor:
        rows: Tensor = self.quantizer.indices_to_codes(codes.reshape(1, -1))
        return rows.reshape(*codes.shape[:-1], -1).movedim(-1, 1).to(self.tokens.head.linear.weight.dtype)


def _passed_on(vectors: Tensor, quantized: Tensor, *, rotate: bool) -> Tensor:
    """Return the value of `quantized` with a gradient to `vectors`: copied, or rotated and scaled like the vector."""
    if rotate:
        rotated: Tensor = rotate_to(vectors, quantized)
        return rotated
    # Not v + (q - v): rounding would move z away from its code.
    return quantized + (vectors - vectors.detach())


def _full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Switch autocast off inside; the meta device has none."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


def _of_all_processes(vectors: Tensor) -> Tensor:
    """Return the vectors ``(N, D)`` of every process, in the order of their ranks; numbers of them may differ."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return vectors
    world = dist.get_world_size()
    counts = [torch.zeros((), dtype=torch.long, device=vectors.device) for _ in range(world)]
    dist.all_gather(counts, torch.tensor(len(vectors), device=vectors.device))
    longest = max(int(count) for count in counts)
    padded = vectors.new_zeros(longest, vectors.shape[1])
    padded[: len(vectors)] = vectors
    gathered = [torch.empty_like(padded) for _ in range(world)]
    dist.all_gather(gathered, padded)
    return torch.cat([rows[: int(count)] for rows, count in zip(gathered, counts, strict=True)])
