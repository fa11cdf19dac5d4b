"""`Packing`: elements of different widths in one vector, for data of domain ``mixed``.

Shapes: B samples; D elements; a real element takes one number of the vector and one of n classes n numbers, W in all;
``...``: any dimensions that come before, such as importance samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Packing(nn.Module):
    """The positions of D elements in a vector of W numbers, in the order of the elements.

    All methods compute on the elements together: nothing loops over them, and nothing is padded to the widest.

    Args:
        element_classes: The number of classes of each element, 0 for a real number (`Domain.element_classes`).
    """

    real: Tensor
    """``(R,)``: the indices of the real elements."""
    real_position: Tensor
    """``(R,)``: their positions in the vector."""
    discrete: Tensor
    """``(C,)``: the indices of the elements with classes."""
    start: Tensor
    """``(C,)``: the position of class 0 of each of them."""
    class_position: Tensor
    """``(P,)``: the positions of all classes of all elements."""
    segment: Tensor
    """``(P,)``: which of the C elements each of them belongs to."""
    class_number: Tensor
    """``(P,)``: which class of the element it is."""

    def __init__(self, element_classes: Sequence[int]) -> None:
        super().__init__()
        classes = torch.tensor(element_classes)
        widths = classes.clamp(min=1)
        starts = widths.cumsum(0) - widths
        self.size = int(widths.sum())
        """W."""
        is_real = classes == 0
        counts = classes[~is_real]
        segment = torch.repeat_interleave(torch.arange(len(counts)), counts)
        class_number = torch.arange(len(segment)) - (counts.cumsum(0) - counts)[segment]
        buffers = {
            "real": is_real.nonzero()[:, 0],
            "real_position": starts[is_real],
            "discrete": (~is_real).nonzero()[:, 0],
            "start": starts[~is_real],
            "class_position": starts[~is_real][segment] + class_number,
            "segment": segment,
            "class_number": class_number,
        }
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer, persistent=False)

    def one_hot(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return x ``(B, D)`` as ``(B, W)``: real numbers as they are, classes one-hot, zeros where the mask is False.

        Args:
            x: Finite values.
            mask: ``(B, D)``; where it is False, x is 0.
        """
        # len(x) would be a constant of an exported program.
        num = x.shape[0]
        packed = x.new_zeros(num, self.size).index_copy(1, self.real_position, x.index_select(1, self.real))
        ones = x.new_ones(num, len(self.start)) if mask is None else mask.index_select(1, self.discrete).to(x.dtype)
        return packed.scatter(1, self.start + x.index_select(1, self.discrete).long(), ones)

    def elements(self, packed: Tensor) -> Tensor:
        """Return the elements ``(B, D)`` of vectors ``(B, W)`` of `one_hot`; NaN for classes that were masked."""
        elements = packed.new_empty(packed.shape[0], len(self.real) + len(self.discrete))
        elements = elements.index_copy(1, self.real, packed.index_select(1, self.real_position))
        largest = self._largest(packed.T.index_select(0, self.class_position)).T
        classes = self.most_probable(packed).to(packed.dtype).masked_fill(largest <= 0, torch.nan)
        return elements.index_copy(1, self.discrete, classes)

    def cross_entropy(self, packed: Tensor, x: Tensor) -> Tensor:
        """Return -log p ``(..., B, C)`` of the classes in x ``(B, D)``, in nats; `packed` ``(..., B, W)`` has logits.

        p is the softmax over the classes of each element.
        """
        by_position = self._by_position(packed)
        position = self.start[:, None] + x.index_select(1, self.discrete).T.long()
        # With importance samples x is the same for each of them.
        position = position.repeat(1, math.prod(packed.shape[:-2]))
        return self._by_sample(self._log_total(by_position) - by_position.gather(0, position), packed)

    def log_probabilities(self, packed: Tensor) -> Tensor:
        """Return ``(..., W)`` with log p of each class of each element instead of its logit, and all real numbers."""
        by_position = self._by_position(packed)
        logits = by_position.index_select(0, self.class_position)
        log_p = logits - self._log_total(by_position).index_select(0, self.segment)
        return by_position.index_copy(0, self.class_position, log_p).T.reshape(packed.shape)

    def most_probable(self, packed: Tensor) -> Tensor:
        """Return the class ``(..., C)`` with the largest logit of each element, the first of equal ones."""
        logits = self._by_position(packed).index_select(0, self.class_position)
        largest = self._largest(logits)
        # Positions of smaller logits are replaced by a number that is no class.
        is_smaller = logits < largest.index_select(0, self.segment)
        number = torch.where(is_smaller, len(self.segment), self.class_number[:, None])
        classes = number.new_full(largest.shape, len(self.segment))
        classes = classes.scatter_reduce(0, self.segment[:, None].expand(number.shape), number, "amin")
        return self._by_sample(classes, packed)

    def unpacked(self, real: Tensor, classes: Tensor) -> Tensor:
        """Return real numbers ``(..., R)`` and classes ``(..., C)`` as elements ``(..., D)``."""
        elements = real.new_zeros(*real.shape[:-1], len(self.real) + len(self.discrete))
        return elements.index_copy(-1, self.real, real).index_copy(-1, self.discrete, classes.to(real.dtype))

    # Sums and maxima over the classes of an element are computed on ``(P, M)``, with one row for each class and one
    # column for each of the M samples: torch adds and compares whole rows, several times as fast as single numbers.

    def _by_position(self, packed: Tensor) -> Tensor:
        """Return ``(..., B, W)`` as ``(W, M)``."""
        return packed.reshape(-1, self.size).T.contiguous()

    def _by_sample(self, values: Tensor, packed: Tensor) -> Tensor:
        """Return ``(C, M)`` as ``(..., B, C)``, as many samples as `packed` has."""
        return values.T.reshape(*packed.shape[:-1], len(self.start))

    def _log_total(self, by_position: Tensor) -> Tensor:
        """Return the log of the sum of the exponentials of the logits of each element, ``(W, M)`` -> ``(C, M)``."""
        logits = by_position.index_select(0, self.class_position)
        largest = self._largest(logits.detach())
        exponentials = (logits - largest.index_select(0, self.segment)).exp()
        total = torch.zeros_like(largest).index_add(0, self.segment, exponentials)
        return largest + total.log()

    def _largest(self, logits: Tensor) -> Tensor:
        """Return the largest logit of each element, ``(P, M)`` -> ``(C, M)``."""
        lowest = logits.new_full((len(self.start), logits.shape[1]), -torch.inf)
        return lowest.scatter_reduce(0, self.segment[:, None].expand(logits.shape), logits, "amax")
