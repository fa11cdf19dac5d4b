"""The spectral penalty: the largest singular values of the layers' weights."""

from __future__ import annotations

from collections import defaultdict
from typing import Literal, cast

import torch
from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.parts.penalties.base import Penalty
from aeframe.parts.schedules import Schedule, fixed
from aeframe.tensors import at_least_float32, autocast_disabled
from aeframe.types import ForwardOutput, Model

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, *_TRANSPOSED)


class Spectral(Penalty):
    """The sum over dense and convolutional layers of the weight's largest singular value (Vahdat & Kautz 2020,
    arXiv 2007.03898; Yoshida & Miyato 2017, arXiv 1705.10941, square it).

    A convolution's weight is taken as a matrix (output channels, input channels * kernel size). Its largest singular
    value bounds that of the convolution up to a factor from the kernel's size. Every sample has the same value.

    The singular value is estimated by power iteration from a fixed vector, so there is no state from step to step. The
    estimate is too low, by a few percent where many singular values are near the largest.

    Args:
        weight: Weight of the sum; a number or a schedule.
        of: The network whose layers are penalised; ``all`` are encoder, latent and decoder.
        iterations: Number of power iterations.
    """

    def __init__(
        self,
        *,
        weight: Schedule = fixed(1e-2),
        of: Literal["encoder", "decoder", "all"] = "all",
        iterations: int = 20,
    ) -> None:
        super().__init__()
        if iterations < 1:
            raise AeframeError(f"penalty spectral needs iterations of at least 1, found {iterations}")
        self.weight, self.of, self.iterations = weight, of, iterations

    def forward(self, model: Model, out: ForwardOutput) -> Tensor:
        networks = {"encoder": [model.encoder], "decoder": [model.decoder]}
        # Matrices of the same shape are stacked: deep networks have many of them.
        by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
        for network in networks.get(self.of, [model.encoder, cast("nn.Module", model.latent), model.decoder]):
            for layer in network.modules():
                if isinstance(layer, _LAYERS):
                    weight: Tensor = layer.weight
                    matrix = (weight.transpose(0, 1) if isinstance(layer, _TRANSPOSED) else weight).flatten(1)
                    by_shape[matrix.shape].append(matrix)
        norms = [
            largest_singular_values(torch.stack(matrices), self.iterations).sum() for matrices in by_shape.values()
        ]
        return torch.stack(norms).sum().expand(len(out.batch))


def largest_singular_values(matrices: Tensor, iterations: int) -> Tensor:
    """Return ``(N,)``: lower estimates of the largest singular values of ``(N, rows, columns)``, differentiable."""
    matrices = at_least_float32(matrices)
    # Power iteration fails from a vector orthogonal to the singular vector; one of irregular values is unlikely to be.
    start = torch.arange(1, matrices.shape[2] + 1, dtype=matrices.dtype, device=matrices.device).square().sin()
    right = start[None, :, None].expand(len(matrices), -1, -1)
    with autocast_disabled(matrices.device):
        for _ in range(iterations):
            right = nn.functional.normalize(matrices.detach().mT @ (matrices.detach() @ right), dim=1)
        return torch.linalg.vector_norm(matrices @ right, dim=(1, 2))
