"""Noise that belongs to the sample: what torch draws becomes a function of (seed, number of the draw, row)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from aeframe.errors import AeframeError
from aeframe.noise import seed_noise

_SHARED = -1
"""Stands in place of a row for a draw that no row has a part in."""


class RowNoise(TorchDispatchMode):
    """Inside it each sample draws its own noise, whatever it is batched with.

    A draw whose leading dimension is the batch is made row by row from (seed, number of the draw, the row's id). So a
    batch that holds every sample twice sees the same noise twice, a batch in another order sees it in that order, and
    two devices that share a batch see what one would. A leading dimension of B times n is read as n rows of each
    sample, one after another: that is what flattening its positions gives. Any other draw (a codebook's first places)
    depends on the seed and its number only. What is given a generator of its own is left alone, and torch's own
    generators stand after it as they stood before.

    It works below autograd and below whatever is composed of simpler draws, so dropout, `torch.distributions` and every
    function of torch are covered alike, and gradients flow as they would.

    ```python
    with RowNoise(torch.arange(7)):
        once = model(batch)
    with RowNoise(torch.arange(7).repeat(2)):
        twice = model(doubled)  # the same, twice
    ```

    Args:
        rows: ``(B,)`` whole numbers, the id of each sample. Choose a B that divides no other size of the model, such as
            7: a draw of that many of something else would be taken for a batch.
        seed: Another seed is other noise.
        num_samples: K, where the model draws K importance samples: row k * B + b of ``(K * B, ...)`` is then a draw of
            sample b.

    Raises:
        AeframeError: Ids that are not a vector of whole numbers.
    """

    def __init__(self, rows: Tensor, *, seed: int = 0, num_samples: int | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if rows.ndim != 1 or not len(rows) or rows.is_floating_point() or rows.dtype == torch.bool:
            raise AeframeError(
                f"RowNoise needs rows as a vector (B,) of whole numbers, found {rows.dtype} {tuple(rows.shape)}; "
                "give the id of each sample, such as torch.arange(B)"
            )
        self._rows: list[int] = rows.tolist()
        self._seed, self._samples = seed, num_samples
        self._draws = 0
        self._outer = ExitStack()

    def __enter__(self) -> Self:
        """Begin to count draws from zero."""
        self._draws = 0
        devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
        self._outer.enter_context(torch.random.fork_rng(devices))
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave torch's generators as they stood."""
        super().__exit__(kind, error, trace)  # type: ignore[no-untyped-call]
        self._outer.close()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run one operator of torch; those that draw, row by row."""
        by_name = dict(kwargs or {})
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **by_name)
        names = [argument.name for argument in func._schema.arguments]
        given = dict(zip(names, args, strict=False)) | by_name
        device = _device_of(given)
        if given.get("generator") is not None or device.type == "meta":
            return func(*args, **by_name)
        number, self._draws = self._draws, self._draws + 1
        layout = self._layout(given)
        if layout is None:
            seed_noise(device, self._seed, number, _SHARED)
            return func(*args, **by_name)
        pieces = []
        for place, row in enumerate(self._rows):
            seed_noise(device, self._seed, number, row)
            mine = layout.share(given, place)
            pieces.append(func(*(mine[name] for name in names[: len(args)]), **{name: mine[name] for name in by_name}))
        written = func._schema.returns[0].alias_info
        if written is not None:
            # Drawn into views of it: the whole has changed already.
            return given[_argument(func, written)]
        if isinstance(pieces[0], Tensor):
            return layout.join(pieces)
        return tuple(layout.join(list(each)) for each in zip(*pieces, strict=True))

    def _layout(self, given: Mapping[str, Any]) -> _Layout | None:
        """Return where the rows lie in what is drawn, or None where they have no part in it."""
        num, k = len(self._rows), self._samples
        weights = given.get("self")
        if given.get("num_samples") == num and given.get("replacement") and weights is not None and weights.ndim == 1:
            # `torch.multinomial` of one distribution, once for each row.
            return _Layout(num, count="num_samples")
        size: Sequence[int] | None = given.get("size")
        if size is None:
            shapes = [value.shape for value in given.values() if isinstance(value, Tensor)]
            size = max(shapes, key=len, default=())
        if not len(size) or not size[0] or size[0] % num:
            return None
        return _Layout(num, ndim=len(size), strided=k is not None and size[0] == k * num)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the rows of a batch lie in the arguments of a draw."""

    num: int
    """B."""
    ndim: int = 0
    """Of what is drawn; a tensor of fewer dimensions is the same for every row."""
    strided: bool = False
    """What one row has lies B apart (importance samples), not side by side."""
    count: str | None = None
    """The argument that counts draws, where that is what makes the batch."""

    def share(self, given: Mapping[str, Any], place: int) -> dict[str, Any]:
        """Return one row's share of the arguments."""
        if self.count is not None:
            return {**given, self.count: 1}
        return {name: self._part(name, value, place) for name, value in given.items()}

    def _part(self, name: str, value: Any, place: int) -> Any:
        if name == "size":
            return [value[0] // self.num, *value[1:]]
        if not isinstance(value, Tensor) or value.ndim < self.ndim or value.shape[0] % self.num:
            return value
        if self.strided:
            return value[place :: self.num]
        width = len(value) // self.num
        return value[place * width : (place + 1) * width]

    def join(self, pieces: list[Tensor]) -> Tensor:
        """Put the rows' shares side by side again."""
        return torch.stack(pieces, 1).flatten(0, 1) if self.strided else torch.cat(pieces)


def _argument(func: Any, written: Any) -> str:
    """Return the argument that an operator gives back, changed."""
    changed = (each for each in func._schema.arguments if each.alias_info is not None)
    name: str = next(each.name for each in changed if each.alias_info.before_set == written.before_set)
    return name


def _device_of(given: Mapping[str, Any]) -> torch.device:
    """Return where a draw is made: where its tensors are, or where it is asked to be."""
    for value in given.values():
        if isinstance(value, Tensor):
            return value.device
    return torch.device("cpu" if given.get("device") is None else given["device"])


__all__ = ["RowNoise"]
