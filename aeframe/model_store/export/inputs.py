"""Random valid inputs of exported functions, with which they are traced and compared with the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from aeframe.model_store.export.functions import ExportedFunction
from aeframe.model_store.trained_model import TrainedModel
from aeframe.types import Batch, Domain, Shape

Inputs = dict[str, Any]
"""Tensors ``(B, ...)`` by argument, and ``extras``, a mapping of them."""


@dataclass(frozen=True)
class RandomInputs:
    """Makes random inputs of the functions of a model.

    Values of x cover the domain, not the distribution, of the data. A condition is numbers in [0, 1], a mask is False
    for a fifth of the elements, extras are positive numbers.
    """

    model: TrainedModel

    @property
    def mask_shape(self) -> Shape | None:
        """The shape of the mask of one sample; None for a model of complete samples."""
        return self.model.modality.mask_shape(self.model.spec)

    @property
    def length_axis(self) -> int | None:
        """The axis of a sample along which samples may be shorter, the last one that the mask has; None without one."""
        return None if self.mask_shape is None else len(self.mask_shape) - 1

    def make(self, name: str, num: int, seed: int, *, length: int | None = None) -> Inputs:
        """Return inputs of the function `name` for `num` samples.

        Args:
            name: One of `aeframe.model_store.export.functions.FUNCTIONS`.
            num: The number of samples.
            seed: The seed of the random numbers.
            length: The size of x along `length_axis`; None for the size in training.
        """
        spec, generator = self.model.spec, torch.Generator().manual_seed(seed)
        x = self._x(num, generator)
        inputs: Inputs = {"x": x}
        if self.mask_shape is not None:
            mask = torch.rand(num, *self.mask_shape, generator=generator) < 0.8
            # No sample is without observed elements.
            mask.view(num, -1)[:, 0] = True
            inputs["mask"] = mask
        if length is not None and self.length_axis is not None:
            inputs = {key: value.narrow(self.length_axis + 1, 0, length) for key, value in inputs.items()}
        if spec.condition:
            inputs["condition"] = torch.rand(num, spec.condition, generator=generator)
        extras = {key: 1 + torch.rand(num, *shape, generator=generator) for key, shape in spec.extras.items()}
        if name == "decode":
            batch = Batch(x, mask=inputs.get("mask"), condition=inputs.get("condition"), extras=extras)
            with torch.no_grad():
                z = self.model.model.embed(batch).mean
            return {"z": z, **({"condition": inputs["condition"]} if spec.condition else {})}
        return {**inputs, "extras": extras} if extras else inputs

    def used(self, function: ExportedFunction, inputs: Inputs) -> set[str]:
        """Return the names of the extras whose values change the results of a function."""
        with torch.no_grad():
            expected = function(**inputs)
            return {
                key
                for key, value in inputs.get("extras", {}).items()
                if any(
                    not torch.equal(result, other)
                    for result, other in zip(
                        expected, function(**{**inputs, "extras": {**inputs["extras"], key: 2 * value}}), strict=True
                    )
                )
            }

    def _x(self, num: int, generator: torch.Generator) -> Tensor:
        spec = self.model.spec
        if not spec.views:
            return _values(spec.domain, (num, *spec.shape), generator, self.model.data.value_range)
        # The views of a sample lie one after another along its first axis.
        return torch.cat(
            [_values(domain, (num, size, *spec.shape[1:]), generator) for size, domain in spec.views.values()], 1
        )


def only(inputs: Inputs, extras: set[str]) -> Inputs:
    """Return inputs without the extras that are not in `extras`."""
    kept = {key: value for key, value in inputs.get("extras", {}).items() if key in extras}
    rest = {key: value for key, value in inputs.items() if key != "extras"}
    return {**rest, "extras": kept} if kept else rest


def flat_inputs(inputs: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """Yield name and tensor of each input, with those of ``extras`` by their own names."""
    for name, value in inputs.items():
        if isinstance(value, Mapping):
            yield from value.items()
        else:
            yield name, value


def _values(
    domain: Domain, shape: Shape, generator: torch.Generator, value_range: tuple[float, float] | None = None
) -> Tensor:
    """Return random values of a domain; of real numbers normal ones, within the range of the training data."""
    uniform = torch.rand(shape, generator=generator)
    normal = torch.randn(shape, generator=generator)
    if value_range is not None and domain.kind == "real":
        low, high = value_range
        inside = (normal >= low) & (normal <= high)
        normal = torch.where(inside, normal, low + (high - low) * uniform)
    return domain.values(uniform, normal)
