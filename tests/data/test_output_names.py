"""Paths of output files: names are kept, and nothing leaves the folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from aeframe.data.output_names import output_paths


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.wav", "deep/b.flac"], ["a.wav", "deep/b.flac"]),
        (["a.mp3", "a.wav", "A.WAV"], ["a.wav", "a-2.wav", "A-3.WAV"]),
        (["cell 1.5", "AAAC-1"], ["cell 1.5.wav", "AAAC-1.wav"]),
        (["../../etc/x", "/etc/x", "..", ""], ["etc/x.wav", "etc/x-2.wav", "000002.wav", "000003.wav"]),
        (["C:\\x\\y.wav", "a\nb.wav", ".hid.wav", "end. /x"], ["C__x_y.wav", "a_b.wav", "hid.wav", "end/x.wav"]),
    ],
)  # fmt: skip
def test_names_are_kept_within_the_folder(tmp_path: Path, names: list[str], expected: list[str]) -> None:
    paths = output_paths(tmp_path, names, suffix=".wav", written={".flac"}, read={".mp3"})
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == expected
