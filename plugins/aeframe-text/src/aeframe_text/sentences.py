"""Sentences of a small grammar: something to train on where there is no file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from aeframe.data import Dataset
from aeframe.data.random_split import RandomSplit
from aeframe.noise import SPLITTING, noise_of
from aeframe_text.texts import Line, TextSplits, complete_splits

_DETERMINERS = ("the", "a", "my", "every")
_ADJECTIVES = ("small", "grey", "red", "quiet", "hungry", "bright")
_NOUNS = ("cat", "dog", "bird", "child", "teacher", "river", "garden", "house", "train", "song")
_VERBS = ("sees", "hears", "likes", "follows", "finds", "remembers")
_ADVERBS = ("today", "again", "slowly", "at night", "in spring")
_PATTERNS = ("statement", "question", "denial")


class Sentences(Dataset):
    """English sentences of a stated grammar, drawn at random: statements, questions and denials.

    A statement is *noun phrase, verb, noun phrase*; a question is that in the form ``does ... see ... ?``, and a denial
    ``... does not see ... .`` A noun phrase is a determiner, an adjective in one case of two, and a noun; an adverb
    ends one sentence of three. Words are drawn alike, and the pattern is the label. Sentences have 6 to 12 words.

    Args:
        size: How many sentences.
        validation: Fraction for validation.
        test: Fraction for testing.
        seed: Of the draw.
    """

    modality: ClassVar[str] = "text"

    def __init__(self, *, size: int = 2000, validation: float = 0.1, test: float = 0.1, seed: int = 0) -> None:
        self.size, self.seed = size, seed
        self.split = RandomSplit("data 'sentences'", "sentences", validation=validation, test=test, seed=seed)

    def describe(self) -> Mapping[str, Any]:
        return {}

    def load(self) -> TextSplits:
        with noise_of(torch.device("cpu"), self.seed, SPLITTING):
            lines = [_sentence(row) for row in range(self.size)]
        return complete_splits({"train": lines}, self.split, self.split_record)


def _sentence(row: int) -> Line:
    def one(of: tuple[str, ...]) -> str:
        return of[int(torch.randint(len(of), ()))]

    def phrase() -> str:
        adjective = f"{one(_ADJECTIVES)} " if int(torch.randint(2, ())) else ""
        return f"{one(_DETERMINERS)} {adjective}{one(_NOUNS)}"

    who, verb, whom, pattern = phrase(), one(_VERBS), phrase(), one(_PATTERNS)
    adverb = "" if int(torch.randint(3, ())) else f" {one(_ADVERBS)}"
    plain = verb.removesuffix("s")
    text = {
        "statement": f"{who} {verb} {whom}{adverb} .",
        "question": f"does {who} {plain} {whom}{adverb} ?",
        "denial": f"{who} does not {plain} {whom}{adverb} .",
    }[pattern]
    return Line(text, f"data 'sentences', sentence {row + 1}", label=pattern)
