"""Division of the positions of a sample into patches of equal size, along one to three spatial axes.

``positions`` are the sizes of the spatial axes, (T,), (H, W) or (D, H, W). ``who`` is the kind and name of the part
that has the patches, such as ``encoder vit``, for error messages.
"""

from __future__ import annotations

from aeframe.errors import AeframeError
from aeframe.types import Domain, Shape

Patch = int | tuple[int, ...]
"""Size of a patch: positions along each spatial axis, or one number for all axes."""


def positions_of(who: str, shape: Shape, domain: Domain, instead: str) -> Shape:
    """Return the positions of a sample's shape ``(C, *positions)``, or ``(T,)`` for classes.

    Raises:
        AeframeError: A shape with no spatial axis or more than three; the message recommends `instead`, such as
            ``loss=mse``.
    """
    positions = shape if len(shape) == 1 and domain.kind == "category" else shape[1:]
    if not 1 <= len(positions) <= 3:
        flat = "flat " if len(shape) == 1 else ""
        raise AeframeError(
            f"{who} needs channels at positions, (C, T), (C, H, W) or (C, D, H, W), found the {flat}shape {shape}; "
            f"choose {instead}"
        )
    return positions


def patch_grid(who: str, positions: Shape, patch: Patch) -> tuple[Shape, Shape]:
    """Return the number of patches along each axis, and the size of a patch along each axis.

    Raises:
        AeframeError: A patch with another number of axes, or a size that does not divide the positions. The message
            names the nearest size that does.
    """
    size = patch if isinstance(patch, tuple) else (patch,) * len(positions)
    if len(size) != len(positions):
        raise AeframeError(
            f"{who} needs patch as one number or {len(positions)}, one for each dimension of positions {positions}, "
            f"found {list(size)}"
        )
    if any(p < 1 or n % p for n, p in zip(positions, size, strict=True)):
        nearest = [_nearest_divisor(n, p) for n, p in zip(positions, size, strict=True)]
        raise AeframeError(
            f"{who} cannot cut positions {positions} into patches of {list(size)}; the nearest that fits is "
            f"patch={nearest[0] if len(set(nearest)) == 1 else nearest}"
        )
    return tuple(n // p for n, p in zip(positions, size, strict=True)), size


def _nearest_divisor(n: int, near: int) -> int:
    return min((d for d in range(1, n + 1) if n % d == 0), key=lambda d: abs(d - near))
