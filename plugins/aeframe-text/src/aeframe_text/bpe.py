"""Byte-pair encoding with the library ``tokenizers``."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from aeframe.errors import AeframeError
from aeframe_text.specials import SPECIALS, UNKNOWN
from aeframe_text.tokenisers import Tokeniser

_DEFAULT_SIZE, _NUM_BYTES = 4096, 256


class BytePairs(Tokeniser):
    """Byte-level byte-pair encoding (Sennrich, Haddow & Birch 2016, arXiv 1508.07909).

    The vocabulary starts with the 256 bytes and repeatedly merges the most frequent pair of neighbouring tokens. No
    text has unknown tokens, and decoding restores each text exactly. The library has no special tokens, since it would
    find them in texts that spell them; its ids come after those of `SPECIALS`.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    @classmethod
    def learn(cls, texts: Iterable[str], *, size: int | None, min_count: int) -> Self:
        size = _DEFAULT_SIZE if size is None else size
        minimum = len(SPECIALS) + _NUM_BYTES
        if size < minimum:
            raise AeframeError(
                f"modality 'text': tokeniser bpe needs vocabulary_size of at least {minimum} ({_NUM_BYTES} bytes and "
                f"{len(SPECIALS)} special tokens), found {size}"
            )
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=size - len(SPECIALS),
            min_frequency=min_count,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        return cls(tokenizer)

    @property
    def size(self) -> int:
        return len(SPECIALS) + int(self._tokenizer.get_vocab_size())

    def encode(self, text: str) -> list[int]:
        return [token + len(SPECIALS) for token in self._tokenizer.encode(text).ids]

    def decode(self, tokens: Sequence[int]) -> str:
        parts = []
        for is_special, group in itertools.groupby(tokens, lambda token: token < len(SPECIALS)):
            if is_special:
                parts += [SPECIALS[token] for token in group if token >= UNKNOWN]
            else:
                parts.append(self._tokenizer.decode([token - len(SPECIALS) for token in group]))
        return "".join(parts)

    def unknown(self, text: str) -> str | None:
        return None

    def state(self) -> dict[str, Any]:
        return {"bpe": json.loads(self._tokenizer.to_str())}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        return cls(Tokenizer.from_str(json.dumps(state["bpe"])))
