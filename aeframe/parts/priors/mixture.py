"""The learned mixture of Gaussians as a prior."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from aeframe.errors import AeframeError
from aeframe.parts.priors.base import Prior
from aeframe.tensors import per_sample
from aeframe.types import Shape


class Mixture(Prior):
    """A learned mixture of `components` diagonal Gaussians (Dilokthanakul et al. 2016, arXiv 1611.02648).

    Means are initialised to normal samples of standard deviation `spread`, so that the components differ.
    """

    def __init__(self, z_shape: Shape, *, components: int = 10, spread: float = 1.0) -> None:
        super().__init__()
        if components < 1:
            raise AeframeError(f"prior mixture needs components >= 1, found {components}")
        self.z_shape = z_shape
        self.means = nn.Parameter(spread * torch.randn(components, *z_shape))
        self.log_scales = nn.Parameter(torch.zeros(components, *z_shape))
        self.logits = nn.Parameter(torch.zeros(components))

    def log_prob(self, z: Tensor) -> Tensor:
        # The number of dimensions before z_shape; the axis of the components is inserted after them.
        lead = z.ndim - len(self.z_shape)
        components = Normal(self.means, self.log_scales.exp(), validate_args=False)
        by_component = components.log_prob(z.unsqueeze(lead))
        return torch.logsumexp(per_sample(by_component, lead + 1) + self.logits.log_softmax(0), dim=-1)

    def sample(self, num: int) -> Tensor:
        component = torch.multinomial(self.logits.softmax(0), num, replacement=True)
        return self.means[component] + self.log_scales.exp()[component] * torch.randn_like(self.means[component])
