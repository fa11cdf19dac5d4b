"""Open HDF5 files and Zarr folders, and check what they claim before it is read.

A file of a stranger may refer to other files of the machine, and may claim sizes beyond its memory.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anndata
import h5py

from aeframe.data.limits import check_memory
from aeframe.errors import AeframeError

_BYTES_OF_OBJECT = 64
"""Bytes that a string of variable length takes in memory, about."""
_ZARR_FILES = (".zgroup", ".zmetadata", "zarr.json")


def is_zarr(path: Path) -> bool:
    """Return whether a path is a Zarr group: a folder, or a zipped one."""
    if path.is_dir():
        return any((path / name).is_file() for name in _ZARR_FILES)
    return path.suffix.lower() == ".zip" and path.is_file()


def open_store(path: Path) -> Any:
    """Return the root group of an HDF5 file, or of a Zarr folder or a zipped one, for reading."""
    if not is_zarr(path):
        return h5py.File(path, "r")
    # zarr takes a second to import.
    import zarr

    store = zarr.storage.ZipStore(path, mode="r") if path.is_file() else str(path)
    return zarr.open_group(store, mode="r")


def close_store(root: Any) -> None:
    """Close a root group that `open_store` returned."""
    if isinstance(root, h5py.File):
        root.close()
    else:
        root.store.close()


def check_references(root: Any, who: str) -> None:
    """Check that an HDF5 file refers to no other file: by external links, external storage or virtual datasets.

    Links within the file are followed, and cannot leave it without one of these.

    Args:
        root: The root group.
        who: The file, for the message.

    Raises:
        AeframeError: The file refers to another one.
    """
    if not isinstance(root, h5py.File):
        return

    # Each returns the first that it finds; h5py garbles errors of these functions.
    found = root.visititems_links(_outer_link) or root.visititems(_outer_storage)
    if found is not None:
        raise AeframeError(
            f"{who}: {found}, which is not followed; copy the content into the file, such as by "
            "anndata.read_h5ad(path).write_h5ad(new_path)"
        )


def _outer_link(name: str, link: Any) -> str | None:
    return f"'{name}' is a link to another file ('{link.filename}')" if isinstance(link, h5py.ExternalLink) else None


def _outer_storage(name: str, node: Any) -> str | None:
    if not isinstance(node, h5py.Dataset):
        return None
    if node.external:
        return f"'{name}' is stored in another file ('{node.external[0][0]}')"
    return f"'{name}' is a virtual dataset of other files" if node.is_virtual else None


def is_array(node: Any) -> bool:
    """Return whether an element of a file is an array; otherwise it is a group."""
    return hasattr(node, "dtype") and hasattr(node, "shape")


def check_size(node: Any, who: str) -> None:
    """Check that an element of a file fits into memory.

    Raises:
        AeframeError: It does not, see `check_memory`.
    """
    check_memory(who, sum(_num_bytes(array) for array in _arrays(node)), f"'{str(node.name).strip('/') or 'all'}'")


def read_element(root: Any, key: str, who: str) -> Any:
    """Return an element of a file: a data frame, an array or a sparse matrix, whose indices are not checked.

    Raises:
        AeframeError: The element would not fit into memory.
    """
    check_size(root[key], who)
    with warnings.catch_warnings():
        # anndata reads the formats of its older versions.
        warnings.simplefilter("ignore", anndata.OldFormatWarning)
        return anndata.io.read_elem(root[key])


def unreadable_file_error(path: Path, origin: str, error: Exception) -> AeframeError:
    """Return the error for a truncated or damaged file, or one of another format."""
    reason = " ".join(str(error).split())[:120] or type(error).__name__
    return AeframeError(
        f"{origin}: '{path}' cannot be read as an AnnData file ({reason}); write it again with AnnData.write_h5ad"
    )


def _arrays(node: Any) -> Iterator[Any]:
    """Yield the arrays of an element, each of them once."""
    if is_array(node):
        yield node
    elif isinstance(node, h5py.Group):
        found: list[Any] = []
        # Unlike a recursion, this ends at groups that contain themselves.
        node.visititems(lambda _, child: found.append(child) if isinstance(child, h5py.Dataset) else None)
        yield from found
    else:
        for key in node:
            yield from _arrays(node[key])


def _num_bytes(array: Any) -> int:
    size = int(array.size or 0)
    return size * (_BYTES_OF_OBJECT if array.dtype.hasobject else int(array.dtype.itemsize))
