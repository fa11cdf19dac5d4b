"""Unusable texts in a run: an error that names file and line and leaves no files, or a list of the skipped texts."""

from __future__ import annotations

from pathlib import Path

import pytest

from aeframe.testing.error_messages import run_expecting_error, run_expecting_skipped

LINES = [f"the {a} {b} sees {c} ." for a in ("old", "red", "") for b in ("cat", "dog") for c in ("me", "you", "us")]
OVERRIDES = [
    "modality=text", "data=text_files", "batch_size=4", "encoder.embedding=8", "encoder.hidden=8", "latent.dim=2"
]  # fmt: skip
NEXT_STEP = "; correct or remove it, or set modality.on_error=skip to leave such texts out of training"
NOT_IN_VOCABULARY = "which is not in the vocabulary (modality.unknown=token replaces it by <unk>)"


def write_lines(path: Path, bad: dict[int, str] | None = None) -> Path:
    """Write `LINES`, some replaced by the lines `bad`, by line number from 1."""
    texts = list(LINES)
    for number, text in (bad or {}).items():
        texts[number - 1] = text
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("bad", "overrides", "message"),
    [
        ({5: "  "}, [], "'a.txt', line 5 is empty"),
        (
            {7: "the old " * 5},
            ["modality.max_length=8"],
            "'a.txt', line 7 has 11 tokens, end token included, and at most 8 fit (modality.too_long=cut truncates it)",
        ),
    ],
)
def test_an_unusable_line_is_reported_or_skipped(
    tmp_path: Path, bad: dict[int, str], overrides: list[str], message: str
) -> None:
    write_lines(tmp_path / "a.txt", bad)
    run = [*OVERRIDES, "data.path=a.txt", *overrides]
    assert run_expecting_error(tmp_path, run) == message + NEXT_STEP
    assert run_expecting_skipped(tmp_path, [*run, "modality.on_error=skip"]) == [message]


def test_an_unknown_token_is_reported_or_skipped(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.txt")
    write_lines(tmp_path / "b.txt", {3: "the zebra sees me ."})
    held_out = ["data.validation_path=b.txt", "data.test_path=b.txt"]
    run = [*OVERRIDES, "data.path=a.txt", *held_out, "modality.unknown=refuse"]
    message = f"'b.txt', line 3 has 'zebra', {NOT_IN_VOCABULARY}"
    assert run_expecting_error(tmp_path, run) == message + NEXT_STEP
    # The line is part of two splits.
    assert run_expecting_skipped(tmp_path, [*run, "modality.on_error=skip"]) == [message, message]


def test_a_truncated_file_is_reported_or_skipped(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(f'{{"text": "{text}"}}\n' for text in LINES)[:-12])
    run = [*OVERRIDES, "data.path=a.jsonl"]
    message = "'a.jsonl', line 18 is not JSON (character 10: Unterminated string starting)"
    assert run_expecting_error(tmp_path, run) == message + NEXT_STEP
    assert run_expecting_skipped(tmp_path, [*run, "modality.on_error=skip"]) == [message]


def test_bytes_that_are_not_utf_8_are_an_error(tmp_path: Path) -> None:
    good = "\n".join(LINES).encode()
    (tmp_path / "a.txt").write_bytes(good + b"\ncaf\xe9\n")
    assert run_expecting_error(tmp_path, [*OVERRIDES, "data.path=a.txt"]) == (
        "'a.txt', line 19 is not UTF-8 (byte 4 of the line is 0xe9); set data.encoding, for example to cp1252, which "
        "reads 'café' there, or save the file as UTF-8"
    )
