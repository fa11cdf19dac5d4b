"""`initialise`: copy weights of another model into a new one, as far as names and shapes fit."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.model.autoencoder import Autoencoder
from aeframe.model.part_names import named_parts, part_of, selected_parts
from aeframe.parts.networks.head import Head
from aeframe.types import Shape

_NUM_LISTED = 3
"""Tensors that the summary lists by name."""
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
"""Layers whose weight is ``(inputs, outputs, ...)``; the weight of others is ``(outputs, inputs, ...)``."""
_MIXED_ROWS = ("latent.", "prior.")
"""Parts whose layers can have rows of several kinds, such as scales and shifts of a flow: only a `Head` is resized."""
_Index = tuple[slice, ...]
_WHOLE: tuple[_Index, _Index] = ((), ())


@dataclass(frozen=True, slots=True)
class Initialisation:
    """What `initialise` did with each tensor of the model and of the source."""

    source: str
    taken: tuple[str, ...]
    """Names of the tensors that were copied whole."""
    resized: tuple[tuple[str, Shape, Shape], ...]
    """Name, shape in the source and shape in the model of the tensors of which the overlap was copied."""
    skipped: tuple[tuple[str, str], ...]
    """Name of each other tensor, and why it was not copied."""
    parts: tuple[str, ...]
    """The parts that received weights."""

    def summary(self) -> str:
        """Return one line: how many tensors were taken, resized and skipped, and the first of their names."""
        resized = [f"{name} {old} -> {new}" for name, old, new in self.resized]
        skipped = [f"{name}: {reason}" for name, reason in self.skipped]
        clauses = [f"took {_counted(len(self.taken))} of '{self.source}' ({', '.join(self.parts)})"]
        clauses += [f"resized {len(names)} ({_first(names)})" for names in [resized] if names]
        clauses += [f"skipped {len(names)} ({_first(names)})" for names in [skipped] if names]
        return f"init {', '.join(clauses)}"

    def text(self) -> str:
        """Return the complete list, a line for each tensor."""
        lines = [
            f"source: {self.source}",
            *(f"taken: {name}" for name in self.taken),
            *(f"resized: {name} {old} -> {new}" for name, old, new in self.resized),
            *(f"skipped: {name}: {reason}" for name, reason in self.skipped),
        ]
        return "\n".join(lines) + "\n"


@torch.no_grad()
def initialise(model: Autoencoder, source: Autoencoder, *, name: str, parts: Sequence[str] = ()) -> Initialisation:
    """Copy weights of another model where names and shapes fit, and return which tensors were copied.

    A tensor of equal shape is copied whole. Of a parameter of another size, such as with a latent of more dimensions,
    the overlap is copied: the leading rows (the outputs of a layer) and columns (its inputs). Other rows and columns
    keep their initial values. Sizes of kernels must be equal. The buffers of a module are copied only if all of its
    tensors have equal shapes. No random numbers are drawn.

    Leading columns are right for a condition in the encoder, since it is appended behind the channels of x. In the
    decoder it is appended behind those of z, whose number may differ too: both are then copied separately. In latent
    and prior only a `Head` is resized, each group of its outputs separately, such as means and log-variances.

    Args:
        model: The model to initialise.
        source: The model with the weights, on any device.
        name: The name of the source, for the report and errors.
        parts: The parts to initialise, such as ``["encoder"]``; empty for all.

    Raises:
        AeframeError: An unknown part; or no tensor fits, of the model or of one of `parts`. The model is then
            unchanged.
    """
    chosen = tuple(selected_parts(model, parts, "init_parts")) if parts else tuple(named_parts(model))
    targets, values = model.state_dict(), source.state_dict()
    parameters = {tensor for tensor, _ in model.named_parameters(remove_duplicate=False)}
    copies: list[tuple[Tensor, Tensor]] = []
    taken: list[str] = []
    resized: list[tuple[str, Shape, Shape]] = []
    skipped: list[tuple[str, str]] = []
    for tensor, target in targets.items():
        value = values.get(tensor)
        if not part_of(tensor, chosen):
            skipped.append((tensor, "other part"))
        elif value is None:
            skipped.append((tensor, "missing in the source"))
        elif not (overlap := _overlap(model, source, tensor, is_parameter=tensor in parameters)):
            shapes = tuple(value.shape), tuple(target.shape)
            same = f"a buffer of a module of other sizes, {shapes[0]}"
            skipped.append((tensor, same if shapes[0] == shapes[1] else f"{shapes[0]} in the source, {shapes[1]} here"))
        else:
            copies += [(target[into], value[of]) for into, of in overlap]
            if overlap == [_WHOLE]:
                taken.append(tensor)
            else:
                resized.append((tensor, tuple(value.shape), tuple(target.shape)))
    skipped += [(tensor, "not in this model") for tensor in values if tensor not in targets]
    copied = {*taken, *(tensor for tensor, _, _ in resized)}
    _check_copied(targets, copied, skipped, name, chosen if parts else ())
    for target, value in copies:
        target.copy_(value)
    received = tuple(part for part in chosen if any(part_of(tensor, [part]) for tensor in copied))
    return Initialisation(name, tuple(taken), tuple(resized), tuple(skipped), received)


def _check_copied(
    tensors: Collection[str],
    copied: set[str],
    skipped: Sequence[tuple[str, str]],
    source: str,
    parts: Sequence[str],
) -> None:
    """Raise an error if no tensor fits, of a part that the user selected or of the model."""
    for part in parts:
        of_part = [tensor for tensor in tensors if part_of(tensor, [part])]
        if of_part and copied.isdisjoint(of_part):
            reasons = [f"{tensor}: {reason}" for tensor, reason in skipped if tensor in of_part]
            raise AeframeError(
                f"no tensor of part '{part}' fits those of init '{source}' ({_first(reasons)}); leave {part} out of "
                "init_parts"
            )
    if not copied:
        reasons = [f"{tensor}: {reason}" for tensor, reason in skipped if tensor in tensors and reason != "other part"]
        raise AeframeError(
            f"no tensor of this model fits those of init '{source}' ({_first(reasons) or 'the parts have none'}); "
            "choose a run of a similar model"
        )


def _overlap(
    model: Autoencoder, source: Autoencoder, tensor: str, *, is_parameter: bool
) -> list[tuple[_Index, _Index]]:
    """Return the indices of a tensor's entries to copy, in the model and in the source; empty if it does not fit."""
    old, new = source.state_dict()[tensor].shape, model.state_dict()[tensor].shape
    # The sizes of a kernel follow those of outputs and inputs.
    if len(old) != len(new) or old[2:] != new[2:]:
        return []
    # Buffers can be counts, masks or permutations, whose overlap has no meaning, or describe another tensor of their
    # module, such as whether a codebook is initialised.
    if not is_parameter and not _has_equal_shapes(model, source, tensor.rpartition(".")[0]):
        return []
    old_groups, new_groups = _groups(source, tensor), _groups(model, tensor)
    if old == new and old_groups == new_groups:
        return [_WHOLE]
    if tensor.startswith(_MIXED_ROWS) and not _is_of_head(model, tensor):
        return [_WHOLE] if old == new else []
    ranges = [_shared_ranges(*groups) for groups in zip(new_groups, old_groups, strict=True)]
    return [(tuple(into for into, _ in axes), tuple(of for _, of in axes)) for axes in itertools.product(*ranges)]


