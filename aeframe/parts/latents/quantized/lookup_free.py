"""Lookup-free quantisation: a code is the signs of a vector.

Shapes: B samples, D bits of a code, ``positions`` those of the features.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Bernoulli

from aeframe.devices import mean_over_devices
from aeframe.errors import AeframeError
from aeframe.parts.latents.quantized.base import Quantized
from aeframe.parts.latents.quantized.codebook import Codebook
from aeframe.parts.schedules import Schedule, fixed
from aeframe.tensors import autocast_disabled, per_sample
from aeframe.types import Shape

# What counts the use of each code has a number for every one of them.
_MOST_BITS = 20


class Signs(Codebook):
    """The corners of a cube: bit i of a corner's number says whether its coordinate i is 1 or -1."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim, self.size = dim, 2**dim

    def nearest(self, vectors: Tensor) -> Tensor:
        return ((vectors > 0).long() << torch.arange(self.dim, device=vectors.device)).sum(-1)

    def forward(self, codes: Tensor) -> Tensor:
        return corners(codes, self.dim)


class LookupFree(Quantized):
    """Take the signs of a vector as its code, with no codebook (Yu et al. 2023, MAGVIT-v2, arXiv 2310.05737).

    z is ``(dim, *positions)``, or ``(dim, tokens)`` of flat features, of -1 and 1; the gradient goes straight through.
    Terms, in nats and summed over the sample's positions, see a vector v as a distribution of codes,
    ``p(c|v) ~ exp(-||v - c||^2 / temperature)``, in which bits are independent:

    - ``entropy``: of p(c|v), low when the encoder is sure of its code;
    - ``diversity``: how far the mean of p(c|v) over the batch and its positions is from an even use of all codes, as
      KL(mean || even) = ``dim`` log 2 - H(mean). The paper maximises H(mean), which is the same and has its zero
      elsewhere. It compares samples with each other; in training the mean is over all devices;
    - ``commitment``: ||v - sg(code)||^2.

    Args:
        feature_shape: ``(C, *positions)``.
        dim: Bits of a code: there are 2^dim codes.
        tokens: Codes for each sample when the features are flat.
        entropy: Weight of the entropy; a number or a schedule.
        diversity: Weight of the diversity.
        commitment: Weight of the commitment.
        temperature: Of p(c|v). At 1 a bit whose v is 1 has a chance of 0.98. The paper names none; code for it is often
            run at 0.01, where nothing but vectors close to a change of sign has a gradient in single precision.
        joint_bits: H(mean) is that of so many bits at a time, as the paper's own factorisation is for large `dim`:
            each group of them costs 2^joint_bits numbers at every position.
    """

    batch_terms = frozenset({"diversity"})

    def __init__(
        self,
        feature_shape: Shape,
        *,
        dim: int = 10,
        tokens: int = 8,
        entropy: Schedule = fixed(0.1),
        diversity: Schedule = fixed(1.0),
        commitment: Schedule = fixed(0.25),
        temperature: float = 1.0,
        joint_bits: int = 10,
    ) -> None:
        if not 1 <= dim <= _MOST_BITS or joint_bits < 1 or temperature <= 0:
            raise AeframeError(
                f"latent lfq needs dim from 1 to {_MOST_BITS}, joint_bits of at least 1 and a temperature above 0, "
                f"found {dim}, {joint_bits} and {temperature}"
            )
        super().__init__(feature_shape, dim, tokens, [Signs(dim)])
        self.weights |= {"commitment": commitment, "entropy": entropy, "diversity": diversity}
        self.temperature, self.joint_bits = temperature, joint_bits

    def terms(self, residual: Tensor, quantized: Tensor) -> dict[str, Tensor]:
        found = super().terms(residual, quantized)
        # The two distances of a bit differ by ||v + 1||^2 - ||v - 1||^2 = 4 v.
        bits = Bernoulli(logits=4.0 * residual / self.temperature, validate_args=False)
        return found | {"entropy": per_sample(bits.entropy()), "diversity": self._diversity(residual)}

    def _diversity(self, vectors: Tensor) -> Tensor:
        """Return ``(B,)``: the KL of the mean distribution from the even one at each position, the same for all."""
        total = vectors.new_zeros(())
        with autocast_disabled(vectors.device):
            for bits in vectors.flatten(0, -2).split(self.joint_bits, -1):
                num = bits.shape[1]
                every = corners(torch.arange(2**num, device=bits.device), num).to(bits.dtype)
                use = (2.0 * bits @ every.T / self.temperature).softmax(-1).mean(0)
                if self.training:
                    # The value of all devices with this one's gradient: the gradients are averaged as well.
                    use = use + (mean_over_devices(use) - use.detach())
                # A code that has no chance at all has no slope either.
                total = total + num * math.log(2) + (use * use.clamp(min=torch.finfo(use.dtype).tiny).log()).sum()
        return (math.prod(self.shape[1:]) * total).expand(len(vectors))


def corners(codes: Tensor, dim: int) -> Tensor:
    """Return the vectors ``(..., dim)`` of -1 and 1 whose signs are the bits of numbers ``(...)``, lowest first."""
    return 2.0 * ((codes.unsqueeze(-1) >> torch.arange(dim, device=codes.device)) & 1) - 1.0
