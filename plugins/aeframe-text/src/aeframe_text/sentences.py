"""A dataset of random sentences from a small grammar; it needs no file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from aeframe.data import Dataset
from aeframe.data.random_split import RandomSplit
from aeframe.noise import SPLITTING, noise_of
from aeframe_text.texts import Line, Origin, TextSplits, complete_splits

_DETERMINERS = ("the", "a", "my", "every")
_ADJECTIVES = ("small", "grey", "red", "quiet", "hungry", "bright")
_NOUNS = ("cat", "dog", "bird", "child", "teacher", "river", "garden", "house", "train", "song")
_VERBS = ("sees", "hears", "likes", "follows", "finds", "remembers")
_ADVERBS = ("today", "again", "slowly", "at night", "in spring")
_ORIGIN = Origin("data 'sentences', sentence")
_PATTERNS = ("statement", "question", "denial")


class Sentences(Dataset):
    """Random English sentences from a small grammar: statements, questions and denials, of 6 to 12 words.

    A statement is ``noun phrase, verb, noun phrase .``; a question has the form ``does ... see ... ?``, a denial
    ``... does not see ... .`` A noun phrase is a determiner, with probability 1/2 an adjective, and a noun. With
    probability 1/3 a sentence ends with an adverb. All words of a class are equally likely, and so are the three kinds
    of sentence, which are the labels.

    Args:
        size: The number of sentences.
        validation: Fraction of the sentences for validation.
        test: Fraction of the sentences for testing.
        seed: Seed of the sentences and of the split.
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
        # `split_record` is inherited; it stores the drawn split, so that a resumed run uses the same one.
        return complete_splits({"train": lines}, self.split, self.split_record)


def _sentence(row: int) -> Line:
    """Return a random sentence, number `row`, drawn from torch's global generator."""

    def choose(options: tuple[str, ...]) -> str:
        return options[int(torch.randint(len(options), ()))]

    def noun_phrase() -> str:
        adjective = f"{choose(_ADJECTIVES)} " if int(torch.randint(2, ())) else ""
        return f"{choose(_DETERMINERS)} {adjective}{choose(_NOUNS)}"

    subject, verb, object_, pattern = noun_phrase(), choose(_VERBS), noun_phrase(), choose(_PATTERNS)
    adverb = "" if int(torch.randint(3, ())) else f" {choose(_ADVERBS)}"
    infinitive = verb.removesuffix("s")
    text = {
        "statement": f"{subject} {verb} {object_}{adverb} .",
        "question": f"does {subject} {infinitive} {object_}{adverb} ?",
        "denial": f"{subject} does not {infinitive} {object_}{adverb} .",
    }[pattern]
    return Line(text, _ORIGIN, row + 1, label=pattern)
