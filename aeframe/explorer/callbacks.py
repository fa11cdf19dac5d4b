"""What the page of the latent explorer requests, as values that JSON can represent or as bytes."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aeframe.data.media import Medium
from aeframe.errors import AeframeError, did_you_mean
from aeframe.explorer.embedding import Embedding
from aeframe.explorer.explorer import Explorer
from aeframe.explorer.export import row_columns

WriteRows = Callable[[Path, Iterable[Mapping[str, NDArray[Any]]]], None]
"""Writes columns by batch as a table, in the format of the suffix."""
_FORMATS = {".csv": "text/csv", ".parquet": "application/vnd.apache.parquet"}
_FEW_INTEGERS = 24
"""Whole numbers of at most so many different values are categories, such as labels."""
_MAX_CATEGORIES = 1000
"""Texts of more different values, such as names, are no colours."""
_ROWS = 1 << 14


@dataclass(frozen=True, slots=True)
class Callbacks:
    """Answers the requests of the page.

    Args:
        explorer: The model and the map.
        write_rows: Writes the rows that the user exports.
    """

    explorer: Explorer
    write_rows: WriteRows

    def overview(self) -> dict[str, Any]:
        """Return what the page shows before any sample is chosen."""
        explorer, embedding = self.explorer, self.explorer.embedding
        return {
            "model": explorer.model.name,
            "num": len(embedding),
            "of": explorer.num_samples or len(embedding),
            "axes": list(embedding.axes),
            "columns": [name for name in embedding.columns if _kind(embedding.columns[name]) is not None],
            "colour": "label" if "label" in embedding.columns else None,
            "why_no_sliders": explorer.why_no_sliders,
            "directions": {along: list(explorer.directions(along).names) for along in ("principal", "numbers")},
        }

    def points(self) -> bytes:
        """Return x and y of all points in turn, as little-endian float32."""
        return self.explorer.embedding.points.astype("<f4").tobytes()

    def column(self, name: str) -> dict[str, Any]:
        """Return a column that colours the points: its numbers, or categories with the most frequent first.

        ``values`` are in Base64: float32 of numbers, int32 of categories. Numbers that are not finite are NaN.
        """
        values = self._column(name)
        kind = _kind(values)
        if kind == "number":
            numbers = values.astype(np.float64)
            numbers[~np.isfinite(numbers)] = np.nan
            return {"kind": kind, "values": _base64(numbers.astype("<f4"))}
        if kind is None:
            raise AeframeError(f"column '{name}' has too many different values for colours; choose another one")
        # Whole numbers in their own order, since "10" comes before "2" in texts.
        sortable = values if values.dtype.kind in "iu" else _texts(values)
        names, index, counts = np.unique(sortable, return_inverse=True, return_counts=True)
        order = np.argsort(-counts, kind="stable") if len(names) > _FEW_INTEGERS else np.arange(len(names))
        place = np.empty(len(names), "<i4")
        place[order] = np.arange(len(names))
        return {
            "kind": kind,
            "names": [str(names[number]) for number in order],
            "counts": counts[order].tolist(),
            "values": _base64(place[index]),
        }

    def sample(self, at: int) -> dict[str, Any]:
        """Return how a sample is shown when the pointer is on its point."""
        (shown,) = self.explorer.show(self.explorer.positions([at]))
        return {"at": at, "title": self._title(at), "media": _media(shown)}

    def detail(self, at: int) -> dict[str, Any]:
        """Return a sample with its columns, its reconstruction and its neighbours."""
        original, reconstruction = self.explorer.show_with_reconstruction(at)
        neighbours = self.explorer.neighbours(at)
        shown = self.explorer.show(self.explorer.positions([near for near, _ in neighbours])) if neighbours else []
        return {
            "at": at,
            "title": self._title(at),
            "columns": {name: _texts(values[at : at + 1])[0] for name, values in self._columns.items()},
            "original": _media(original),
            "reconstruction": _media(reconstruction),
            "neighbours": [
                {"at": near, "title": self._title(near), "distance": distance, "media": _media(media)}
                for (near, distance), media in zip(neighbours, shown, strict=True)
            ],
        }

    def decode(self, base: int | None, along: str, offsets: Sequence[float]) -> dict[str, Any]:
        """Return the decoded code of a sample, or of the mean, after it was moved along directions."""
        return {"media": _media(self.explorer.decode(base, along, offsets))}

    def path(self, start: int, end: int, steps: int) -> dict[str, Any]:
        """Return the decoded path between two samples, and its points on the map."""
        shown, points = self.explorer.path(start, end, steps)
        return {"frames": [_media(media) for media in shown], "points": points}

    def samples(self, num: int, seed: int, like: int | None) -> dict[str, Any]:
        """Return new samples of the model's sampler."""
        return {"samples": [_media(media) for media in self.explorer.new_samples(num, seed, like)]}

    def export(self, suffix: str, positions: Sequence[int]) -> tuple[str, bytes]:
        """Return the MIME type and the content of a table of chosen samples.

        Columns: what identifies the samples, x, y and the numbers of the code z0, z1, ....
        """
        if suffix not in _FORMATS:
            raise AeframeError(f"the explorer exports {' and '.join(_FORMATS)}, found '{suffix}'; choose one")
        if not positions:
            raise AeframeError("no points are chosen; draw a lasso around some")
        chosen = self.explorer.positions(positions).numpy()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"rows{suffix}"
            parts = np.split(chosen, range(_ROWS, len(chosen), _ROWS))
            self.write_rows(path, (_rows(self.explorer.embedding, part) for part in parts))
            return _FORMATS[suffix], path.read_bytes()

    @property
    def _columns(self) -> Mapping[str, NDArray[Any]]:
        return self.explorer.embedding.columns

    def _column(self, name: str) -> NDArray[Any]:
        if name not in self._columns:
            raise AeframeError(f"the samples have no column '{name}'{did_you_mean(name, list(self._columns))}")
        return self._columns[name]

    def _title(self, at: int) -> str:
        """Return the name of a sample, or its number in the data."""
        columns = self._columns
        if "name" in columns:
            return str(columns["name"][at])
        return f"sample {columns['index'][at]}" if "index" in columns else f"point {at}"


def _rows(embedding: Embedding, chosen: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    codes = embedding.codes[chosen].flatten(1).numpy()
    return {**row_columns(embedding, chosen), **{f"z{number}": codes[:, number] for number in range(codes.shape[1])}}


def _kind(values: NDArray[Any]) -> str | None:
    """Return whether a column has numbers or categories; None for texts of too many different values."""
    if values.dtype.kind == "f":
        return "number"
    is_integer = values.dtype.kind in "iu"
    num = len(np.unique(values if is_integer else _texts(values)))
    if num <= (_FEW_INTEGERS if is_integer else _MAX_CATEGORIES):
        return "category"
    return "number" if is_integer else None


def _texts(values: NDArray[Any]) -> NDArray[Any]:
    return values.astype(str)


def _base64(values: NDArray[Any]) -> str:
    return base64.b64encode(values.tobytes()).decode()


def _media(media: Sequence[Medium]) -> list[dict[str, str]]:
    """Return media with their content as text, or in Base64."""
    return [
        {"mime": medium.mime, "string": medium.content}
        if isinstance(medium.content, str)
        else {"mime": medium.mime, "base64": base64.b64encode(medium.content).decode()}
        for medium in media
    ]
