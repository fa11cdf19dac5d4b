"""Lookup-free quantisation: the code is the signs of a vector.

Shapes: B samples, D bits of a code, ``positions`` those of the features.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Bernoulli

from aeframe.devices import mean_over_batch
from aeframe.errors import AeframeError
from aeframe.parts.latents.quantized.base import Quantized
from aeframe.parts.latents.quantized.codebook import Codebook
from aeframe.parts.schedules import Schedule, fixed
from aeframe.tensors import autocast_disabled, per_sample
from aeframe.types import Shape

# Metrics of code usage allocate one number for each of the 2^dim codes.
_MAX_BITS = 20


class Signs(Codebook):
    """The corners of a hypercube: coordinate i of a code is 1 where bit i of its number is set, else -1."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim, self.size = dim, 2**dim

    def nearest(self, vectors: Tensor) -> Tensor:
        # A product, since ONNX shifts no signed integers.
        return ((vectors > 0).long() * 2 ** torch.arange(self.dim, device=vectors.device)).sum(-1)

    def forward(self, codes: Tensor) -> Tensor:
        return corners(codes, self.dim)


class LookupFree(Quantized):
    """Take the signs of a vector as its code, without a codebook (MAGVIT-v2: Yu et al. 2023, arXiv 2310.05737).

    z is ``(dim, *positions)``, or ``(dim, tokens)`` of flat features, with values -1 and 1; the gradient is copied
    straight through. The loss terms are in nats, summed over the sample's positions. They assign a vector v a soft
    distribution of codes, ``p(c|v) ~ exp(-||v - c||^2 / temperature)``, in which bits are independent:

    - ``entropy``: the entropy of p(c|v), low when the encoder is certain of the code;
    - ``diversity``: KL(mean || uniform) = ``dim`` log 2 - H(mean), where H is the entropy and the mean of p(c|v) is
      over the batch and its positions, in training of all devices. The paper maximises H(mean), which is equivalent up
      to a constant. This term compares the samples of a batch;
    - ``commitment``: ||v - sg(code)||^2, where sg stops the gradient.

    Args:
        feature_shape: ``(C, *positions)``.
        dim: Number of bits of a code: there are 2^dim codes.
        tokens: Number of codes of each sample when the features are flat.
        entropy: Weight of the entropy; a number or a schedule.
        diversity: Weight of the diversity; a number or a schedule.
        commitment: Weight of the commitment; a number or a schedule.
        temperature: Temperature of p(c|v). At 1, v = 1 sets its bit with probability 0.98. The paper states none.
            Implementations often use 0.01, at which in single precision only vectors close to a sign change have a
            gradient.
        joint_bits: Compute H(mean) on this many bits at a time, as the paper factorises it for large `dim`. Each group
            of bits costs 2^joint_bits numbers per position.
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
        if not 1 <= dim <= _MAX_BITS or joint_bits < 1 or temperature <= 0:
            raise AeframeError(
                f"latent lfq needs dim from 1 to {_MAX_BITS}, joint_bits of at least 1 and a temperature above 0, "
                f"found {dim}, {joint_bits} and {temperature}"
            )
        super().__init__(feature_shape, dim, tokens, [Signs(dim)])
        self.weights |= {"commitment": commitment, "entropy": entropy, "diversity": diversity}
        self.temperature, self.joint_bits = temperature, joint_bits

    def terms(self, residual: Tensor, quantized: Tensor) -> dict[str, Tensor]:
        terms = super().terms(residual, quantized)
        # The squared distances to the two values of a bit differ by (v + 1)^2 - (v - 1)^2 = 4 v.
        bits = Bernoulli(logits=4.0 * residual / self.temperature, validate_args=False)
        return terms | {"entropy": per_sample(bits.entropy()), "diversity": self._diversity(residual)}

    def _diversity(self, vectors: Tensor) -> Tensor:
        """Return the KL of the mean code distribution to uniform, times the number of positions ``(B,)``, all equal."""
        total = vectors.new_zeros(())
        with autocast_disabled(vectors.device):
            for bits in vectors.flatten(0, -2).split(self.joint_bits, -1):
                num = bits.shape[1]
                codes = corners(torch.arange(2**num, device=bits.device), num).to(bits.dtype)
                usage = (2.0 * bits @ codes.T / self.temperature).softmax(-1).mean(0)
                # The mean over devices, with this device's gradient: DDP averages the gradients.
                usage = usage + (mean_over_batch(usage) - usage.detach())
                # Clamped, so that a code of probability 0 has no infinite gradient.
                total = total + num * math.log(2) + (usage * usage.clamp(min=torch.finfo(usage.dtype).tiny).log()).sum()
        return (math.prod(self.shape[1:]) * total).expand(vectors.shape[0])


def corners(codes: Tensor, dim: int) -> Tensor:
    """Return vectors ``(..., dim)`` of -1 and 1 whose signs are the bits of the codes ``(...)``, lowest bit first."""
    return 2.0 * ((codes.unsqueeze(-1) // 2 ** torch.arange(dim, device=codes.device)) % 2) - 1.0
