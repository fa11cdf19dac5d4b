"""The modality `text`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor

from aeframe.data import Dataset, Modality, Splits
from aeframe.errors import AeframeError
from aeframe.types import Batch, DataSpec, Domain
from aeframe_text.files import read_texts, write_texts
from aeframe_text.source import BucketSource, TextSource
from aeframe_text.specials import END, PAD, SPECIALS
from aeframe_text.texts import Line, TextSplits
from aeframe_text.tokenisers import Characters, Smiles, Tokeniser, TokeniserName, Words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OnError = Literal["raise", "skip"]
_WAY_OUT = "mend or drop it, or leave such texts out of training with modality.on_error=skip"


class Text(Modality):
    """Sentences as tokens ``(B, T)``, whole numbers of domain ``category(V)``: the text, its end, and padding, which
    `Batch.mask` does not count.

    The vocabulary is that of the training split, and T what the longest sentence of the run needs, its end included.
    ``extras["words"]`` is how many words a sentence has, its end being one, whatever its tokens are; and
    ``extras["label"]`` its label, as a number, where the data have labels (-1 for one that training lacks).

    Args:
        tokeniser: ``words`` (what stands between blanks), ``characters``, ``smiles`` (atoms and bonds of molecules) or
            ``bpe`` (pairs of bytes, joined by how often they come).
        vocabulary_size: At most so many tokens, the commonest, specials included; null keeps all, of ``bpe`` 4096.
        min_count: Of these only tokens that training has so many times.
        max_length: T, where it shall not be that of the longest sentence; longer ones are bad.
        too_long: What to do with them: ``refuse``, as for all that is bad, or ``cut`` them after T - 1 tokens.
        unknown: What the vocabulary lacks becomes the token ``<unk>``, or is bad (``refuse``).
        on_error: Sentences that are empty, too long or otherwise bad: ``raise``, or ``skip`` and list them.
        buckets: Train in batches of like lengths, and pad every batch to its own longest sentence only; for networks
            that take any T, ``token_rnn`` and ``token_transformer``.
        tokens: With `buckets`, a training batch has as many sentences as fit into so many tokens, padding included, in
            place of the run's ``batch_size``.

    Raises:
        AeframeError: Options that cannot be.
    """

    defaults: ClassVar[Mapping[str, str]] = {"encoder": "token_rnn", "loss": "categorical"}
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "perplexity", "sentences")
    dataset: ClassVar[str | None] = "sentences"

    def __init__(
        self,
        *,
        tokeniser: TokeniserName = "words",
        vocabulary_size: int | None = None,
        min_count: int = 1,
        max_length: int | None = None,
        too_long: Literal["refuse", "cut"] = "refuse",
        unknown: Literal["token", "refuse"] = "token",
        on_error: OnError = "raise",
        buckets: bool = False,
        tokens: int | None = None,
    ) -> None:
        if max_length is not None and max_length < 2:
            raise AeframeError(
                f"modality 'text' needs max_length of at least 2, a token and the end, found {max_length}"
            )
        if tokens is not None and not buckets:
            raise AeframeError("modality 'text' counts tokens in a batch with buckets only; set modality.buckets=true")
        if tokens is not None and tokens < 1:
            raise AeframeError(f"modality 'text' needs tokens of at least 1, found {tokens}")
        self.tokeniser: TokeniserName = tokeniser
        self.vocabulary_size, self.min_count = vocabulary_size, min_count
        self.max_length, self.too_long, self.unknown = max_length, too_long, unknown
        self.on_error, self.buckets, self.tokens = on_error, buckets, tokens
        self._learned: Tokeniser | None = None
        self._width = 0
        self._labels: tuple[str, ...] | None = None
        self._column = "text"
        # What `spec` has loaded for `prepare`, and what `learn` has encoded for `apply`: each is used once.
        self._loaded: tuple[Dataset, TextSplits] | None = None
        self._encoded_raw: tuple[TextSplits, dict[str, _Encoded], list[str]] | None = None

    # -- training ------------------------------------------------------------------------------------------------

    def spec(self, dataset: Dataset) -> DataSpec:
        """Return shape and domain; the vocabulary is learned for it, so the texts are read here."""
        dataset.describe()
        raw = dataset.load()
        self.learn(dataset, raw)
        self._loaded = dataset, raw
        extras = {"words": (), **({} if self._labels is None else {"label": ()})}
        return DataSpec((self._width,), Domain("category", self.vocabulary.size), extras=extras)

    def prepare(self, dataset: Dataset, *, learn: bool = True) -> Splits:
        if not learn or self._loaded is None or self._loaded[0] is not dataset:
            dataset.describe()
            return super().prepare(dataset, learn=learn)
        # `spec` has read and learned these texts.
        raw, self._loaded = self._loaded[1], None
        return self.apply(raw)

    def learn(self, dataset: Dataset, raw: Any) -> None:
        if not isinstance(raw, TextSplits):
            raise AeframeError(
                f"modality text reads TextSplits, and dataset {type(dataset).__name__} loads {type(raw).__name__}; "
                f"choose a dataset of this modality, or modality={type(dataset).modality}"
            )
        self._column = raw.column
        kind = _tokeniser(self.tokeniser)
        whole = (line.text for line in raw.train if line.problem is None)
        self._learned = kind.learn(whole, size=self.vocabulary_size, min_count=self.min_count)
        words = {line.label for line in raw.train if line.label is not None}
        self._labels = tuple(sorted(words)) if words else None
        self._width = self.max_length or 0
        if self.max_length is None:
            encoded, skipped = self._encoded_splits(raw)
            self._width = max(len(row) for found in encoded.values() for row in [[], *found.rows])
            self._encoded_raw = raw, encoded, skipped

    def apply(self, raw: TextSplits) -> Splits:
        if self._encoded_raw is not None and self._encoded_raw[0] is raw:
            _, encoded, skipped = self._encoded_raw
        else:
            encoded, skipped = self._encoded_splits(raw)
        self._encoded_raw = None
        empty = next((name for name, found in encoded.items() if not found.rows), None)
        if empty is not None:
            raise AeframeError(
                f"modality 'text' has no text left for the {empty} split; mend the {len(skipped)} bad ones"
            )
        train = encoded["train"]
        return Splits(
            self._source(train, bucketed=True) if self.buckets else self._source(train),
            self._source(encoded["validation"]),
            self._source(encoded["test"]),
            skipped,
        )

    def _encoded_splits(self, raw: TextSplits) -> tuple[dict[str, _Encoded], list[str]]:
        skipped: list[str] = []
        splits = {"train": raw.train, "validation": raw.validation, "test": raw.test}
        return {name: self._encoded(lines, skipped) for name, lines in splits.items()}, skipped

    @property
    def vocabulary(self) -> Tokeniser:
        """What training has learned.

        Raises:
            RuntimeError: Nothing yet.
        """
        if self._learned is None:
            raise RuntimeError("modality 'text' has learned nothing yet; call prepare or load_state first")
        return self._learned

    def state(self) -> dict[str, Any]:
        labels = None if self._labels is None else list(self._labels)
        return {"width": self._width, "labels": labels, "column": self._column, **self.vocabulary.state()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._width = int(state["width"])
        self._labels = None if state["labels"] is None else tuple(state["labels"])
        # Models saved before columns were kept read this one.
        self._column = state.get("column", "text")
        self._learned = _tokeniser(self.tokeniser).from_state(state)

    # -- files and pictures --------------------------------------------------------------------------------------

    def encode(self, texts: Sequence[str]) -> Batch:
        """Return texts as a batch ``(N, T)``, as `read` does."""
        if isinstance(texts, str) or not texts:
            raise AeframeError(f"modality 'text' encodes a list of at least one text, found {texts!r}")
        return self._batch(
            [Line(text, f"text {row}", None if text.strip() else "is empty") for row, text in enumerate(texts)]
        )

    def decode(self, x: Tensor) -> list[str]:
        """Return the texts of tokens ``(N, T)``, each as far as its first end."""
        texts = []
        for row in x.long().tolist():
            end = next((place for place, token in enumerate(row) if token in (END, PAD)), len(row))
            texts.append(self.vocabulary.decode(row[:end]))
        return texts

    def read(self, path: Path) -> Batch:
        """Read a file: lines of ``.txt`` and ``.smi``, JSONL, CSV and TSV (the key or column that training read).

        None is left out, whatever `on_error` says: row n is text n of the file.

        Raises:
            AeframeError: What training would refuse, and a text that is too long for the model.
        """
        return self._batch(read_texts(path, self._column))

    def write(self, x: Tensor, path: Path) -> list[Path]:
        """Write the texts of tokens ``(N, T)`` as the suffix says, in the formats that `read` reads."""
        return write_texts(path, self.decode(x.cpu()), self._column)

    def render(self, panels: Mapping[str, Tensor]) -> Figure:
        from aeframe_text.render import draw

        return draw({title: self.decode(x) for title, x in panels.items()})

    def _batch(self, lines: Sequence[Line]) -> Batch:
        source = self._source(self._encoded(lines), trim=False)
        return source.batch(torch.arange(len(source)))

    # -- the same for training and reading -----------------------------------------------------------------------

    def _encoded(self, lines: Sequence[Line], skipped: list[str] | None = None) -> _Encoded:
        """Return the tokens of each good line.

        A sentence for each that is not is raised, or added to `skipped` if that is given and `on_error` is ``skip``.
        """
        found = _Encoded([], [], [], [])
        for number, line in enumerate(lines):
            row = [] if line.problem else [*self.vocabulary.encode(line.text), END]
            problem = line.problem or self._problem(line, row)
            if problem is None:
                if len(row) > self._width > 0:
                    row = [*row[: self._width - 1], END]
                found.rows.append(row)
                found.numbers.append(number)
                found.words.append(len(line.text.split()) + 1)
                if self._labels is not None:
                    found.labels.append(self._labels.index(line.label) if line.label in self._labels else -1)
            elif skipped is None or self.on_error == "raise":
                raise AeframeError(f"{line.where} {problem}; {_WAY_OUT}")
            else:
                skipped.append(f"{line.where} {problem}")
        return found

    def _problem(self, line: Line, row: Sequence[int]) -> str | None:
        if self.unknown == "refuse":
            piece = self.vocabulary.unknown(line.text)
            if piece is not None:
                return f"has '{piece}', which the vocabulary lacks (modality.unknown=token would make it {SPECIALS[3]})"
        if self.too_long == "refuse" and 0 < self._width < len(row):
            return f"has {len(row)} tokens with its end, and at most {self._width} fit (modality.too_long=cut cuts it)"
        return None

    def _source(self, found: _Encoded, *, bucketed: bool = False, trim: bool | None = None) -> TextSource:
        extras = {"words": torch.tensor(found.words)}
        if self._labels is not None:
            extras["label"] = torch.tensor(found.labels)
        lengths = torch.tensor([len(row) for row in found.rows])
        # Half the memory of whole numbers of 64 bits, which a batch has.
        tokens = torch.tensor([token for row in found.rows for token in row], dtype=torch.int32)
        index = torch.tensor(found.numbers)
        if bucketed:
            return BucketSource(tokens, lengths, width=self._width, extras=extras, index=index, budget=self.tokens)
        trimmed = self.buckets if trim is None else trim
        return TextSource(tokens, lengths, width=self._width, extras=extras, index=index, trim=trimmed)


class _Encoded:
    """The good texts of a split."""

    def __init__(self, rows: list[list[int]], numbers: list[int], words: list[int], labels: list[int]) -> None:
        self.rows, self.numbers, self.words, self.labels = rows, numbers, words, labels


def _tokeniser(name: TokeniserName) -> type[Tokeniser]:
    if name == "bpe":
        from aeframe_text.bpe import BytePairs

        return BytePairs
    kinds: dict[str, type[Tokeniser]] = {"words": Words, "characters": Characters, "smiles": Smiles}
    return kinds[name]
