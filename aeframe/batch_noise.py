"""Random numbers of a batch that several devices share: each device draws those of all rows, and takes its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from aeframe.devices import LocalRows, gather_rows, shared_batch
from aeframe.noise import noise_of

_Draw = Callable[..., Any]

_MAX_ELEMENTS = 1 << 28
"""The largest number of elements that a device draws for all rows: 1 GiB in single precision."""

_NOTHING = nullcontext()
_is_common = False
_active: BatchNoise | None = None
"""The innermost `BatchNoise` of this process."""


@contextmanager
def common_draws() -> Iterator[None]:
    """Context in which all random numbers are equal on all devices, for draws that belong to no sample.

    Outside, `BatchNoise` takes a draw for one by sample if its first dimension is a multiple of the number of rows.
    """
    global _is_common
    before, _is_common = _is_common, True
    try:
        yield
    finally:
        _is_common = before


def call_with_own_noise(network: Callable[..., Any], *args: Any) -> Any:
    """Call a network in which each device draws its own random numbers; outside `BatchNoise` just call it.

    `torch.compile` cannot compile a network as a whole while a mode is active. After the call all devices draw alike
    again.
    """
    noise = _active
    if noise is None:
        return network(*args)
    noise.__exit__(None, None, None)
    try:
        return noise.own_noise(network, args, {})
    finally:
        noise.__enter__()


def batch_of_all_devices(rows: LocalRows | None, *, num_samples: int | None = None) -> AbstractContextManager[None]:
    """Return a context in which this device computes its `rows` of a batch as one device with the whole batch would.

    `shared_batch` for statistics of the batch, and `BatchNoise` for random numbers; nothing where `rows` is None.
    """
    return _NOTHING if rows is None else _batch_of_all_devices(rows, num_samples)


@contextmanager
def _batch_of_all_devices(rows: LocalRows, num_samples: int | None) -> Iterator[None]:
    with shared_batch(rows), BatchNoise(rows, num_samples=num_samples):
        yield


class BatchNoise(TorchFunctionMode):
    """A context manager in which several devices draw the random numbers that one device with the whole batch would.

    All devices seed their generators alike. A draw whose leading dimension is a multiple of the number of rows on this
    device is drawn for all rows of the batch, and this device takes the part of its rows. So ``torch.randn_like(z)``,
    `torch.distributions` and `torch.nn.functional.dropout` in any part need no change. Every other draw is equal on all
    devices. Draws with their own ``generator`` are unchanged.

    Rows are laid out as in `aeframe.row_noise.RowNoise`: B times n rows are n consecutive ones of each sample, but
    K * B rows are K importance samples.

    The number of draws of a Gamma, Poisson or binomial distribution depends on its parameters, so these are gathered
    from all devices. Dropout within torch's fused networks (`torch.nn.LSTM`, `torch.nn.MultiheadAttention`) and within
    compiled ones cannot be divided into rows: each device draws its own. So does it where the numbers of all rows would
    take more than 1 GiB.

    Args:
        rows: The rows of this device.
        num_samples: K, where the model draws K importance samples.
    """

    def __init__(self, rows: LocalRows, *, num_samples: int | None = None) -> None:
        super().__init__()
        self._rows, self._num_samples = rows, num_samples
        self._num_own = 0

    def __enter__(self) -> Self:
        global _active
        _active = self
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        global _active
        _active = None
        super().__exit__(kind, error, trace)  # type: ignore[no-untyped-call]

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run one torch function; draw for the rows of all devices if it draws by row."""
        kwargs = kwargs or {}
        draw = _DRAWS.get(func)
        if draw is None or _is_common or kwargs.get("generator") is not None:
            return func(*args, **kwargs)
        return draw(self, func, args, kwargs)

    # -- rows ----------------------------------------------------------------------------------------------------

    def _is_by_row(self, shape: Sequence[int]) -> bool:
        return len(shape) > 0 and shape[0] > 0 and shape[0] % self._rows.num == 0

    def _is_too_large(self, shape: Sequence[int]) -> bool:
        """Return whether a draw for all rows would need too much memory, as noise of images on hundreds of devices."""
        return math.prod(self._global_size(shape)) > _MAX_ELEMENTS

    def _global_size(self, shape: Sequence[int]) -> list[int]:
        return [shape[0] // self._rows.num * self._rows.total, *shape[1:]]

    def _own(self, drawn: Tensor, length: int) -> Tensor:
        """Return this device's `length` rows of a draw for all rows."""
        rows, width = self._rows, length // self._rows.num
        if self._num_samples is not None and width == self._num_samples:
            return drawn.unflatten(0, (width, rows.total))[:, rows.start : rows.stop].flatten(0, 1)
        return drawn[rows.start * width : rows.stop * width]

    def _like(self, value: Tensor) -> Tensor:
        """Return an uninitialised tensor for all rows, with the memory layout of `value`."""
        # Elements are drawn in the order of the memory, such as channels-last.
        strides = torch.empty_like(value).stride()
        order = sorted(range(value.ndim), key=lambda dim: (-strides[dim], dim))
        return torch.empty_permuted(self._global_size(value.shape), order, dtype=value.dtype, device=value.device)

    def _embedded(self, value: Tensor) -> Tensor:
        """Return a tensor for all rows in which those of other devices are copies, and this device's have gradients."""
        rows, width = self._rows, len(value) // self._rows.num
        strided = self._num_samples is not None and width == self._num_samples
        own = value.unflatten(0, (width, rows.num) if strided else (rows.num, width))
        dim = 1 if strided else 0
        first = own.detach().narrow(dim, 0, 1)

        def copies(num: int) -> Tensor:
            return first.expand(*(num if axis == dim else size for axis, size in enumerate(first.shape)))

        return torch.cat([copies(rows.start), own, copies(rows.total - rows.stop)], dim).flatten(0, 1)

    def _gathered(self, value: Tensor) -> Tensor:
        """Return the values of all rows, of which this device's have gradients."""
        rows, width = self._rows, len(value) // self._rows.num
        everyone = gather_rows(value)
        if len(everyone) != rows.total * width:
            return self._embedded(value)
        return torch.cat([everyone[: rows.start * width], value, everyone[rows.stop * width :]])

    # -- kinds of draws --------------------------------------------------------------------------------------------

    def from_size(self, func: _Draw, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Draw from a function that takes the size of its result, such as `torch.randn` and `torch.randint`."""
        given = args, kwargs
        args, kwargs = list(args), dict(kwargs)
        if "size" in kwargs:
            size = kwargs.pop("size")
        elif args and isinstance(args[-1], (tuple, list)):
            size = args.pop()
        elif func in _TAKE_INTEGERS and args and all(isinstance(arg, int) for arg in args):
            size, args = args, []
        elif func is torch.normal:
            return self.from_tensors(func, args, kwargs)
        else:
            return func(*args, **kwargs)
        if not self._is_by_row(size):
            return func(*args, size=size, **kwargs)
        if self._is_too_large(size):
            return self.own_noise(func, *given)
        return self._own(func(*args, size=self._global_size(size), **kwargs), size[0])

    def like(self, func: _Draw, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Draw from a function that takes a tensor of the shape of its result, such as `torch.randn_like`."""

        def draw(value: Tensor, rest: Sequence[Any], named: Mapping[str, Any]) -> Tensor:
            return self._own(func(self._like(value), *rest, **named), len(value))

        return self._by_input(draw, func, args, kwargs)

    def in_place(self, func: _Draw, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Draw into a tensor, as `Tensor.normal_` does."""

        def draw(value: Tensor, rest: Sequence[Any], named: Mapping[str, Any]) -> Tensor:
            rest = [self._embedded_if_by_row(other, len(value)) for other in rest]
            named = {name: self._embedded_if_by_row(other, len(value)) for name, other in named.items()}
            return value.copy_(self._own(func(self._like(value), *rest, **named), len(value)))

        return self._by_input(draw, func, args, kwargs)

    def dropout(self, func: _Draw, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Set random elements, or channels, to 0 and scale up the others."""

        def draw(value: Tensor, rest: Sequence[Any], named: Mapping[str, Any]) -> Tensor:
            # The factor of each element; in place, because the tensor is not needed again.
            factors = self._own(func(self._like(value).fill_(1), *rest, **named), len(value))
            return value.mul_(factors) if named.get("inplace") or rest[2:3] == [True] else value * factors

        return self._by_input(draw, func, args, kwargs)

    def from_tensors(self, func: _Draw, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Draw from distributions whose parameters are tensors with a row for each row of the result."""
        return self._by_row(self._embedded, func, args, kwargs)

    def by_rejection(self, func: _Draw, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Draw from distributions by rejection, where the number of draws depends on the parameters."""
        return self._by_row(self._gathered, func, args, kwargs)

    def multinomial(self, func: _Draw, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Draw indices: of one distribution for all rows, or of one for each row."""
        names = ("input", "num_samples", "replacement")
        given = dict(zip(names, args, strict=False)) | dict(kwargs)
        num = given["num_samples"]
        if given["input"].ndim > 1 or not given.get("replacement") or num % self._rows.num:
            return self.from_tensors(func, args, kwargs)
        given["num_samples"] = self._global_size([num])[0]
        return self._own(func(given.pop("input"), **given), num)

    def attention(self, func: _Draw, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Attention, which draws only with dropout."""
        has_dropout = kwargs.get("dropout_p") or (len(args) > 4 and args[4])
        return self.from_tensors(func, args, kwargs) if has_dropout else func(*args, **kwargs)

    def own_noise(self, func: _Draw, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Draw on each device from a stream of its own; the generators are restored."""
        devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
        device = torch.device("cuda", torch.cuda.current_device()) if devices else torch.device("cpu")
        with torch.random.fork_rng([device] if devices else []):
            self._num_own += 1
            with noise_of(device, torch.initial_seed(), self._num_own, self._rows.rank):
                return func(*args, **kwargs)

    def _by_input(
        self,
        draw: Callable[[Tensor, Sequence[Any], Mapping[str, Any]], Tensor],
        func: _Draw,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> Any:
        """Call a function of the tensor ``input``; `draw` with that, and all other arguments, draws by row."""
        named = dict(kwargs)
        value, *rest = (named.pop("input"), *args) if "input" in named else args
        if not self._is_by_row(value.shape):
            return func(value, *rest, **named)
        if self._is_too_large(value.shape):
            return self.own_noise(func, (value, *rest), named)
        return draw(value, rest, named)

    def _by_row(
        self, whole: Callable[[Tensor], Tensor], func: _Draw, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        largest = max(tensors, key=lambda value: value.ndim, default=None)
        if largest is None or not self._is_by_row(largest.shape):
            return func(*args, **kwargs)
        length, ndim = len(largest), largest.ndim

        def of_all(value: Any) -> Any:
            is_by_row = isinstance(value, Tensor) and value.ndim == ndim and len(value) == length
            return whole(value) if is_by_row else value

        drawn = func(*map(of_all, args), **{name: of_all(value) for name, value in kwargs.items()})
        return self._own(drawn, length)

    def _embedded_if_by_row(self, value: Any, length: int) -> Any:
        is_by_row = isinstance(value, Tensor) and value.ndim > 0 and len(value) == length
        return self._embedded(value) if is_by_row else value


_TAKE_INTEGERS = frozenset({torch.rand, torch.randn})
"""Functions whose size may be given as separate integers."""

_DRAWS: Mapping[Any, Callable[..., Any]] = {
    **dict.fromkeys((torch.rand, torch.randn, torch.randint, torch.normal), BatchNoise.from_size),
    **dict.fromkeys((torch.rand_like, torch.randn_like, torch.randint_like), BatchNoise.like),
    **dict.fromkeys(
        (
            Tensor.normal_, Tensor.uniform_, Tensor.exponential_, Tensor.bernoulli_, Tensor.random_, Tensor.cauchy_,
            Tensor.geometric_, Tensor.log_normal_,
        ),
        BatchNoise.in_place,
    ),
    **dict.fromkeys(
        (torch.dropout, F.dropout, F.dropout1d, F.dropout2d, F.dropout3d), BatchNoise.dropout
    ),
    **dict.fromkeys(
        (
            torch.bernoulli, Tensor.bernoulli, F.gumbel_softmax, F.alpha_dropout, F.feature_alpha_dropout, F.rrelu,
        ),
        BatchNoise.from_tensors,
    ),
    **dict.fromkeys((torch.multinomial, Tensor.multinomial), BatchNoise.multinomial),
    # Private names of torch's, which its Gamma and Dirichlet distributions call.
    **dict.fromkeys(
        (torch.poisson, torch.binomial, torch._standard_gamma, torch._sample_dirichlet), BatchNoise.by_rejection
    ),
    F.scaled_dot_product_attention: BatchNoise.attention,
    **dict.fromkeys(
        (F.multi_head_attention_forward, torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu), BatchNoise.own_noise
    ),
}  # fmt: skip
"""Functions of torch that draw random numbers, and how each is divided into rows."""
