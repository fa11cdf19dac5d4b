"""Bad texts in a run: one sentence with the file and the line, and nothing written; or a list of what was left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from aeframe.testing.error_messages import run_expecting_error, run_expecting_skipped

LINES = [f"the {a} {b} sees {c} ." for a in ("old", "red", "") for b in ("cat", "dog") for c in ("me", "you", "us")]
WORDS = ["modality=text", "data=text_files", "batch_size=4", "encoder.embedding=8", "encoder.hidden=8", "latent.dim=2"]
WAY_OUT = "; mend or drop it, or leave such texts out of training with modality.on_error=skip"
LACKS = "which the vocabulary lacks (modality.unknown=token would make it <unk>)"


def lines(path: Path, bad: dict[int, str] | None = None) -> Path:
    """Write good lines, and the bad ones in their places, counted from 1."""
    texts = list(LINES)
    for number, text in (bad or {}).items():
        texts[number - 1] = text
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("bad", "words", "told"),
    [
        ({5: "  "}, [], "'a.txt', line 5 is empty"),
        (
            {7: "the old " * 5},
            ["modality.max_length=8"],
            "'a.txt', line 7 has 11 tokens with its end, and at most 8 fit (modality.too_long=cut cuts it)",
        ),
    ],
)
def test_a_bad_line_is_named_or_listed(tmp_path: Path, bad: dict[int, str], words: list[str], told: str) -> None:
    lines(tmp_path / "a.txt", bad)
    given = [*WORDS, "data.path=a.txt", *words]
    assert run_expecting_error(tmp_path, given) == told + WAY_OUT
    assert run_expecting_skipped(tmp_path, [*given, "modality.on_error=skip"]) == [told]


def test_a_token_that_training_has_not(tmp_path: Path) -> None:
    lines(tmp_path / "a.txt")
    lines(tmp_path / "b.txt", {3: "the zebra sees me ."})
    given = [*WORDS, "data.path=a.txt", "data.validation_path=b.txt", "data.test_path=b.txt", "modality.unknown=refuse"]
    told = f"'b.txt', line 3 has 'zebra', {LACKS}"
    assert run_expecting_error(tmp_path, given) == told + WAY_OUT
    # It is a line of two splits.
    assert run_expecting_skipped(tmp_path, [*given, "modality.on_error=skip"]) == [told, told]


def test_a_file_that_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(f'{{"text": "{text}"}}\n' for text in LINES)[:-12])
    given = [*WORDS, "data.path=a.jsonl"]
    told = "'a.jsonl', line 18 is no JSON (character 10: Unterminated string starting)"
    assert run_expecting_error(tmp_path, given) == told + WAY_OUT
    assert run_expecting_skipped(tmp_path, [*given, "modality.on_error=skip"]) == [told]


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    good = "\n".join(LINES).encode()
    (tmp_path / "a.txt").write_bytes(good + b"\ncaf\xe9\n")
    assert run_expecting_error(tmp_path, [*WORDS, "data.path=a.txt"]) == (
        f"'a.txt' is no UTF-8 (byte {len(good) + 4} cannot be read); save it as UTF-8"
    )
