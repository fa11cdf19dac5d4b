"""The registered names and default options, and that listing them imports no heavy package."""

from __future__ import annotations

import json
import subprocess
import sys

from aeframe.factory import defaults

NAMES = {
    "modality": ["text"],
    "dataset": ["sentences", "text_files", "text_in_memory"],
    "corruption": ["span_corruption", "text_infilling", "token_deletion", "token_dropout"],
    "encoder": ["token_rnn", "token_transformer"],
    "decoder": ["token_rnn", "token_transformer"],
    "metric": ["bigrams", "perplexity", "sentences"],
    "feature_space": ["ngrams"],
    "config": ["text"],
    "command": ["between", "molecules"],
}


def test_names_are_listed_without_heavy_imports() -> None:
    code = (
        "import json, sys\n"
        "from aeframe.registry import registry\n"
        "names = {}\n"
        "for entry in registry().entries():\n"
        "    if entry.distribution == 'aeframe-text':\n"
        "        names.setdefault(entry.kind, []).append(entry.name)\n"
        "heavy = [m for m in ('torch', 'numpy', 'tokenizers', 'matplotlib') if m in sys.modules]\n"
        "print(json.dumps([names, heavy]))\n"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names, heavy = json.loads(process.stdout)
    assert {kind: sorted(found) for kind, found in names.items()} == NAMES
    assert heavy == []


def test_options_and_their_defaults() -> None:
    assert defaults("modality", "text") == {
        "name": "text", "tokeniser": "words", "vocabulary_size": None, "min_count": 1, "max_length": None,
        "too_long": "refuse", "unknown": "token", "on_error": "raise", "buckets": False, "tokens": None,
    }  # fmt: skip
    assert defaults("dataset", "text_files") == {
        "name": "text_files", "path": "???", "validation_path": None, "test_path": None, "column": "text",
        "label": None, "names": None, "messages": None, "encoding": None, "delimiter": None, "unit": None,
        "validation": 0.1, "test": 0.1, "split_seed": 0,
    }  # fmt: skip
