"""RNNs and transformers over tokens: padding, batching, teacher forcing and incremental decoding agree."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from aeframe import AeframeError
from aeframe.factory import build
from aeframe.noise import noise_of
from aeframe.types import Batch, Domain
from aeframe_text.autoregressive import Autoregressive
from aeframe_text.rnn import TokenRNN
from aeframe_text.specials import START, UNKNOWN

CPU = torch.device("cpu")
V, T, Z = 30, 9, 4
LENGTHS = torch.tensor([9, 3, 1, 6, 5])
MASK = torch.arange(T) < LENGTHS.unsqueeze(1)
X = torch.randint(5, V, (5, T), generator=torch.Generator().manual_seed(0)).masked_fill(~MASK, 0)
BATCH = Batch(X, MASK)
ENCODERS: list[dict[str, Any]] = [
    {"name": "token_rnn", "cell": "lstm", "embedding": 6, "hidden": 5, "layers": 2},
    {"name": "token_rnn", "cell": "gru", "embedding": 6, "hidden": 5, "bidirectional": False},
    {"name": "token_transformer", "dim": 8, "heads": 2},
]
DECODERS: list[dict[str, Any]] = [
    {"name": "token_rnn", "cell": "lstm", "embedding": 6, "hidden": 5, "layers": 2},
    {"name": "token_rnn", "cell": "gru", "embedding": 6, "hidden": 6, "condition_via": ["prefix"]},
    {"name": "token_rnn", "embedding": 6, "hidden": 5, "condition_via": ["input"]},
    {"name": "token_transformer", "dim": 8, "heads": 2},
    {"name": "token_transformer", "dim": 8, "heads": 2, "condition_via": ["input"]},
]


def encoder(config: dict[str, Any]) -> Any:
    with noise_of(CPU, 1):
        return build("encoder", config, shape=(T,), domain=Domain("category", V)).eval()


def decoder(config: dict[str, Any]) -> Autoregressive:
    with noise_of(CPU, 1):
        made: Autoregressive = build("decoder", config, z_shape=(Z,), out_shape=(V, T)).eval()
    return made


@pytest.mark.parametrize("config", ENCODERS)
def test_features_of_a_sentence_do_not_depend_on_its_batch(config: dict[str, Any]) -> None:
    made = encoder(config)
    with torch.no_grad():
        together = made(BATCH)
        assert together.shape == (5, *made.out_shape)
        for row, length in enumerate(LENGTHS.tolist()):
            alone = made(Batch(X[row : row + 1, :length]))
            assert torch.allclose(together[row], alone[0], atol=1e-6)
            # The features depend on the order of the tokens.
            if length > 1:
                assert not torch.allclose(alone, made(Batch(X[row : row + 1, :length].flip(1))), atol=1e-4)


def test_final_states_equal_those_of_packed_sequences() -> None:
    made: TokenRNN = encoder({"name": "token_rnn", "embedding": 6, "hidden": 5, "layers": 2})
    packed = nn.LSTM(6, 5, 2, batch_first=True, bidirectional=True)
    for layer in range(2):
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            for cells, suffix in ((made.forward_layers, ""), (made.backward_layers, "_reverse")):
                getattr(packed, f"{kind}_l{layer}{suffix}").data = getattr(cells[layer], f"{kind}_l0").data
    with torch.no_grad():
        inputs = pack_padded_sequence(made.embed(X), LENGTHS, batch_first=True, enforce_sorted=False)
        _, (h, _) = packed(inputs)
        assert torch.allclose(made(BATCH), torch.cat([h[2], h[3]], 1), atol=1e-6)


@pytest.mark.parametrize("config", DECODERS)
def test_logits_depend_on_z_and_on_the_tokens_before(config: dict[str, Any]) -> None:
    made = decoder(config)
    z = torch.randn(5, Z, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        output = made(z, BATCH)
        assert output.shape == (5, V, T)
        other = made(z, Batch(X.index_fill(1, torch.tensor([4]), 7), MASK))
        changed = (output - other).abs().amax(1) > 1e-6
        assert not changed[:, :5].any()
        assert changed[0, 5:].all()
        # Logits depend neither on the padded length nor on the batch.
        assert torch.allclose(output[:, :, :6], made(z, Batch(X[:, :6], MASK[:, :6])), atol=1e-6)
        assert torch.allclose(output[3:4], made(z[3:4], BATCH.rows(slice(3, 4))), atol=1e-6)
        assert not torch.allclose(output[:, :, 0], made(z + 1, BATCH)[:, :, 0])


@pytest.mark.parametrize("config", DECODERS)
def test_incremental_decoding_equals_teacher_forcing(config: dict[str, Any]) -> None:
    made = decoder(config)
    z = torch.randn(5, Z, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        teacher_forced = made(z, Batch(X))
        state: list[Tensor] = [z, *made.initial_state(z)]
        tokens = torch.full((5,), START)
        for position in range(T):
            logits, state = made._step(tokens, state, first=position == 0)
            assert torch.allclose(logits, teacher_forced[:, :, position], atol=1e-5)
            tokens = X[:, position]


def test_words_are_dropped_in_training_only() -> None:
    made = decoder({"name": "token_rnn", "embedding": 6, "hidden": 5, "word_dropout": 1.0})
    z, unknown = torch.zeros(5, Z), Batch(torch.full_like(X, UNKNOWN))
    with torch.no_grad():
        clean, blind = made(z, Batch(X)), made(z, unknown)
        made.train()
        dropped = made(z, Batch(X))
    assert torch.allclose(dropped, blind)
    assert not torch.allclose(dropped, clean)


@pytest.mark.parametrize(
    ("kind", "config", "message"),
    [
        (
            "encoder",
            {"name": "token_rnn", "hidden": 0},
            "encoder token_rnn needs embedding, hidden and layers of at least 1 and dropout in [0, 1), found 128, 0, 1 "
            "and 0",
        ),
        (
            "encoder",
            {"name": "token_transformer", "dim": 10, "heads": 4},
            "encoder token_transformer needs dim, depth, heads and expansion * dim of at least 1, heads that divide "
            "dim, and dropout in [0, 1), found dim 10, depth 2, heads 4, expansion 4 and dropout 0",
        ),
        (
            "decoder",
            {"name": "token_transformer", "condition_via": ["start"]},
            "decoder token_transformer has no initial state, found start in condition_via; set it to prefix, input or "
            "both",
        ),
        (
            "decoder",
            {"name": "token_rnn", "condition_via": []},
            "decoder token_rnn needs at least one entry in condition_via to depend on z; set it to [input]",
        ),
        (
            "decoder",
            {"name": "token_rnn", "temperature": 0},
            "decoder token_rnn needs sizes and beams of at least 1 and a temperature above 0, found embedding 128, "
            "hidden 256, beams 1 and temperature 0",
        ),
        (
            "decoder",
            {"name": "token_rnn", "word_dropout": 2},
            "decoder token_rnn needs word_dropout in [0, 1] and dropout in [0, 1), found 2 and 0",
        ),
    ],
)
def test_invalid_options_are_refused(kind: str, config: dict[str, Any], message: str) -> None:
    shapes = (
        {"shape": (T,), "domain": Domain("category", V)}
        if kind == "encoder"
        else {"z_shape": (Z,), "out_shape": (V, T)}
    )
    with pytest.raises(AeframeError) as caught:
        build(kind, config, **shapes)
    assert str(caught.value) == message


def test_other_data_are_refused() -> None:
    with pytest.raises(AeframeError) as caught:
        build("encoder", "token_rnn", shape=(12,), domain=Domain("real"))
    assert str(caught.value) == (
        "encoder token_rnn is for tokens (T,) of at least 5 classes, as modality=text provides them, and these data "
        "are numbers of shape (12,); choose another part"
    )
