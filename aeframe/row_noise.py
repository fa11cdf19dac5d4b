"""Random numbers that depend only on a seed, the index of the draw, and the sample."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from aeframe.errors import AeframeError
from aeframe.noise import INCREMENT, mix, mix_elements, seed_noise, shift_right, to_signed

_NO_ROW = -1
"""Placeholder for the id of the sample, in the seed of a draw that belongs to no sample."""
_CPU = torch.device("cpu")
_MIN_ROWS = 7
"""Smallest number of rows that `padded_rows` returns."""
_NUM_BITS = {torch.float64: 53, torch.float32: 24, torch.float16: 11, torch.bfloat16: 8}
"""Bits of the significand of each dtype."""


class RowNoise(TorchDispatchMode):
    """A context manager in which each sample has the same random numbers in every batch.

    A draw is one call of an operation that returns random numbers; its index is the number of draws before it. A draw
    whose leading dimension is the batch is split into rows. The seed of each row is computed from `seed`, the index of
    the draw and the id of the sample. So a batch with every sample twice has the same noise twice, a reordered batch
    has reordered noise, and two processes that share a batch draw what one process would. Random numbers are computed
    on the CPU and moved, so that every device has the same: normal, uniform, exponential and Bernoulli ones for all
    rows at once, others row by row.

    A leading dimension of B times n counts as n consecutive rows of each sample, as after flattening positions into the
    batch. Every other draw (such as the initial codebook) depends on `seed` and the index of the draw only. Draws
    with their own ``generator`` are unchanged. torch's default generators are restored at the end.

    PyTorch calls the mode after autograd, and after composite operations have been decomposed into simpler ones. So
    gradients are unchanged, and dropout, `torch.distributions` and every function of torch are covered.

    ```python
    with RowNoise(torch.arange(7)):
        once = model(batch)
    with RowNoise(torch.arange(7).repeat(2)):
        twice = model(doubled)  # the same outputs, twice
    ```

    Args:
        rows: ``(B,)`` integers, the id of each sample. Any leading dimension that is a multiple of B counts as a batch,
            so choose a B that divides no other dimension of the model, such as 7.
        seed: The seed of all draws.
        num_samples: K, where the model draws K importance samples. Then row k * B + b of ``(K * B, ...)`` belongs to
            sample b.

    Raises:
        AeframeError: `rows` is not a vector of integers.
    """

    def __init__(self, rows: Tensor, *, seed: int = 0, num_samples: int | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if rows.ndim != 1 or not len(rows) or rows.is_floating_point() or rows.dtype == torch.bool:
            raise AeframeError(
                f"RowNoise requires rows as a vector (B,) of integers, found {rows.dtype} {tuple(rows.shape)}; "
                "pass the id of each sample, such as torch.arange(B)"
            )
        self._rows = rows.to(_CPU, torch.int64)
        self._seed, self._num_samples = seed, num_samples
        self._num_draws = 0
        self._generators = ExitStack()

    def __enter__(self) -> Self:
        """Reset the index of the draw to 0, and save the state of torch's generators."""
        self._num_draws = 0
        devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
        self._generators.enter_context(torch.random.fork_rng(devices))
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Restore the state of torch's generators."""
        super().__exit__(kind, error, trace)  # type: ignore[no-untyped-call]
        self._generators.close()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run one torch operation; split it into rows if it draws random numbers."""
        if not _is_random(func):
            return func(*args, **(kwargs or {}))
        by_name = dict(kwargs or {})
        names = [argument.name for argument in func._schema.arguments]
        arguments = dict(zip(names, args, strict=False)) | by_name
        device = _device_of(arguments)
        if arguments.get("generator") is not None or device.type == "meta" or _draws_nothing(func, arguments):
            return func(*args, **by_name)
        index, self._num_draws = self._num_draws, self._num_draws + 1
        layout = self._layout(arguments)
        keys = torch.tensor([_NO_ROW]) if layout is None else self._rows
        seeds = mix_elements(keys + to_signed(mix(self._seed, index)))
        transform = _ELEMENTWISE.get(func._schema.name)
        if transform is not None:
            # Replaces the values that torch draws, but keeps their shape, dtype and device.
            drawn: Tensor = func(*args, **by_name)
            if not drawn.is_complex():
                bits = _random_bits(seeds, drawn.numel() // len(seeds))
                bits = bits.reshape(drawn.shape) if layout is None else layout.arrange(bits, drawn.shape)
                on_cpu = {name: _to_cpu(value) for name, value in arguments.items()}
                return drawn.copy_(transform(bits, _NUM_BITS.get(drawn.dtype, 53), on_cpu))
        if device.type == "cpu" or _has_no_cpu_kernel(func):
            return _draw_by_row(func, args, by_name, arguments, layout, seeds.tolist(), device)
        on_cpu = {name: _to_cpu(value) for name, value in arguments.items()}
        cpu_args, cpu_kwargs = [on_cpu[name] for name in names[: len(args)]], {name: on_cpu[name] for name in by_name}
        result = _draw_by_row(func, cpu_args, cpu_kwargs, on_cpu, layout, seeds.tolist(), _CPU)
        alias = func._schema.returns[0].alias_info
        if alias is not None:
            return arguments[_aliased_argument(func, alias)].copy_(result)
        return result.to(device) if isinstance(result, Tensor) else tuple(value.to(device) for value in result)

    def _layout(self, arguments: Mapping[str, Any]) -> _Layout | None:
        """Return how the result of a draw is divided into rows, None if it has no batch dimension."""
        num, k = len(self._rows), self._num_samples
        # The first tensor of `torch.multinomial(weights, num_samples, replacement)` is named self in its schema.
        weights = arguments.get("self")
        has_one_distribution = isinstance(weights, Tensor) and weights.ndim == 1
        if arguments.get("num_samples") == num and arguments.get("replacement") and has_one_distribution:
            # One sample of the same distribution for each row.
            return _Layout(num, count="num_samples")
        # The shape of the result: an argument of factories such as `torch.randn`, else that of the largest tensor.
        size: Sequence[int] | None = arguments.get("size")
        if size is None:
            shapes = [value.shape for value in arguments.values() if isinstance(value, Tensor)]
            size = max(shapes, key=len, default=())
        if not len(size) or not size[0] or size[0] % num:
            return None
        return _Layout(num, ndim=len(size), strided=k is not None and size[0] == k * num)


def row_normals(rows: Tensor, num: int, *, seed: int = 0) -> Tensor:
    """Return standard normal numbers ``(B, num)`` in double precision, a function of `seed` and the id of each row.

    They equal those of a first draw within `RowNoise`, and are computed without a mode on the device of `rows`.

    Args:
        rows: ``(B,)`` integers, the id of each sample.
        num: The number of numbers for each row.
        seed: The seed of the draw.
    """
    return torch.special.ndtri(_open_uniform(_bits_of_rows(rows, num, seed, 0)))


def row_uniforms(rows: Tensor, num: int, *, seed: int = 0, draw: int = 0) -> Tensor:
    """Return uniform numbers in [0, 1) ``(B, num)``, a function of `seed`, `draw` and the id of each row.

    They are multiples of 2^-24 in double precision, on the device of `rows`, and equal those of draw number `draw`
    within `RowNoise` in single precision.

    Args:
        rows: ``(B,)`` integers, the id of each sample.
        num: The number of numbers for each row.
        seed: The seed of the draws.
        draw: The number of the draw: different ones are independent.
    """
    return _uniform(_bits_of_rows(rows, num, seed, draw), _NUM_BITS[torch.float32])


def padded_rows(num: int) -> Tensor:
    """Return the indices 0 to `num` - 1, the last of them repeated up to a prime number of rows ``(P,)``, at least 7.

    `RowNoise` takes every leading dimension that is a multiple of the number of rows for the batch. Other dimensions of
    a model are hardly ever a multiple of a prime.
    """
    size = max(num, _MIN_ROWS)
    prime = next(n for n in itertools.count(size) if all(n % divisor for divisor in range(2, math.isqrt(n) + 1)))
    return torch.arange(prime).clamp(max=num - 1)


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the arguments and the result of a draw are divided into the rows of a batch."""

    num: int
    """B, the number of rows."""
    ndim: int = 0
    """The number of dimensions of the result. An argument of fewer dimensions is the same for every row."""
    strided: bool = False
    """Whether the elements of a row are B apart, as importance samples are; otherwise they are consecutive."""
    count: str | None = None
    """The name of the argument with the number of samples, where that number is B; it becomes 1 for each row."""

    def arguments_of_row(self, arguments: Mapping[str, Any], position: int) -> dict[str, Any]:
        """Return the arguments for drawing the row at `position`."""
        if self.count is not None:
            return {**arguments, self.count: 1}
        return {name: self._value_of_row(name, value, position) for name, value in arguments.items()}

    def _value_of_row(self, name: str, value: Any, position: int) -> Any:
        if name == "size":
            return [value[0] // self.num, *value[1:]]
        if not isinstance(value, Tensor) or value.ndim < self.ndim or value.shape[0] % self.num:
            return value
        if self.strided:
            return value[position :: self.num]
        width = len(value) // self.num
        return value[position * width : (position + 1) * width]

    def join(self, results: list[Tensor]) -> Tensor:
        """Return the result of the whole draw from the results of all rows."""
        return torch.stack(results, 1).flatten(0, 1) if self.strided else torch.cat(results)

    def arrange(self, values: Tensor, shape: torch.Size) -> Tensor:
        """Return the result of the whole draw, of that shape, from the elements of each row ``(B, n)``."""
        if not self.strided:
            return values.reshape(shape)
        return values.unflatten(1, (shape[0] // self.num, -1)).transpose(0, 1).reshape(shape)


def _draw_by_row(
    func: Any,
    args: Sequence[Any],
    by_name: Mapping[str, Any],
    arguments: Mapping[str, Any],
    layout: _Layout | None,
    seeds: Sequence[int],
    device: torch.device,
) -> Any:
    """Return the result of `func`, called once for each row after seeding the generators with the row's seed.

    `args` and `by_name` are the arguments as they were passed, `arguments` the same by name.
    """
    if layout is None:
        seed_noise(device, seeds[0])
        return func(*args, **by_name)
    names = [argument.name for argument in func._schema.arguments]
    results = []
    for position, seed in enumerate(seeds):
        seed_noise(device, seed)
        row_arguments = layout.arguments_of_row(arguments, position)
        positional = (row_arguments[name] for name in names[: len(args)])
        results.append(func(*positional, **{name: row_arguments[name] for name in by_name}))
    alias = func._schema.returns[0].alias_info
    if alias is not None:
        # An in-place operation: each row was drawn into a view of this tensor.
        return arguments[_aliased_argument(func, alias)]
    if isinstance(results[0], Tensor):
        return layout.join(results)
    return tuple(layout.join(list(tensors)) for tensors in zip(*results, strict=True))


def _random_bits(seeds: Tensor, num: int) -> Tensor:
    """Return random integers ``(B, num)`` of 64 bits: the first `num` of splitmix64 for each seed ``(B,)``."""
    return mix_elements(seeds.unsqueeze(1) + to_signed(INCREMENT) * torch.arange(num, device=seeds.device))


def _bits_of_rows(rows: Tensor, num: int, seed: int, draw: int) -> Tensor:
    return _random_bits(mix_elements(rows + to_signed(mix(seed, draw))), num)


def _uniform(bits: Tensor, num_bits: int) -> Tensor:
    """Return numbers in [0, 1) that a significand of `num_bits` represents exactly, so that none is rounded to 1."""
    return shift_right(bits, 64 - num_bits).double() * 2.0**-num_bits


def _open_uniform(bits: Tensor) -> Tensor:
    """Return numbers in (0, 1) in double precision, both ends excluded."""
    return (shift_right(bits, 12).double() + 0.5) * 2.0**-52


def _normal(bits: Tensor, num_bits: int, arguments: Mapping[str, Any]) -> Tensor:
    noise = torch.special.ndtri(_open_uniform(bits))
    return noise * arguments.get("std", 1.0) + arguments.get("mean", 0.0)


def _uniform_between(bits: Tensor, num_bits: int, arguments: Mapping[str, Any]) -> Tensor:
    low, high = arguments.get("from", 0.0), arguments.get("to", 1.0)
    return low + (high - low) * _uniform(bits, num_bits)


def _exponential(bits: Tensor, num_bits: int, arguments: Mapping[str, Any]) -> Tensor:
    return _open_uniform(bits).log() / -arguments.get("lambd", 1.0)


def _bernoulli(bits: Tensor, num_bits: int, arguments: Mapping[str, Any]) -> Tensor:
    return _uniform(bits, 53) < arguments.get("p", arguments["self"])


def _bernoulli_in_place(bits: Tensor, num_bits: int, arguments: Mapping[str, Any]) -> Tensor:
    return _uniform(bits, 53) < arguments.get("p", 0.5)


_ELEMENTWISE: Mapping[str, Callable[[Tensor, int, Mapping[str, Any]], Tensor]] = {
    "aten::rand": _uniform_between,
    "aten::rand_like": _uniform_between,
    "aten::uniform_": _uniform_between,
    "aten::randn": _normal,
    "aten::randn_like": _normal,
    "aten::normal": _normal,
    "aten::normal_": _normal,
    "aten::exponential_": _exponential,
    "aten::bernoulli": _bernoulli,
    "aten::bernoulli_": _bernoulli_in_place,
}
"""Operations with independent elements, and the function that computes each element: from random bits in the shape of
the result, the number of bits of its significand, and the operation's arguments on the CPU."""


@functools.cache
def _is_random(func: Any) -> bool:
    """Return whether an operation draws random numbers; cached, because this is called for every operation."""
    return torch.Tag.nondeterministic_seeded in func.tags


def _aliased_argument(func: Any, alias: Any) -> str:
    """Return the name of the argument that an in-place operation changes and returns."""
    aliased = (argument for argument in func._schema.arguments if argument.alias_info is not None)
    name: str = next(argument.name for argument in aliased if argument.alias_info.before_set == alias.before_set)
    return name


def _device_of(arguments: Mapping[str, Any]) -> torch.device:
    """Return the device of a draw: that of its tensors, or else its argument ``device``."""
    for value in arguments.values():
        if isinstance(value, Tensor):
            return value.device
    return torch.device("cpu" if arguments.get("device") is None else arguments["device"])


def _to_cpu(value: Any) -> Any:
    """Return a tensor or device on the CPU; other values unchanged."""
    return value.to(_CPU) if isinstance(value, Tensor) else _CPU if isinstance(value, torch.device) else value


def _has_no_cpu_kernel(func: Any) -> bool:
    """Return whether an operation with dropout inside exists on one kind of device only."""
    return "attention" in func._schema.name or "cudnn" in func._schema.name


def _draws_nothing(func: Any, arguments: Mapping[str, Any]) -> bool:
    """Return whether an operation with dropout inside, such as attention, is called without dropout."""
    return "attention" in func._schema.name and not arguments.get("dropout_p")


__all__ = ["RowNoise"]
