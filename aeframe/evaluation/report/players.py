"""Sounds and videos of a trained model: samples with their reconstructions, and new samples, as files to play."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from aeframe.data.media import Medium
from aeframe.data.modality import Modality

PLAYED = {"audio/wav": ".wav", "audio/flac": ".flac", "audio/ogg": ".ogg", "video/mp4": ".mp4", "video/webm": ".webm"}
"""The suffix of the files of each MIME type that a player of a browser plays."""
NUM_PLAYED = 4
"""Number of reconstructions, and of new samples."""


def write_players(folder: Path, modality: Modality, panels: dict[str, Tensor]) -> list[Path]:
    """Write the sounds and videos of samples, as `Modality.show` returns them; return the files, none without any.

    The file ``original-1.wav`` is the first sample of the panel ``original``.

    Args:
        folder: Where the files are written; it exists.
        modality: The modality of the samples.
        panels: Samples ``(N, *shape)`` in the range of prepared data, by title, of which the first `NUM_PLAYED` are
            written. Those of the same number are shown beside one another.
    """
    shown = {title: x[:NUM_PLAYED].cpu() for title, x in panels.items()}
    first = next(iter(shown.values()))[:1]
    # Pictures of all samples, or of one by the default, would be drawn in vain.
    draws = type(modality).show is Modality.show
    if draws or not any(medium.mime in PLAYED for medium in modality.show(first)[0]):
        return []
    files = []
    media = iter(modality.show(torch.cat([*shown.values()])))
    for title, x in shown.items():
        for number in range(1, len(x) + 1):
            medium = next((each for each in next(media) if each.mime in PLAYED), None)
            if medium is not None:
                files.append(_written(medium, folder / f"{title}-{number}"))
    return files


def _written(medium: Medium, path: Path) -> Path:
    file = path.with_name(path.name + PLAYED[medium.mime])
    file.write_bytes(medium.content if isinstance(medium.content, bytes) else medium.content.encode())
    return file
