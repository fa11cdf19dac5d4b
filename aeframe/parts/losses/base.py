"""What every loss is: a likelihood or a distance that owns its heads."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from aeframe.parts.activations import ActivationTraits, MakeActivation
from aeframe.tensors import at_least_float32, broadcast_mask, per_sample
from aeframe.types import Batch


class Loss(nn.Module):
    """A comparison of the decoder's output with x, by sample.

    `domains` are the kinds of data it is meant for (see `Domain`). `num_outputs` is how many numbers it asks the
    decoder for at each element of x: 1 for a mean, 2 for a mean and a variance, n for n classes. `output_range`
    bounds the values of `mean`, for the checks. `unit` names what it is measured in.
    """

    domains: ClassVar[frozenset[str]]
    unit: ClassVar[str] = "nats"
    num_outputs: int = 1

    @property
    def output_range(self) -> ActivationTraits:
        """The values that `mean` can take."""
        return ActivationTraits()

    def forward(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the loss of each sample, summed over its own elements where the mask counts them.

        Args:
            output: ``(B, num_outputs, *shape)`` gives ``(B,)``; ``(K, B, num_outputs, *shape)`` gives ``(K, B)``.
            batch: The clean x ``(B, *shape)`` and its mask.
        """
        lead = output.ndim - batch.x.ndim
        if batch.mask is None:
            return per_sample(self.elements(at_least_float32(output), batch.x), lead)
        mask = broadcast_mask(batch.mask, batch.x.ndim)
        # Not a product: what is masked may be NaN or infinite. And x is filled before the comparison too, as the
        # gradient of a NaN is NaN whatever becomes of it; 0 is a value of every domain.
        elements = self.elements(at_least_float32(output), batch.x.masked_fill(~mask, 0))
        return per_sample(torch.where(mask, elements, 0.0), lead)

    def postprocess(self, output: Tensor, batch: Batch | None, condition: Tensor | None = None) -> Tensor:
        """Return the decoder's output with what it takes from the sample beside z, such as a cell's library size.

        Same shape, or with more outputs; `batch` is None where something new is decoded, `condition` ``(B, C)`` what
        the decoder was given. Everything else here reads what this returns.
        """
        return output

    def elements(self, output: Tensor, x: Tensor) -> Tensor:
        """Return the loss of each element: output ``(..., B, num_outputs, *shape)`` -> ``(..., B, *shape)``."""
        raise NotImplementedError

    def masked_x_and_reconstruction(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return x ``(B, *shape)`` and its reconstruction ``(..., B, *shape)``, both 0 where the mask hides them."""
        x, x_hat = batch.masked_x(), self.mean(at_least_float32(output))
        return x, x_hat if batch.mask is None else x_hat.masked_fill(~broadcast_mask(batch.mask, x.ndim), 0)

    def flat_x_and_reconstruction(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return what `visible` gives, flat: x ``(B, N)`` and its reconstruction ``(..., B, N)``.

        For a loss of whole samples (an angle, a correlation), which replaces `forward` and not `elements`.
        """
        x, x_hat = self.masked_x_and_reconstruction(output, batch)
        return x.flatten(1), x_hat.flatten(x_hat.ndim - x.ndim + 1)

    def mean(self, output: Tensor) -> Tensor:
        """Return the reconstruction ``(..., B, *shape)`` in the data's own values."""
        raise NotImplementedError

    def sample(self, output: Tensor) -> Tensor:
        """Draw x ``(..., B, *shape)``; a distance has no noise, so it gives the mean."""
        return self.mean(output)


class BoundedMean(Loss):
    """A loss whose first output is the reconstruction, after an `activation` that bounds it; null is the identity."""

    def __init__(self, ndim: int, activation: str | None) -> None:
        super().__init__()
        self.ndim = ndim
        maker = MakeActivation.named(activation or "identity")
        self._range = maker.traits
        self.activation = maker()

    @property
    def output_range(self) -> ActivationTraits:
        return self._range

    def mean(self, output: Tensor) -> Tensor:
        mean: Tensor = self.activation(heads(at_least_float32(output), self.ndim)[0])
        return mean


class Likelihood(Loss):
    """A loss that is -log p(x | z): the loss, the mean and a draw all come from one distribution."""

    def distribution(self, output: Tensor) -> Distribution:
        """Return p(x | z) with batch shape ``(..., B, *shape)``."""
        raise NotImplementedError

    def elements(self, output: Tensor, x: Tensor) -> Tensor:
        return -self.distribution(output).log_prob(x.to(output.dtype))

    def mean(self, output: Tensor) -> Tensor:
        mean: Tensor = self.distribution(at_least_float32(output)).mean
        return mean

    def sample(self, output: Tensor) -> Tensor:
        draw: Tensor = self.distribution(at_least_float32(output)).sample()
        return draw


def heads(output: Tensor, spec_ndim: int) -> tuple[Tensor, ...]:
    """Split ``(..., outputs, *shape)`` into one ``(..., *shape)`` for each output; `spec_ndim` is len(shape)."""
    dim = -1 - spec_ndim
    # One head is a view; sending a gradient back through unbind would copy it.
    return (output.squeeze(dim),) if output.shape[dim] == 1 else output.unbind(dim)
