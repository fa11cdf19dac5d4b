"""Metrics of sentences, compared with results computed by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from aeframe.evaluation.evaluator import Evaluator, evaluation_mode, measure
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.noise import noise_of
from aeframe.types import Batch, DataSpec, Domain, ForwardOutput, TrainingProgress
from aeframe_text.bigrams import BigramModel, Bigrams
from aeframe_text.metrics import Perplexity, SentenceMatch
from aeframe_text.source import TextSource
from aeframe_text.specials import END, PAD, START, UNKNOWN

CPU = torch.device("cpu")
X = torch.tensor([[5, 6, END, PAD, PAD], [7, END, PAD, PAD, PAD], [8, 9, 5, END, PAD]])
BATCH = Batch(X, X != PAD, index=torch.arange(3), extras={"words": torch.tensor([2, 2, 4])})
SPEC = DataSpec((5,), Domain("category", 10), extras={"words": ()})


def model(**parts: Any) -> Autoencoder:
    config = {
        "encoder": {"name": "token_rnn", "embedding": 4, "hidden": 4},
        "latent": {"name": "gaussian", "dim": 2},
        "loss": "categorical",
        "objective": "elbo",
        **parts,
    }
    with noise_of(CPU, 1):
        return assemble(config, SPEC).eval()


def forward(made: Autoencoder, batch: Batch, *, sample: bool = False) -> ForwardOutput:
    with torch.no_grad():
        out: ForwardOutput = made(batch, sample=sample)
    return out


def test_perplexity_is_exp_of_the_bound_per_word() -> None:
    made, metric = model(), Perplexity()
    bounds = []
    for rows in (slice(0, 2), slice(2, 3)):
        out = forward(made, BATCH.rows(rows), sample=True)
        bound = made.terms(out, TrainingProgress()).bound
        assert bound is not None
        bounds.append(bound)
        metric.update(made, out)
    total = torch.cat(bounds).sum().item()
    found = {name: value.item() for name, value in metric.compute().items()}
    assert found["words"] == 8
    assert found["tokens"] == 9
    assert found["nats_by_word"] == pytest.approx(total / 8)
    assert found["nats_by_token"] == pytest.approx(total / 9)
    assert found["perplexity"] == pytest.approx(math.exp(total / 8))


def test_nats_per_token_of_a_uniform_prediction_are_the_log_of_the_vocabulary_size() -> None:
    made = model(latent={"name": "point", "dim": 2}, objective="deterministic")
    for parameter in made.decoder.parameters():
        torch.nn.init.zeros_(parameter)
    metric = Perplexity()
    metric.update(made, forward(made, BATCH))
    assert metric.compute()["nats_by_token"].item() == pytest.approx(math.log(10))


def test_unknown_words_are_told_apart() -> None:
    made, metric = model(), Perplexity()
    x = X.clone()
    x[0, 0] = x[2, 1] = UNKNOWN
    batch = Batch(x, BATCH.mask, index=BATCH.index, extras=BATCH.extras)
    out = forward(made, batch, sample=True)
    bound = made.terms(out, TrainingProgress()).bound
    assert bound is not None
    metric.update(made, out)
    found = {name: value.item() for name, value in metric.compute().items()}
    log_p = out.output.log_softmax(1)
    of_unknown = -(log_p[0, UNKNOWN, 0] + log_p[2, UNKNOWN, 1]).item()
    assert found["unknown_share"] == 2 / 8
    assert found["nats_by_known_word"] == pytest.approx((bound.sum().item() - of_unknown) / 6)
    assert found["perplexity_of_known"] == pytest.approx(math.exp(found["nats_by_known_word"]))
    # Without unknown words both perplexities are equal.
    metric.reset()
    metric.update(made, forward(made, BATCH, sample=True))
    values = metric.compute()
    assert values["perplexity_of_known"] == values["perplexity"]


def test_perplexity_is_measured_with_a_sample_of_z() -> None:
    made = model()
    evaluator = Evaluator(made, {"perplexity": {}, "sentences": {}}, seed=0)
    found = measure(evaluator, [BATCH], TrainingProgress(), CPU)
    # The posterior mean in place of the sample gives another value.
    assert found["nats_by_word"] == pytest.approx(found["bound"] * 3 / 8)
    with evaluation_mode(made):
        metric = Perplexity()
        metric.update(made, forward(made, BATCH))
    assert metric.compute()["nats_by_word"].item() != pytest.approx(found["nats_by_word"])


def test_matches_of_tokens_and_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    made = model()
    generated = X.clone()
    generated[0, 1] = 9
    generated[1, 3] = 5  # Positions after the end token are ignored.

    def generate(z: Tensor, *, condition: Any, like: Batch) -> Tensor:
        assert like.index is not None
        return generated[like.index]

    monkeypatch.setattr(made, "generate", cast("Callable[..., Tensor]", generate))
    for rows, token_match, exact_match in ((1000, 8 / 9, 2 / 3), (2, 4 / 5, 1 / 2)):
        metric = SentenceMatch(rows=rows)
        for part in (slice(0, 1), slice(1, 3)):
            metric.update(made, forward(made, BATCH.rows(part)))
        found = {name: value.item() for name, value in metric.compute().items()}
        assert found == pytest.approx({"token_match": token_match, "exact_match": exact_match})


def test_the_metrics_apply_to_sentences_only() -> None:
    spec = DataSpec((5,), Domain("category", 10))
    config = {"encoder": {"name": "mlp", "hidden": [4]}, "latent": {"name": "point", "dim": 2}, "loss": "categorical"}
    other = assemble(config, spec)
    assert not Perplexity.applies(other)
    assert not SentenceMatch.applies(other)


def test_padding_does_not_contribute_to_the_loss() -> None:
    made = model()
    longer = torch.nn.functional.pad(X, (0, 0))[:, :4]
    one, other = forward(made, BATCH), forward(made, Batch(longer, longer != PAD, extras=BATCH.extras))
    assert torch.allclose(one.reconstruction, other.reconstruction, atol=1e-6)
    # The negative log-probability of all tokens, end token included.
    log_p = one.output.log_softmax(1)
    for row in range(3):
        expected = sum(-log_p[row, X[row, position], position] for position in range(5) if X[row, position] != PAD)
        assert one.reconstruction[row].item() == pytest.approx(float(expected), rel=1e-5)


def test_sampled_sentences_end_with_padding() -> None:
    made = model()
    z = torch.zeros(200, 2)
    assert len(made.generate(z).unique(dim=0)) == 1
    with noise_of(CPU, 0):
        drawn = made.generate(z, draw=True)
    assert len(drawn.unique(dim=0)) > 50
    # Padding follows the end token, and only that.
    ended = (drawn == END).cumsum(1) - (drawn == END).long() > 0
    assert (drawn[ended] == PAD).all()
    assert (drawn[~ended] != PAD).all()
    beams = model(decoder={"name": "token_rnn", "embedding": 4, "hidden": 4, "beams": 3})
    assert len(beams.generate(z[:2]).unique(dim=0)) == 1


def test_a_bigram_model_by_hand() -> None:
    pairs = [(START, 5), (5, 6), (6, END), (START, 5), (5, END)]
    bigrams = BigramModel(torch.tensor([10 * v + w for v, w in pairs]), 10)
    # Five tokens of three kinds: P(w) = (c(w) + 3/10) / (5 + 3). Two kinds follow the two tokens 5.
    frequency = (1 + 0.3) / 8
    queried = torch.tensor([56, 57, 76])
    expected = [(1 + 2 * frequency) / 4, 2 * (0.3 / 8) / 4, frequency]
    assert bigrams.log_prob(queried).exp().tolist() == pytest.approx(expected)


@pytest.mark.parametrize("previous", [START, 5, 6, 7])
def test_probabilities_of_a_bigram_model_sum_to_one(previous: int) -> None:
    draws = torch.randint(0, 100, (200,), generator=torch.Generator().manual_seed(0))
    bigrams = BigramModel(draws[draws // 10 != 7], 10)
    assert bigrams.log_prob(10 * previous + torch.arange(10)).exp().sum().item() == pytest.approx(1.0)


def test_the_perplexity_of_bigrams_counts_ends_and_no_padding() -> None:
    made = model()
    metric = Bigrams(made)
    metric.update(made, forward(made, BATCH))
    assert metric.compute() == {}
    metric.reset()
    lengths = torch.tensor([3, 2])
    train = TextSource(
        torch.tensor([5, 6, END, 5, END]),
        lengths,
        width=5,
        extras={"words": lengths},
        index=torch.arange(2),
    )
    metric.read_training_split(train, seed=0)
    for rows in (slice(0, 2), slice(2, 3)):
        metric.update(made, forward(made, BATCH.rows(rows)))
    sentences = [[5, 6, END], [7, END], [8, 9, 5, END]]
    pairs = [10 * v + w for each in sentences for v, w in zip([START, *each], each, strict=False)]
    known = BigramModel(torch.tensor([10 * START + 5, 56, 62, 10 * START + 5, 52]), 10)
    nats = -known.log_prob(torch.tensor(pairs)).sum().item()
    assert metric.compute()["perplexity_of_bigrams"].item() == pytest.approx(math.exp(nats / 8))
    assert "2 training sentences" in metric.protocol()
