"""The feature space `ngrams`: how often texts contain each sequence of a few characters."""

from __future__ import annotations

import torch
from torch import Tensor

from aeframe.data import Modality
from aeframe.errors import AeframeError
from aeframe.evaluation.feature_spaces import ReducedSpace
from aeframe.types import DataSpec
from aeframe_text.modality import Text


class CharacterNgrams(ReducedSpace):
    """Principal components of the frequencies of character n-grams in the texts of tokens.

    The n-grams have 1 to `longest` characters and are hashed to `buckets` numbers, whose square root is taken, as for
    the Hellinger distance; spaces count as characters. They depend neither on the vocabulary nor on a pretrained model.

    Args:
        modality: Kind of data of the model, which must be ``text``.
        spec: Shape and domain of the texts.
        components: Number of components.
        longest: Largest number of characters of an n-gram.
        buckets: Number of hash values.
    """

    def __init__(
        self, modality: Modality, spec: DataSpec, *, components: int = 32, longest: int = 3, buckets: int = 2048
    ) -> None:
        super().__init__(components=components)
        if not isinstance(modality, Text):
            raise AeframeError(
                f"feature space ngrams is for modality text, found {type(modality).__name__}; choose another one"
            )
        if longest < 1 or buckets < 2:
            raise AeframeError(
                f"feature space ngrams takes longest of at least 1 and buckets of at least 2, found {longest} and "
                f"{buckets}"
            )
        self.modality, self.longest, self.buckets = modality, longest, buckets

    def raw(self, x: Tensor) -> Tensor:
        from sklearn.feature_extraction.text import HashingVectorizer

        vectorizer = HashingVectorizer(
            analyzer="char",
            ngram_range=(1, self.longest),
            n_features=self.buckets,
            norm="l1",
            alternate_sign=False,
            lowercase=False,
        )
        return torch.from_numpy(vectorizer.transform(self.modality.decode(x.cpu())).toarray()).float().sqrt()
