"""A likelihood of several views of a sample at once."""

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
    """One loss for each view of the data, over its own part of x; their sum is the joint likelihood, in nats.

    So the RNA and the proteins of a cell share one code (totalVI: Gayoso et al. 2021, Nature Methods 18). Data without
    views are one, named ``x``.

    Args:
        shape: Of a sample, all views along its first axis.
        spec: Says which views there are.
        losses: ``{view: name}``, or ``{view: {name: ..., options}}``; negative_binomial of counts and gaussian with one
            learned variance elsewhere, where nothing is said. The library of the data is that of the first view.
        weights: ``{view: number}``: how much a view counts; 1 where nothing is said.
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
                    f"loss views is told of a view '{name}'{did_you_mean(name, views)}; "
                    f"the data have {', '.join(views)}"
                )
        self.ndim = len(shape)
        self.parts = nn.ModuleDict()
        self.weights = [float((weights or {}).get(name, 1.0)) for name in views]
        self.sizes = [size for size, _ in views.values()]
        for name, (size, domain) in views.items():
            plain = "negative_binomial" if domain.kind == "count" else {"name": "gaussian", "variance": "shared"}
            config = (losses or {}).get(name, plain)
            kind = registry().load("loss", config if isinstance(config, str) else config.get("name", ""))
            if domain.kind not in kind.domains:
                raise AeframeError(
                    f"loss views: the loss of view '{name}' is for data that are {' or '.join(sorted(kind.domains))}, "
                    f"but this view is {domain}; set loss.losses.{name}"
                )
            inner = (size, *shape[1:])
            part = replace(spec, shape=inner, domain=domain, views={})
            self.parts[name] = build("loss", config, shape=inner, domain=domain, spec=part)
        self.num_outputs = max(part.num_outputs for part in self._losses())
        # What a loss reads may be more than what it asks the decoder for.
        condition = torch.zeros(1, spec.condition) if spec.condition else None
        self.read = [
            part.postprocess(torch.zeros(1, part.num_outputs, size, *shape[1:]), None, condition).shape[1]
            for part, size in zip(self._losses(), self.sizes, strict=True)
        ]

    def postprocess(self, output: Tensor, batch: Batch | None, condition: Tensor | None = None) -> Tensor:
        made, start = [], 0
        for number, (part, size) in enumerate(zip(self._losses(), self.sizes, strict=True)):
            like = None
            if batch is not None:
                extras = {k: v for k, v in batch.extras.items() if number == 0 or k != "library"}
                # What the mask hides is 0 here, so that the mask need not be cut up.
                x = batch.masked_x()[:, start : start + size]
                like = replace(batch, x=x, mask=None, extras=extras)
            own = output[:, : part.num_outputs, start : start + size]
            whole = part.postprocess(own, like, condition)
            made.append(nn.functional.pad(whole, (0, 0) * self.ndim + (0, max(self.read) - whole.shape[1])))
            start += size
        return torch.cat(made, 2)

    def elements(self, output: Tensor, x: Tensor) -> Tensor:
        values = x.split(self.sizes, x.ndim - self.ndim)
        by_view = [
            weight * part.elements(own, value)
            for part, own, value, weight in zip(self._losses(), self._cut(output), values, self.weights, strict=True)
        ]
        return torch.cat(by_view, -self.ndim)

    def mean(self, output: Tensor) -> Tensor:
        return self._each(output, lambda part, own: part.mean(own))

    def sample(self, output: Tensor) -> Tensor:
        return self._each(output, lambda part, own: part.sample(own))

    def _each(self, output: Tensor, make: Callable[[Loss, Tensor], Tensor]) -> Tensor:
        parts = zip(self._losses(), self._cut(at_least_float32(output)), strict=True)
        return torch.cat([make(part, own) for part, own in parts], -self.ndim)

    def _cut(self, output: Tensor) -> list[Tensor]:
        """Return each view's own share of what `postprocess` gave."""
        cut = output.split(self.sizes, -self.ndim)
        return [own.narrow(-1 - self.ndim, 0, read) for own, read in zip(cut, self.read, strict=True)]

    def _losses(self) -> list[Loss]:
        return [part for part in self.parts.values() if isinstance(part, Loss)]
