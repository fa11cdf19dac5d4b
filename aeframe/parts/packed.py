"""`Packing`: elements of different widths in one vector, for data of domain ``mixed``.

Shapes: B samples; D elements; a real element takes one number of the vector and one of n classes n numbers, W in all;
``...``: any dimensions that come before, such as importance samples.
"""

from __future__ import annotations

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
        packed = x.new_zeros(x.shape[0], self.size).index_copy(1, self.real_position, x[:, self.real])
        ones = x.new_ones(x.shape[0], len(self.start)) if mask is None else mask[:, self.discrete].to(x.dtype)
        return packed.scatter(1, self.start + x[:, self.discrete].long(), ones)

    def cross_entropy(self, packed: Tensor, x: Tensor) -> Tensor:
        """Return -log p ``(..., B, C)`` of the classes in x ``(B, D)``, in nats; `packed` ``(..., B, W)`` has logits.

        p is the softmax over the classes of each element.
        """
        logits = packed[..., self.class_position]
        largest = self._largest(logits.detach())
        exponentials = (logits - largest[..., self.segment]).exp()
        total = packed.new_zeros(largest.shape).index_add(-1, self.segment, exponentials)
        position = (self.start + x[:, self.discrete].long()).expand(largest.shape)
        return largest + total.log() - packed.gather(-1, position)

    def most_probable(self, packed: Tensor) -> Tensor:
        """Return the class ``(..., C)`` with the largest logit of each element, the first of equal ones."""
        logits = packed[..., self.class_position]
        largest = self._largest(logits)
        # Positions of smaller logits are replaced by a number that is no class.
        number = torch.where(logits < largest[..., self.segment], len(self.segment), self.class_number)
        classes = number.new_full(largest.shape, len(self.segment))
        return classes.scatter_reduce(-1, self.segment.expand(number.shape), number, "amin")

    def unpacked(self, real: Tensor, classes: Tensor) -> Tensor:
        """Return real numbers ``(..., R)`` and classes ``(..., C)`` as elements ``(..., D)``."""
        elements = real.new_zeros(*real.shape[:-1], len(self.real) + len(self.discrete))
        return elements.index_copy(-1, self.real, real).index_copy(-1, self.discrete, classes.to(real.dtype))

    def _largest(self, logits: Tensor) -> Tensor:
        """Return the largest logit of each element, ``(..., P)`` -> ``(..., C)``."""
        lowest = logits.new_full((*logits.shape[:-1], len(self.start)), -torch.inf)
        return lowest.scatter_reduce(-1, self.segment.expand(logits.shape), logits, "amax")
