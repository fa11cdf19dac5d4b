"""Export of an embedding as one Parquet file, which viewers of embeddings such as embedding-atlas open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from aeframe.data.media import Medium
from aeframe.data.tables.parquet import import_pyarrow, write_tables
from aeframe.explorer.embedding import Embedding
from aeframe.explorer.explorer import Explorer

_ROWS = 256
"""Rows of a row group: their pictures are in memory together."""
_FILES = {"image/": "picture", "audio/": "sound", "video/": "clip"}
"""Columns of media by the first part of their MIME type."""
_STRING = "string"
"""The column of media that are texts."""


def export(explorer: Explorer, path: Path) -> None:
    """Write one row for each point of the map as a new Parquet file; after an error no part of it is left.

    Columns: what identifies the sample (index, name, label, ...), the point (x, y), the code (z, a list of numbers in
    the order of the flattened code) and how the modality shows the sample: ``string``, or ``picture``, ``sound`` and
    ``clip``, each a struct of the bytes of a file (bytes) and null (path), as Hugging Face datasets store them.
    """
    write_tables(path, _tables(explorer, import_pyarrow(path)))


def row_columns(embedding: Embedding, chosen: Any) -> dict[str, Any]:
    """Return what identifies the samples at the positions `chosen`, and their points: columns by name.

    A column of the data that is named as one of the point or the code is renamed to ``sample_x`` and so on.
    """
    taken = {"x", "y", "z", _STRING, *_FILES.values()}
    identity = {
        f"sample_{name}" if name in taken else name: values[chosen] for name, values in embedding.columns.items()
    }
    return {**identity, "x": embedding.points[chosen, 0], "y": embedding.points[chosen, 1]}


def _tables(explorer: Explorer, pa: Any) -> Iterator[Any]:
    embedding = explorer.embedding
    for chosen in torch.arange(len(embedding)).split(_ROWS):
        positions = chosen.numpy()
        columns: dict[str, Any] = {
            name: pa.array(values.astype(str) if values.dtype == object else values)
            for name, values in row_columns(embedding, positions).items()
        }
        codes = embedding.codes[chosen].flatten(1)
        flat = pa.array(codes.reshape(-1).numpy())
        columns["z"] = pa.FixedSizeListArray.from_arrays(flat, codes.shape[1])
        columns |= _media_columns(explorer.show(chosen), pa)
        yield pa.table(columns)


def _media_columns(shown: list[list[Medium]], pa: Any) -> Mapping[str, Any]:
    """Return columns with the first medium of each kind of each sample."""
    file_type = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    texts, files = [], {column: list[Any]() for column in _FILES.values()}
    for media in shown:
        by_kind = {medium.mime[: medium.mime.index("/") + 1]: medium.content for medium in reversed(media)}
        texts.append(by_kind.get("text/"))
        for kind, column in _FILES.items():
            files[column].append({"bytes": by_kind[kind], "path": None} if kind in by_kind else None)
    columns = {column: pa.array(values, file_type) for column, values in files.items() if any(values)}
    return {_STRING: pa.array(texts, pa.string()), **columns} if any(text is not None for text in texts) else columns
