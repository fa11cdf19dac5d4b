"""The check of how a modality reads damaged files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from aeframe.entrances import user_errors
from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.testing.check import check
from aeframe.testing.checks.writing import FORMATS
from aeframe.testing.expectations import NotApplicableError, expect
from aeframe.testing.guarded import can_fork, faults_of
from aeframe.testing.mutations import mutate
from aeframe.testing.part_under_test import PartUnderTest

_NUM = 40
"""Mutations of all formats together."""
_SECONDS = 20.0


@check(
    "mutated files",
    "damaged files end in one sentence: no traceback, no crash, no endless loop, bounded memory",
    kinds=["modality"],
    depends_on=("files round trip",),
)
def mutated_files(part: PartUnderTest) -> None:
    """Write samples in each format, damage the files, and read each in a process of limited memory and time.

    A file that cannot be read raises an `AeframeError` of one sentence.
    """
    if not can_fork():
        raise NotApplicableError("this system cannot limit the memory of a forked process")
    modality, x = part.setup.modality, part.setup.batch().nan_masked_x()
    state = modality.state()
    valid = part.folder / "valid"
    valid.mkdir(exist_ok=True)
    paths = []
    for name in part.options.formats.get(part.entry.name) or FORMATS:
        path = valid / name
        try:
            written = modality.write(x, path)
        except AeframeError:
            continue
        paths.append(path if path.exists() else written[0])
    if not paths:
        raise NotApplicableError(
            f"it writes none of {', '.join(FORMATS)}; name its formats in the suite: formats = "
            f"{{{part.entry.name!r}: [...]}}"
        )

    def attempt(number: int) -> tuple[str, Callable[[], object]]:
        path, file = _copy(paths[number % len(paths)], part.folder / "mutated", number // len(paths))
        content = file.read_bytes()
        changed, what = mutate(content, number) if content else (b"\xff", "one byte")
        file.write_bytes(changed)
        on_error: Literal["raise", "skip"] = "skip" if number % 3 == 0 else "raise"

        def read() -> None:
            restored = build("modality", part.config)
            restored.load_state(state)
            # What commands turn into one sentence may be raised.
            with user_errors():
                for _ in restored.open(path, on_error).batches(8):
                    pass

        return f"seed {number}, '{path.name}' ({on_error}), {what}", read

    faults = faults_of(attempt, _NUM, part.folder, seconds=_SECONDS)
    first = faults[0].strip().splitlines() if faults else []
    expect(
        not faults,
        f"{part.id} must read mutated files or raise an AeframeError of one line; {len(faults)} of {_NUM} ended "
        f"otherwise, the first with {first[0] if first else ''} ... {first[-1].strip() if first else ''}",
    )


def _copy(path: Path, folder: Path, number: int) -> tuple[Path, Path]:
    """Copy a file or a folder to an empty folder; return the copy, and the file of it to mutate."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    copy = folder / path.name
    if not path.is_dir():
        shutil.copyfile(path, copy)
        return copy, copy
    shutil.copytree(path, copy)
    files = sorted(file for file in copy.rglob("*") if file.is_file())
    return copy, files[number % len(files)]


CHECKS = (mutated_files,)