def _groups(model: Autoencoder, tensor: str) -> tuple[tuple[int, ...], ...]:
    """Return for the first two axes of a tensor the sizes of the consecutive groups along it.

    They are the groups of outputs of a `Head`, and z and the condition in the inputs of the decoder.
    """
    shape = model.state_dict()[tensor].shape
    groups: list[tuple[int, ...]] = [(size,) for size in shape[:2]]
    if _is_of_head(model, tensor):
        head = model.get_submodule(_grandparent(tensor))
        assert isinstance(head, Head)
        groups[0] = head.groups
    elif tensor.startswith("decoder.") and len(shape) > 1 and model.spec.condition:
        layer = model.get_submodule(tensor.rpartition(".")[0])
        axis = 0 if isinstance(layer, _TRANSPOSED) else 1
        channels, *positions = model.latent.decoder_shape
        # A layer of as many inputs reads z and the condition: flattened, or at each position.
        for num_positions in (math.prod(positions), 1):
            sizes = (channels * num_positions, model.spec.condition * num_positions)
            if shape[axis] == sum(sizes):
                groups[axis] = sizes
                break
    return tuple(groups)


def _has_equal_shapes(model: Autoencoder, source: Autoencoder, module: str) -> bool:
    """Return whether the tensors that belong directly to a module have the same names and shapes in both models."""

    def shapes(owner: nn.Module) -> dict[str, Shape]:
        tensors = [*owner.named_parameters(recurse=False), *owner.named_buffers(recurse=False)]
        return {name: tuple(tensor.shape) for name, tensor in tensors}

    return shapes(model.get_submodule(module)) == shapes(source.get_submodule(module))


def _is_of_head(model: Autoencoder, tensor: str) -> bool:
    return isinstance(model.get_submodule(_grandparent(tensor)), Head)


def _grandparent(tensor: str) -> str:
    """Return the module that contains the layer of a tensor: ``latent.head`` for ``latent.head.linear.weight``."""
    return ".".join(tensor.split(".")[:-2])


def _shared_ranges(new: Sequence[int], old: Sequence[int]) -> list[tuple[slice, slice]]:
    """Return the leading indices that two groups share, for each pair of groups, in the model and in the source."""
    ranges, start_new, start_old = [], 0, 0
    for size_new, size_old in zip(new, old, strict=False):
        size = min(size_new, size_old)
        ranges.append((slice(start_new, start_new + size), slice(start_old, start_old + size)))
        start_new, start_old = start_new + size_new, start_old + size_old
    return ranges


def _counted(number: int) -> str:
    return f"{number} tensor" if number == 1 else f"{number} tensors"


def _first(names: Sequence[str]) -> str:
    more = len(names) - _NUM_LISTED
    return "; ".join(names[:_NUM_LISTED]) + (f"; and {more} more" if more > 0 else "")
