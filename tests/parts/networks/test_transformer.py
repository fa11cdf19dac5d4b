"""The transformer of token sequences: masked, and incremental."""

from __future__ import annotations

import pytest
import torch

from aeframe.parts.networks.transformer import Transformer

TOKENS = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def transformer() -> Transformer:
    torch.manual_seed(1)
    return Transformer(8, 2, 2, 16).eval()


@pytest.mark.parametrize("sizes", [(5,), (1, 1, 1, 1, 1), (2, 3)])
def test_incremental_attention_equals_masked_attention(transformer: Transformer, sizes: tuple[int, ...]) -> None:
    expected = transformer(TOKENS, torch.ones(5, 5, dtype=torch.bool).tril())
    cache, outputs = transformer.empty_cache(TOKENS), []
    for tokens in TOKENS.split(sizes, 1):
        output, cache = transformer.forward_incremental(tokens, cache)
        outputs.append(output)
    torch.testing.assert_close(torch.cat(outputs, 1), expected)
    assert [tuple(keys_and_values.shape) for keys_and_values in cache] == [(2, 5, 16)] * 2


def test_a_masked_token_has_no_influence(transformer: Transformer) -> None:
    mask = torch.tensor([True, True, True, True, False]).expand(5, 5)
    changed = TOKENS.clone()
    changed[:, 4] *= -1
    torch.testing.assert_close(transformer(changed, mask)[:, :4], transformer(TOKENS, mask)[:, :4])
    assert not torch.allclose(transformer(changed)[:, :4], transformer(TOKENS)[:, :4])


def test_dropout_acts_in_training_only() -> None:
    transformer = Transformer(8, 1, 2, 16, dropout=0.5)
    assert not torch.equal(transformer(TOKENS), transformer(TOKENS))
    transformer.eval()
    assert torch.equal(transformer(TOKENS), transformer(TOKENS))
