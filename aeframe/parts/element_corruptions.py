"""Corruptions of single elements of x, such as the cells of a table: hide them, or exchange them between samples.

Shapes: B samples; D elements of a flattened sample; G groups of elements that belong together
(`Domain.element_groups`), such as those of one column of a table; N samples in the batch of all devices.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from aeframe.devices import gather_rows_with_gradient
from aeframe.errors import AeframeError
from aeframe.parts.corruptions import Corruption
from aeframe.tensors import broadcast_mask
from aeframe.types import Batch, Domain, Shape


class _ElementCorruption(Corruption):
    """Choose each group of elements with a probability, independently of the others.

    Arguments are those of the subclasses, and `who`: the name of the corruption, for error messages.
    """

    by_position = True
    group: Tensor | None
    """``(D,)``: the number of the group of each element; None if each is a group of its own."""

    def __init__(self, who: str, shape: Shape, domain: Domain, amount: float) -> None:
        super().__init__()
        if not 0 <= amount <= 1:
            raise AeframeError(f"corruption {who} needs amount in [0, 1], found {amount}")
        self.amount = amount
        self.num_groups = len(domain.element_groups)
        self.register_buffer("group", domain.group_numbers(shape) if self.num_groups else None, persistent=False)

    def uniform(self, x: Tensor) -> Tensor:
        """Return uniform random numbers ``(B, G)``."""
        # Samples without groups may be shorter than `shape`.
        return torch.rand(x.shape[0], self.num_groups or x[0].numel(), device=x.device)

    def of_elements(self, values: Tensor, x: Tensor) -> Tensor:
        """Return a value of each group ``(B, G)`` as one of each element, ``(B, *shape)``."""
        return (values if self.group is None else values.index_select(1, self.group)).reshape(x.shape)


class ElementMasking(_ElementCorruption):
    """Hide random elements; in a table whole cells, that is all elements of a column together.

    The encoder's input has `value` there, its mask is False, and the loss compares them.
    ``extras["hidden"] (B, *shape)`` is True at hidden elements: ``objective.counts=hidden`` compares those only.

    Args:
        shape: Shape of one sample.
        domain: The set of values that x can take.
        amount: The probability with which an element is hidden.
        value: Value of x at hidden elements.
        in_evaluation: Whether validation and test samples are masked too.
    """

    domains = Corruption.domains | {"category", "mixed"}
    hides = True

    def __init__(
        self, shape: Shape, domain: Domain, *, amount: float = 0.3, value: float = 0.0, in_evaluation: bool = False
    ) -> None:
        super().__init__("elements", shape, domain, amount)
        self.value, self.in_evaluation = value, in_evaluation

    def forward(self, batch: Batch) -> Batch:
        x = batch.x
        hidden = self.of_elements(self.uniform(x) < self.amount, x)
        mask = ~hidden if batch.mask is None else broadcast_mask(batch.mask, x.ndim) & ~hidden
        extras = {**batch.extras, "hidden": hidden}
        return replace(batch, x=x.masked_fill(hidden, self.value), mask=mask, extras=extras)


class SwapNoise(_ElementCorruption):
    """Replace random elements by the same elements of other samples of the batch; in a table, whole cells of columns.

    Each element keeps its distribution, and loses only its relation to the others: the noise of VIME (Yoon, Zhang,
    Jordon & van der Schaar 2020, NeurIPS) and of denoising autoencoders for tables. Each is replaced with
    probability `amount`, by that of another sample, uniformly drawn. Missing elements are exchanged like values.

    The samples are those of the batch of all devices.

    Args:
        shape: Shape of one sample.
        domain: The set of values that x can take.
        amount: The probability with which an element is replaced.
    """

    # Without simplex: elements of several samples do not sum to one.
    domains = frozenset({"real", "unit", "signed", "binary", "count", "category", "mixed"})
    compares_samples = True

    def __init__(self, shape: Shape, domain: Domain, *, amount: float = 0.15) -> None:
        super().__init__("swap_noise", shape, domain, amount)

    def forward(self, batch: Batch) -> Batch:
        x = batch.x
        everyone, own = gather_rows_with_gradient(x.detach())
        num = len(everyone)
        is_swapped = self.uniform(x) < self.amount
        # Another sample: 1 to N - 1 further on, and from the last one on to the first.
        step = 1 + (self.uniform(x) * (num - 1)).long().clamp(max=max(0, num - 2))
        start = own.start or 0
        position = torch.arange(start, start + len(x), device=x.device).unsqueeze(1)
        source = self.of_elements((position + step) % num, x)
        swapped = self.of_elements(is_swapped, x)
        mask = batch.mask
        if mask is not None:
            # As numbers, since not all backends of torch.distributed gather truth values.
            masks = gather_rows_with_gradient(mask.to(torch.uint8))[0].bool()
            valid = broadcast_mask(masks, x.ndim).expand(num, *x.shape[1:]).gather(0, source)
            if mask.shape == x.shape:
                mask = torch.where(swapped, valid, mask)
            else:
                # The mask is that of padding, whose length is kept.
                swapped = swapped & valid & broadcast_mask(mask, x.ndim)
        return replace(batch, x=torch.where(swapped, everyone.gather(0, source), x), mask=mask)


__all__ = ["ElementMasking", "SwapNoise"]
