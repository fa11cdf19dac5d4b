"""Checks before training that the tokeniser fits the texts: whether a word is a word, and how long texts are."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from aeframe.errors import AeframeError
from aeframe_text.texts import Line

# Thai, Lao, Tibetan, Myanmar, Khmer; kana, ideographs; Chinese beyond the basic plane.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)
_NUM_CHECKED = 2000
_LONGEST_WORD = 6
"""Characters of words in such scripts, on average; those of segmented texts are shorter."""
_LONG_BY, _LEAST_LIMIT, _GREATEST_LIMIT = 8, 512, 2048


def check_words(texts: Sequence[Line]) -> None:
    """Check that texts have words separated by whitespace.

    Args:
        texts: The usable training texts, of which some are read.

    Raises:
        AeframeError: Most texts are in a script without spaces between words, or nearly every text is one token that no
            other text has.
    """
    step = max(1, len(texts) // _NUM_CHECKED)
    checked = texts[::step]
    pieces = [line.text.split() for line in checked]
    words = [word for words in pieces for word in words]
    unspaced = [word for word in words if 2 * len(_UNSPACED.findall(word)) > len(word)]
    length = sum(map(len, unspaced)) / max(1, len(unspaced))
    total = sum(map(len, words))
    if 2 * sum(map(len, unspaced)) > total and length > _LONGEST_WORD:
        raise AeframeError(
            f"modality 'text': tokeniser words separates at spaces, and the script of these texts has none between "
            f"words: {len(words)} words in {len(checked)} texts, of {length:.0f} characters on average, such as "
            f"'{_shortened(max(unspaced, key=len))}'; set modality.tokeniser=characters, or bpe"
        )
    num_different = len(set(words))
    if len(checked) >= 10 and len(words) < 1.2 * len(checked) and num_different > 0.8 * len(words):
        raise AeframeError(
            f"modality 'text': tokeniser words finds {len(words)} words in {len(checked)} texts, {num_different} "
            f"different ones such as '{_shortened(words[0])}', so that held-out texts have unknown words only; set "
            "modality.tokeniser=characters, bpe, or smiles for molecules"
        )


def length_limit(lengths: Sequence[int]) -> int:
    """Return the number of tokens beyond which a text is out of proportion, unless `max_length` is set.

    It is 8 times the length that 99 % of the training texts do not exceed, at least 512 and at most 2,048.

    Args:
        lengths: The numbers of tokens of the training texts, end tokens included.
    """
    return min(_GREATEST_LIMIT, max(_LEAST_LIMIT, _LONG_BY * usual_length(lengths)))


def usual_length(lengths: Sequence[int]) -> int:
    """Return the length that 99 % of texts do not exceed; of few texts the second longest."""
    ordered = sorted(lengths)
    return ordered[max(0, math.ceil(0.99 * len(ordered)) - 1 - (len(ordered) < 100))] if ordered else 0


def _shortened(word: str) -> str:
    return word if len(word) <= 20 else f"{word[:20]}..."
