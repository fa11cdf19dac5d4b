"""Losses and metrics of a sentence do not depend on padding, batching or the number of devices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from aeframe.data.modality import Source
from aeframe.testing.batch_invariance import (
    expect_batch_invariance,
    expect_invariant_metrics,
    outputs_per_sample,
    small_model,
)
from aeframe.testing.two_process_run import expect_two_processes_equal_one
from aeframe.types import DataSpec
from aeframe_text.modality import Text
from aeframe_text.sentences import Sentences

torch.set_num_threads(1)

# The defaults of the modality, then each network of the plugin.
MODELS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "gru, one direction": {
        "encoder": {"name": "token_rnn", "cell": "gru", "embedding": 8, "hidden": 8, "bidirectional": False},
        "decoder": {"name": "token_rnn", "cell": "gru", "embedding": 8, "hidden": 8, "condition_via": ["input"]},
    },
    "transformer": {
        "encoder": {"name": "token_transformer", "dim": 16},
        "decoder": {"name": "token_transformer", "dim": 16},
    },
    "transformer, z at each position": {
        "encoder": {"name": "token_transformer", "dim": 16},
        "decoder": {"name": "token_transformer", "dim": 16, "condition_via": ["input"]},
    },
}


def prepared(**options: Any) -> tuple[Text, DataSpec, Source]:
    """Return sentences of 6 to 12 words, ``(B, 30)``."""
    modality, dataset = Text(max_length=30, **options), Sentences(size=120)
    return modality, modality.spec(dataset), modality.prepare(dataset).validation


@pytest.mark.parametrize("parts", MODELS.values(), ids=MODELS)
def test_a_sentence_does_not_depend_on_its_batch(parts: dict[str, Any]) -> None:
    modality, spec, source = prepared()
    model, batch = small_model(modality, spec, **parts), source.batch(torch.arange(len(source)))
    assert batch.mask is not None
    lengths = batch.mask.sum(1)
    assert lengths.min() < lengths.max() < 30
    expect_batch_invariance(model, batch)
    longest, padded = int(lengths.max()), outputs_per_sample(model, batch)
    trimmed = outputs_per_sample(model, replace(batch, x=batch.x[:, :longest], mask=batch.mask[:, :longest]))
    for name, value in trimmed.items():
        expected = padded[name][:, :longest] if name == "x_hat" else padded[name]
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-5)


def test_metrics_do_not_depend_on_batches() -> None:
    modality, spec, source = prepared()
    found = expect_invariant_metrics(small_model(modality, spec), modality, source)
    assert {"accuracy", "perplexity", "token_match", "exact_match"} <= found.keys()
    # Buckets pad each batch to its own longest sentence.
    modality, spec, trimmed = prepared(buckets=True)
    assert trimmed.batch(torch.arange(3)).x.shape[1] < 30
    assert expect_invariant_metrics(small_model(modality, spec), modality, trimmed) == pytest.approx(found, rel=1e-4)


@pytest.mark.slow
def test_two_processes_train_the_same_model_as_one(tmp_path: Path) -> None:
    small = ["encoder.embedding=16", "encoder.hidden=16", "data.size=300"]
    # 240 training sentences, in batches whose sizes depend on their lengths.
    expect_two_processes_equal_one(
        tmp_path, ["modality=text", "modality.buckets=true", "modality.tokens=200", "batch_size=24", *small]
    )
