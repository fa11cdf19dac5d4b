"""The loss ``views``: a joint likelihood of several views of a sample.

A view is one kind of measurement, such as RNA or proteins of a cell; x holds the views side by side, in the order of
`DataSpec.views`. A loss has `num_outputs` parameters for each element: ``(B, outputs, *shape)``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from aeframe.errors import AeframeError, did_you_mean
from aeframe.factory import build
from aeframe.parts.losses.base import Loss
from aeframe.registry import registry
from aeframe.tensors import at_least_float32
from aeframe.types import Batch, DataSpec, Shape


class Views(Loss):
    """The weighted sum of one loss for each view, applied to the columns of x that belong to the view, in nats.

    All views, such as RNA and proteins of a cell, are decoded from one code (totalVI: Gayoso et al. 2021, Nature
    Methods 18). Data without views have the single view ``x``.

    Args:
        shape: Shape of one sample, with the views concatenated along the first axis.
        spec: Properties of the data, with the size and domain of each view.
        losses: ``{view: name}``, or ``{view: {name: ..., options}}``. By default, ``negative_binomial`` for counts, and
            ``gaussian`` with a single learned variance for other views. ``extras["library"]`` is used for the first
            view only.
        weights: ``{view: weight}``; by default 1.

    Raises:
        AeframeError: An unknown view, or a loss for data of another domain.
    """

    domains = frozenset({"real"})

    def __init__(
        self,
        shape: Shape,
        spec: DataSpec,
        *,
        losses: Mapping[str, Any] | None = None,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        views = spec.views or {"x": (shape[0], spec.domain)}
        for name in [*(losses or {}), *(weights or {})]:
            if name not in views:
                raise AeframeError(
                    f"loss views has options for an unknown view '{name}'{did_you_mean(name, views)}; the views of the "
                    f"data are {', '.join(views)}"
                )
        self.ndim = len(shape)
        self.parts = nn.ModuleDict()
        self.weights = [float((weights or {}).get(name, 1.0)) for name in views]
        self.sizes = [size for size, _ in views.values()]
        for name, (size, domain) in views.items():
            default = "negative_binomial" if domain.kind == "count" else {"name": "gaussian", "variance": "shared"}
            config = (losses or {}).get(name, default)
            loss_class = registry().load("loss", config if isinstance(config, str) else config.get("name", ""))
            if domain.kind not in loss_class.domains:
                raise AeframeError(
                    f"loss views: the loss of view '{name}' is for data that are "
                    f"{' or '.join(sorted(loss_class.domains))}, but this view is {domain}; set loss.losses.{name}"
                )
            view_shape = (size, *shape[1:])
            view_spec = replace(spec, shape=view_shape, domain=domain, views={})
            self.parts[name] = build("loss", config, shape=view_shape, domain=domain, spec=view_spec)
        self.num_outputs = max(loss.num_outputs for loss in self._losses())
        # `postprocess` may add parameters, such as a learned variance, to those that the decoder returns. Their total
        # number is found with a dummy output.
        condition = torch.zeros(1, spec.condition) if spec.condition else None
        self.num_completed = [
            loss.postprocess(torch.zeros(1, loss.num_outputs, size, *shape[1:]), None, condition).shape[1]
            for loss, size in zip(self._losses(), self.sizes, strict=True)
        ]

    def postprocess(self, output: Tensor, batch: Batch | None, condition: Tensor | None = None) -> Tensor:
        completed, start = [], 0
        for number, (loss, size) in enumerate(zip(self._losses(), self.sizes, strict=True)):
            view_batch = None
            if batch is not None:
                extras = {name: v for name, v in batch.extras.items() if number == 0 or name != "library"}
                # Masked values are set to 0, so the mask is not needed.
                x = batch.masked_x()[:, start : start + size]
                view_batch = replace(batch, x=x, mask=None, extras=extras)
            parameters = loss.postprocess(output[:, : loss.num_outputs, start : start + size], view_batch, condition)
            # Padded to the largest number of parameters, so that the views can be concatenated.
            padding = max(self.num_completed) - parameters.shape[1]
            completed.append(nn.functional.pad(parameters, (0, 0) * self.ndim + (0, padding)))
            start += size
        return torch.cat(completed, 2)

    def elements(self, output: Tensor, x: Tensor) -> Tensor:
        values = x.split(self.sizes, x.ndim - self.ndim)
        by_view = [
            weight * loss.elements(parameters, value)
            for loss, parameters, value, weight in zip(
                self._losses(), self._split(output), values, self.weights, strict=True
            )
        ]
        return torch.cat(by_view, -self.ndim)

    @property
    def can_draw(self) -> bool:
        return any(loss.can_draw for loss in self._losses())

    def mean(self, output: Tensor) -> Tensor:
        return self._map_views(output, lambda loss, parameters: loss.mean(parameters))

    def sample(self, output: Tensor) -> Tensor:
        return self._map_views(output, lambda loss, parameters: loss.sample(parameters))

    def _map_views(self, output: Tensor, function: Callable[[Loss, Tensor], Tensor]) -> Tensor:
        """Apply a function to the loss and the parameters of each view, and concatenate the results."""
        views = zip(self._losses(), self._split(at_least_float32(output)), strict=True)
        return torch.cat([function(loss, parameters) for loss, parameters in views], -self.ndim)

    def _split(self, output: Tensor) -> list[Tensor]:
        """Return the parameters of each view from the value of `postprocess`, without padding."""
        views = output.split(self.sizes, -self.ndim)
        return [view.narrow(-1 - self.ndim, 0, num) for view, num in zip(views, self.num_completed, strict=True)]

    def _losses(self) -> list[Loss]:
        return [loss for loss in self.parts.values() if isinstance(loss, Loss)]
