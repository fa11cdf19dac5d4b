"""The spectral penalty: how much layers can stretch."""

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
    """The sum of the largest singular values of weights (Yoshida & Miyato 2017, arXiv 1705.10941, who square them;
    Vahdat & Kautz 2020, arXiv 2007.03898, who do not, and are followed).

    Counted are dense and convolutional layers. A convolution's weight is the matrix of its outputs by inputs and
    kernel, whose largest singular value bounds the convolution's own up to the size of the kernel. Each sample is
    given the same number. It is found by power iteration from a fixed start, so that nothing need be kept from one
    step to the next: an estimate from below, by a few percent where many singular values are near the largest.

    Args:
        weight: A number or a schedule.
        of: Whose weights; ``all`` are those of encoder, latent and decoder.
        iterations: Of the power iteration.
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
        parts = {"encoder": [model.encoder], "decoder": [model.decoder]}
        # Matrices of one shape are iterated together: deep networks have many.
        by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
        for part in parts.get(self.of, [model.encoder, cast("nn.Module", model.latent), model.decoder]):
            for layer in part.modules():
                if isinstance(layer, _LAYERS):
                    weight: Tensor = layer.weight
                    matrix = (weight.transpose(0, 1) if isinstance(layer, _TRANSPOSED) else weight).flatten(1)
                    by_shape[matrix.shape].append(matrix)
        norms = [largest_singular_values(torch.stack(same), self.iterations).sum() for same in by_shape.values()]
        return torch.stack(norms).sum().expand(len(out.batch))


def largest_singular_values(matrices: Tensor, iterations: int) -> Tensor:
    """Return ``(N,)``: the estimates for ``(N, rows, columns)``, from below, with a gradient."""
    matrices = at_least_float32(matrices)
    # Signs and sizes in no order that weights could be orthogonal to, and the same on each call.
    start = torch.arange(1, matrices.shape[2] + 1, dtype=matrices.dtype, device=matrices.device).square().sin()
    right = start[None, :, None].expand(len(matrices), -1, -1)
    with autocast_disabled(matrices.device):
        for _ in range(iterations):
            right = nn.functional.normalize(matrices.detach().mT @ (matrices.detach() @ right), dim=1)
        return torch.linalg.vector_norm(matrices @ right, dim=(1, 2))
