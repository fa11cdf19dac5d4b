"""The players of a report: sounds and videos of samples, embedded in the page."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aeframe.evaluation.report.players import PLAYED
from aeframe.runs.report.markup import Html, element, join

MAX_BYTES = 8_000_000
"""Bytes of all files that a page has players for; in the page they take a third more."""
_MIME = {suffix: mime for mime, suffix in PLAYED.items()}
_CAPTIONS = {"original": "original", "reconstruction": "reconstruction", "sample": "new sample"}
_FILE = re.compile(rf"({'|'.join(_CAPTIONS)})-(\d+)")


@dataclass(frozen=True, slots=True)
class Players:
    """Sounds and videos by panel and number of the sample: ``("original", 1)``."""

    media: Mapping[tuple[str, int], tuple[str, bytes]] = field(default_factory=dict, repr=False)
    """MIME type and content."""
    num_left_out: int = 0
    """Files that would have made the page too large."""


def read_players(folder: Path) -> Players:
    """Return the sounds and videos in the folder of pictures, as many as `MAX_BYTES` allow."""
    found: dict[tuple[int, str], Path] = {}
    for file in folder.glob("*-*.*"):
        match = _FILE.fullmatch(file.stem)
        if match is not None and file.suffix in _MIME and file.is_file():
            found[int(match[2]), match[1]] = file
    media: dict[tuple[str, int], tuple[str, bytes]] = {}
    total = 0
    # The first sample, its reconstruction and a new sample are more useful than many originals.
    for number, panel in sorted(found):
        file = found[number, panel]
        total += file.stat().st_size
        if total > MAX_BYTES:
            break
        media[panel, number] = (_MIME[file.suffix], file.read_bytes())
    return Players(media, len(found) - len(media))


def players(found: Players) -> Html | None:
    """Return players of samples beside their reconstructions, and of new samples; None without any."""
    if not found.media and not found.num_left_out:
        return None
    numbers = sorted({number for panel, number in found.media if panel != "sample"})
    pairs = [
        element("div", *(_player(found, panel, number) for panel in ("original", "reconstruction")), class_="pair")
        for number in numbers
    ]
    new = [_player(found, "sample", number) for panel, number in sorted(found.media) if panel == "sample"]
    parts = []
    if pairs:
        parts += [element("h3", "Samples beside their reconstructions"), *pairs]
    if new:
        parts += [element("h3", "New samples"), element("div", *new, class_="pair")]
    if found.num_left_out:
        parts.append(
            element(
                "p",
                f"Players hold at most {MAX_BYTES // 1_000_000} MB; {found.num_left_out} more files are in the folder "
                "of pictures of the run.",
            )
        )
    return join(parts)


def _player(found: Players, panel: str, number: int) -> Html:
    """Return the player of a sample with its caption; empty if it has none."""
    if (panel, number) not in found.media:
        return Html()
    mime, content = found.media[panel, number]
    kind, caption = mime.partition("/")[0], f"{_CAPTIONS[panel]} {number}"
    source = f"data:{mime};base64,{base64.b64encode(content).decode('ascii')}"
    loop = {"loop": "", "muted": "", "playsinline": ""} if mime.startswith("video/") else {}
    player = element(kind, src=source, controls="", preload="metadata", aria_label=caption, **loop)
    return element("figure", element("figcaption", caption), player, class_="player")
