"""The base classes of reconstruction losses: `Loss`, `BoundedMean` and `Likelihood`.

Shapes: B samples; K importance samples of each; `num_outputs` numbers from the decoder for each element of x, the
parameters of the likelihood; ``...``: any dimensions that come before, such as K.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from aeframe.parts.activations import ActivationTraits, MakeActivation
from aeframe.tensors import at_least_float32, broadcast_mask, per_sample
from aeframe.types import Batch, Domain, Shape

_ACTIVATION_OF_DOMAIN = {"unit": "steep_sigmoid", "binary": "steep_sigmoid", "signed": "tanh"}
"""The default activation of a mean by the kind of `Domain`; the identity for all others."""


def head_activation(domain: Domain, activation: str | None) -> str:
    """Return the name of the activation of a mean: `activation`, or for None the default of the domain.

    The default is ``steep_sigmoid`` for ``unit`` and ``binary``, ``tanh`` for ``signed``, ``identity`` for all others.
    Both bounded ones have slope 1 at 0, so that steps near the centre of the range are those of the identity.
    """
    return _ACTIVATION_OF_DOMAIN.get(domain.kind, "identity") if activation is None else activation


class Loss(nn.Module):
    """Compares the decoder's output with x: ``(B, num_outputs, *shape)`` -> ``(B,)``.

    The methods receive the output as `postprocess` returns it.
    """

    domains: ClassVar[frozenset[str]]
    """The kinds of `Domain` the loss is made for."""
    unit: ClassVar[str] = "nats"
    """The unit of the loss, for reports: ``nats`` for a likelihood, otherwise ``distance``, whose unit is that of the
    loss itself. Scores and the summary of a run print it; nothing else depends on it.
    """
    by_position: ClassVar[bool] = True
    """Whether it compares each element of x with the element of the reconstruction at the same position. Such a loss is
    refused for a modality of unordered elements (`DataSpec.unordered`). A loss of sets, such as the Chamfer distance,
    sets False, and must not change with the order of the elements along the first axis.
    """
    any_length: ClassVar[bool] = False
    """Whether the reconstruction may have another number of elements along the first axis than x."""
    draws_samples: ClassVar[bool] = False
    """Whether new samples are drawn from the likelihood unless a caller states otherwise.

    Where elements are classes and numbers that belong together, as in a table, the mean is no typical sample. Only a
    loss with `can_draw` may set it.
    """
    num_outputs: int = 1
    """Numbers the decoder returns for each element of x: 1 for a mean, 2 for mean and variance, n for n classes."""

    @property
    def options_in_use(self) -> Mapping[str, Any]:
        """The values of options whose default depends on the data. The banner prints and a saved model stores them."""
        return MappingProxyType({})

    @property
    def can_draw(self) -> bool:
        """Whether `sample` draws x. It does not for a distance, or where the noise is measured from x itself."""
        return type(self).sample is not Loss.sample

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of the decoder's output for one sample of `shape`: ``(num_outputs, *shape)``.

        A loss whose elements need different numbers of parameters returns ``(1, W)``, with W parameters in all; its
        methods then receive ``(..., B, 1, W)``.
        """
        return (self.num_outputs, *shape)

    @property
    def output_range(self) -> ActivationTraits:
        """The range of `mean`, which is compared with the domain of the data before a run."""
        return ActivationTraits()

    def forward(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the loss of each sample ``(B,)``, or ``(K, B)``, summed over the elements where the mask is True.

        In mixed precision it is called inside of autocast: sums and products of matrices that need float32 belong into
        ``with aeframe.tensors.autocast_disabled(output.device)``, on ``at_least_float32(output)``.

        Args:
            output: ``(B, num_outputs, *shape)``, or ``(K, B, num_outputs, *shape)`` with K importance samples. With
                `any_length`, the first size of shape may differ from that of x.
            batch: The clean x ``(B, *shape)`` and its mask. Masked x may be NaN; `Batch.masked_x` has 0 there.
        """
        # The number of dimensions before the shape of a sample: 1, or 2 with importance samples.
        lead = output.ndim - batch.x.ndim
        if batch.mask is None:
            return per_sample(self.elements(at_least_float32(output), batch.x), lead)
        mask = broadcast_mask(batch.mask, batch.x.ndim)
        # Masked losses may be NaN or infinite, so they are replaced and not multiplied by 0. Masked x are filled with
        # 0, a value of every domain, because a NaN in the comparison has a NaN gradient even where it is replaced.
        elements = self.elements(at_least_float32(output), batch.x.masked_fill(~mask, 0))
        return per_sample(torch.where(mask, elements, 0.0), lead)

    def postprocess(self, output: Tensor, batch: Batch | None, condition: Tensor | None = None) -> Tensor:
        """Combine the decoder's output with quantities of the samples, such as the library size of a cell.

        Args:
            output: ``(B, num_outputs, *shape)`` from the decoder.
            batch: The samples; None when new codes are decoded.
            condition: ``(B, C)``, the C covariates of each sample that the decoder received.

        Returns:
            The output, perhaps with more numbers for each element; all other methods receive this.
        """
        return output

    def elements(self, output: Tensor, x: Tensor) -> Tensor:
        """Return the loss of each element: output ``(..., B, num_outputs, *shape)`` -> ``(..., B, *shape)``."""
        raise NotImplementedError

    def masked_x_and_reconstruction(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return x ``(B, *shape)`` and its reconstruction ``(..., B, *shape)``, both 0 where the mask is False.

        For a loss that does not compare by position, only x: the mask does not apply to the reconstruction.
        """
        x, x_hat = batch.masked_x(), self.mean(at_least_float32(output))
        return x, x_hat if batch.mask is None or not self.by_position else x_hat.masked_fill(
            ~broadcast_mask(batch.mask, x.ndim), 0
        )

    def flat_x_and_reconstruction(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return masked x ``(B, N)`` and reconstruction ``(..., B, N)``, flattened to N numbers.

        For losses that are not sums over elements, such as an angle; they override `forward` instead of `elements`.
        """
        x, x_hat = self.masked_x_and_reconstruction(output, batch)
        return x.flatten(1), x_hat.flatten(x_hat.ndim - x.ndim + 1)

    def mean(self, output: Tensor) -> Tensor:
        """Return the reconstruction ``(..., B, *shape)``, in the units of x."""
        raise NotImplementedError

    def sample(self, output: Tensor) -> Tensor:
        """Draw x ``(..., B, *shape)`` from the likelihood; without `can_draw`, return the mean."""
        return self.mean(output)


class BoundedMean(Loss):
    """A loss whose reconstruction is the first of the decoder's outputs after an activation.

    Args:
        ndim: Number of dimensions of one sample.
        domain: The set of values that x can take.
        activation: Name of the activation; None takes the default of the domain, see `head_activation`.
    """

    def __init__(self, ndim: int, domain: Domain, activation: str | None) -> None:
        super().__init__()
        self.ndim = ndim
        self.activation_name = head_activation(domain, activation)
        make_activation = MakeActivation.named(self.activation_name)
        self._range = make_activation.traits
        self.activation = make_activation()

    @property
    def options_in_use(self) -> Mapping[str, Any]:
        return {"activation": self.activation_name}

    @property
    def output_range(self) -> ActivationTraits:
        return self._range

    def mean(self, output: Tensor) -> Tensor:
        mean: Tensor = self.activation(split_outputs(at_least_float32(output), self.ndim)[0])
        return mean


class Likelihood(Loss):
    """The loss -log p(x | z). Loss, mean and samples come from `distribution`."""

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


def split_outputs(output: Tensor, ndim: int) -> tuple[Tensor, ...]:
    """Split ``(..., n, *shape)`` into the n outputs ``(..., *shape)``; `ndim` is the number of dimensions of shape."""
    dim = -1 - ndim
    # squeeze returns a view; the backward pass of unbind would copy the gradient.
    return (output.squeeze(dim),) if output.shape[dim] == 1 else output.unbind(dim)
