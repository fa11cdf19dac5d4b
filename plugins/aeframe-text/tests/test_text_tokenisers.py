"""Tokenisers: vocabularies, encoding and decoding."""

from __future__ import annotations

import json

import pytest

from aeframe import AeframeError
from aeframe_text.bpe import BytePairs
from aeframe_text.specials import SPECIALS, UNKNOWN
from aeframe_text.tokenisers import Characters, Smiles, Tokeniser, Words

TEXTS = ["the cat sees the dog", "the dog sees a <unk>", "naïve  cats, 3 of them!"]
MOLECULES = ["CC(=O)Oc1ccccc1C(=O)O", "C[C@@H](N)C(=O)[O-]", "BrCCl", "C%12CC%12"]


@pytest.mark.parametrize(
    ("kind", "texts"), [(Words, TEXTS[:2]), (Characters, TEXTS), (Smiles, MOLECULES), (BytePairs, TEXTS + MOLECULES)]
)
def test_texts_are_restored_and_the_state_is_plain(kind: type[Tokeniser], texts: list[str]) -> None:
    made = kind.learn(texts, size=None, min_count=1)
    again = kind.from_state(json.loads(json.dumps(made.state())))
    for text in texts:
        tokens = made.encode(text)
        assert all(0 <= token < made.size for token in tokens)
        assert made.decode(tokens) == text
        assert again.encode(text) == tokens
        assert again.decode(tokens) == text
    assert again.size == made.size


def test_words_are_numbered_by_frequency() -> None:
    made = Words.learn(TEXTS[:2], size=None, min_count=1)
    assert made.encode("the dog sees a cat") == [5, 6, 7, 8, 9]
    # An <unk> in the corpus is the special token.
    assert made.encode("<unk> zebra") == [UNKNOWN, UNKNOWN]
    assert made.unknown("the zebra") == "zebra"
    assert made.unknown("the <unk>") is None
    assert made.decode([5, UNKNOWN, 9, 2, 0, 0]) == "the <unk> cat"


def test_a_vocabulary_has_the_most_frequent_words() -> None:
    assert Words.learn(TEXTS[:2], size=8, min_count=1).encode("the dog sees a cat") == [5, 6, 7, UNKNOWN, UNKNOWN]
    assert Words.learn(TEXTS[:2], size=None, min_count=2).size == len(SPECIALS) + 3
    with pytest.raises(AeframeError) as caught:
        Words.learn(TEXTS[:2], size=None, min_count=9)
    assert str(caught.value) == (
        "modality 'text' has an empty vocabulary: vocabulary_size=None and min_count=9 leave none of 5 tokens; raise "
        "vocabulary_size or lower min_count"
    )


def test_atoms_are_one_token_each() -> None:
    assert Smiles.split("C[C@@H](N)C(=O)[O-]") == ["C", "[C@@H]", "(", "N", ")", "C", "(", "=", "O", ")", "[O-]"]
    assert Smiles.split("BrCCl") == ["Br", "C", "Cl"]
    assert Smiles.split("C%12CC%12") == ["C", "%12", "C", "C", "%12"]


def test_byte_pairs_encode_any_text() -> None:
    made = BytePairs.learn(TEXTS * 4, size=300, min_count=1)
    assert made.size <= 300
    assert made.unknown("日本") is None
    assert made.decode(made.encode("日本 zebra")) == "日本 zebra"
    # Frequent strings are merged into few tokens.
    assert len(made.encode(" sees")) < len(" sees")
    with pytest.raises(AeframeError) as caught:
        BytePairs.learn(TEXTS, size=100, min_count=1)
    assert str(caught.value) == (
        "modality 'text': tokeniser bpe needs vocabulary_size of at least 261 (256 bytes and 5 special tokens), found "
        "100"
    )


SPELLED = ["a </s> b", "<pad> <s> </s> <mask>", "</s>", "x<pad>y </s></s>", "<mask>"]


@pytest.mark.parametrize("kind", [Words, Characters, Smiles, BytePairs])
@pytest.mark.parametrize("in_training", [True, False])
def test_a_text_that_spells_a_special_token_is_ordinary_text(kind: type[Tokeniser], in_training: bool) -> None:
    texts = [text.replace(" ", "") for text in SPELLED] if kind is Smiles else SPELLED
    learned = texts if in_training else ["a b x y </p>ads mk"]
    made = kind.from_state(json.loads(json.dumps(kind.learn(learned, size=None, min_count=1).state())))
    for text in texts:
        tokens = made.encode(text)
        assert all(token == UNKNOWN or len(SPECIALS) <= token < made.size for token in tokens)
        if in_training or kind is BytePairs:
            assert UNKNOWN not in tokens
            assert made.decode(tokens) == text
    # Special tokens are not written, but for those that stand for something.
    known = made.encode("a")
    assert made.decode([*known, 0, 1, 2, 3, 4, *known]) == ("a <unk> <mask> a" if kind is Words else "a<unk><mask>a")
