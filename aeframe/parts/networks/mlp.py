"""Encoder and decoder of dense layers, for flattened samples.

Shapes: B samples; ``outputs``: the number of parameters of the likelihood for each element of x.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.parts.activations import MakeActivation
from aeframe.parts.corruptions import Corruption
from aeframe.parts.networks.base import Decoder, Encoder
from aeframe.parts.packed import Packing
from aeframe.tensors import broadcast_mask
from aeframe.types import Batch, Domain, Shape


def dense_layers(sizes: list[int], activation: MakeActivation | None, *, norm: bool, dropout: float) -> nn.Sequential:
    """Return Linear, optional LayerNorm, activation and optional Dropout between consecutive sizes.

    The activation may set the initial weights of the layer before it, see `MakeActivation.begin`.
    """
    make = (activation or MakeActivation.named("relu")).same_shape("mlp")
    modules: list[nn.Module] = []
    for number, (size_in, size_out) in enumerate(itertools.pairwise(sizes)):
        modules.append(make.begin(nn.Linear(size_in, size_out), first=number == 0))
        if norm:
            modules.append(nn.LayerNorm(size_out))
        modules.append(make())
        if dropout:
            modules.append(nn.Dropout(dropout))
    return nn.Sequential(*modules)


class MLPEncoder(Encoder):
    """Dense layers: ``(B, *shape)`` -> ``(B, hidden[-1])``. With ``hidden: []`` it only flattens.

    Integer classes (`Domain` ``category``) become one-hot vectors, also those of ``mixed`` samples. The first layer
    is then an embedding of each class.

    Args:
        shape: Shape of one sample.
        domain: The set of values that x can take.
        corruption: Corruption of the model. If it hides elements of flat samples, the first layer also receives which
            numbers are masked; of those with classes in their group it receives no class.
        hidden: Units of each layer.
        activation: The activation after each layer; null takes the model's activation.
        norm: Whether a layer norm comes before each activation.
        dropout: Fraction of each layer's outputs that is dropped in training.
    """

    marked: Tensor
    """``(E,)``: the indices of the elements for which the first layer receives whether they are masked."""

    def __init__(
        self,
        shape: Shape,
        domain: Domain,
        corruption: Corruption,
        *,
        hidden: tuple[int, ...] = (512, 256),
        activation: MakeActivation | None = None,
        norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if any(size < 1 for size in hidden):
            raise AeframeError(f"encoder mlp needs hidden sizes of at least 1, found {list(hidden)}")
        self.classes = domain.classes
        self.packing = Packing(domain.element_classes) if domain.kind == "mixed" else None
        size = math.prod(shape) * (domain.classes or 1) if self.packing is None else self.packing.size
        marked = _without_classes(domain, shape) if corruption.hides and len(shape) == 1 else []
        self.register_buffer("marked", torch.tensor(marked, dtype=torch.int64), persistent=False)
        size += len(marked)
        self.layers = dense_layers([size, *hidden], activation, norm=norm, dropout=dropout)
        self.out_shape = (hidden[-1] if hidden else size,)
        self._mirrored_decoder = {
            "name": "mlp",
            "hidden": tuple(reversed(hidden)),
            "activation": activation,
            "norm": norm,
            "dropout": dropout,
        }

    def forward(self, batch: Batch) -> Tensor:
        x = batch.masked_x()
        if self.packing is not None:
            x = self.packing.one_hot(x, batch.mask)
        elif self.classes is not None:
            x = nn.functional.one_hot(x.long(), self.classes)
            x = x if batch.mask is None else x * broadcast_mask(batch.mask, x.ndim)
        # Without layers there are no parameters: x keeps its precision, and integers become float32.
        like = next(self.parameters(), x if x.is_floating_point() else x.float())
        features: Tensor = self.layers(self._with_marks(x.flatten(1).to(like.dtype), batch.mask))
        return features

    def _with_marks(self, flat: Tensor, mask: Tensor | None) -> Tensor:
        """Return flat samples ``(B, W)`` with one number for each marked element: 1 where it is masked, else 0."""
        num = self.marked.shape[0]
        if not num:
            return flat
        if mask is None:
            return torch.cat([flat, flat.new_zeros(flat.shape[0], num)], 1)
        return torch.cat([flat, (~mask.index_select(1, self.marked)).to(flat.dtype)], 1)

    def mirrored_decoder_config(self) -> dict[str, Any]:
        return self._mirrored_decoder


def _without_classes(domain: Domain, shape: Shape) -> list[int]:
    """Return the indices of the elements of flat samples in whose group no element has classes."""
    if domain.kind != "mixed":
        return [] if domain.has_classes else list(range(*shape))
    groups = domain.group_numbers(shape).tolist()
    with_classes = {group for group, classes in zip(groups, domain.element_classes, strict=True) if classes}
    return [index for index, group in enumerate(groups) if group not in with_classes]


class MLPDecoder(Decoder):
    """Dense layers: ``(B, *z_shape)`` -> ``(B, outputs, *shape)``. The last layer has no activation.

    Args:
        z_shape: Shape of one z, which is flattened.
        out_shape: Shape ``(outputs, *shape)`` of one output.
        hidden: Units of each layer but the last.
        activation: The activation after each layer but the last; null takes the model's activation.
        norm: Whether a layer norm comes before each activation.
        dropout: Fraction of each hidden layer's outputs that is dropped in training.
    """

    def __init__(
        self,
        z_shape: Shape,
        out_shape: Shape,
        *,
        hidden: tuple[int, ...] = (256, 512),
        activation: MakeActivation | None = None,
        norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        sizes = [math.prod(z_shape), *hidden]
        self.layers = dense_layers(sizes, activation, norm=norm, dropout=dropout)
        self.last = nn.Linear(sizes[-1], math.prod(out_shape))
        self.out_shape = out_shape

    def forward(self, z: Tensor, batch: Batch | None = None) -> Tensor:
        output: Tensor = self.last(self.layers(z.flatten(1)))
        return output.unflatten(1, self.out_shape)
