"""The modality `text`: sentences as padded sequences of token ids."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor

from aeframe.data import Dataset, FileSamples, Modality, OnError, Splits, TensorSource
from aeframe.errors import AeframeError
from aeframe.model_store.inputs import FarFromTrainingWarning
from aeframe.types import Batch, DataSpec, Domain
from aeframe_text.files import read_texts, write_texts
from aeframe_text.source import BucketSource, TextSource
from aeframe_text.specials import END, PAD, SPECIALS, UNKNOWN
from aeframe_text.text_in_memory import lines_of
from aeframe_text.texts import Line, TextSplits
from aeframe_text.tokenisers import Characters, Smiles, Tokeniser, TokeniserName, Words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NEXT_STEP = "correct or remove it, or set modality.on_error=skip to leave such texts out of training"


class Text(Modality):
    """Sentences as token ids ``(B, T)`` of domain ``category(V)``: the tokens of the text, an end token, and padding,
    where `Batch.mask` is False.

    The vocabulary is learned from the training split. T is the length of the longest sentence of all splits, end token
    included. ``extras["words"]`` ``(B,)`` is the number of words, plus one for the end, whatever the tokeniser. Where
    the data have labels, ``extras["label"]`` ``(B,)`` is the class index, -1 for a class without training sentence.
    Labels of samples in memory keep the codes of their dataset.

    Args:
        tokeniser: ``words`` (separated by whitespace), ``characters``, ``smiles`` (atoms and bonds of molecules) or
            ``bpe`` (byte-pair encoding).
        vocabulary_size: Maximal size of the vocabulary, special tokens included; the most frequent tokens are kept.
            Null has no limit, except 4096 for ``bpe``.
        min_count: Minimal number of occurrences of a token in the training split.
        max_length: T, the end token included; null takes the length of the longest sentence.
        too_long: Sentences of more than `max_length` tokens: ``refuse`` makes them errors, ``cut`` truncates them to
            T - 1 tokens and an end token.
        unknown: Tokens outside the vocabulary: ``token`` replaces them by ``<unk>``, ``refuse`` makes them errors.
        on_error: Empty, too long or otherwise unusable sentences: ``raise`` stops, ``skip`` leaves them out of training
            and lists them.
        buckets: Train in batches of sentences of similar length, each padded to its longest sentence only. It requires
            networks for any T: ``token_rnn`` and ``token_transformer``.
        tokens: With `buckets`, the number of tokens of a training batch, padding included; it replaces the run's
            ``batch_size``.

    Raises:
        AeframeError: Invalid options.
    """

    defaults: ClassVar[Mapping[str, str]] = {"encoder": "token_rnn", "loss": "categorical"}
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "perplexity", "sentences")
    dataset: ClassVar[str | None] = "sentences"
    in_memory: ClassVar[str | None] = "text_in_memory"

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
            raise AeframeError("modality 'text' uses tokens only with buckets; set modality.buckets=true")
        if tokens is not None and tokens < 1:
            raise AeframeError(f"modality 'text' needs tokens of at least 1, found {tokens}")
        self.tokeniser: TokeniserName = tokeniser
        self.vocabulary_size, self.min_count = vocabulary_size, min_count
        self.max_length, self.too_long, self.unknown = max_length, too_long, unknown
        self.on_error, self.buckets, self.tokens = on_error, buckets, tokens
        self._vocabulary: Tokeniser | None = None
        self._width = 0
        self._labels: tuple[str, ...] | None = None
        self._column = "text"
        self._label: str | None = None
        # `spec` keeps the loaded texts for `prepare`, and `learn` the encoded ones for `apply`; each is used once.
        self._loaded: tuple[Dataset, TextSplits] | None = None
        self._encoded_raw: tuple[TextSplits, dict[str, _Encoded], list[str]] | None = None

    # -- training ------------------------------------------------------------------------------------------------

    def spec(self, dataset: Dataset) -> DataSpec:
        """Return shape and domain; they depend on the vocabulary, so this loads the texts and learns it."""
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
        # `spec` has already loaded these texts and learned their vocabulary.
        raw, self._loaded = self._loaded[1], None
        return self.apply(raw)

    def learn(self, dataset: Dataset, raw: Any) -> None:
        if not isinstance(raw, TextSplits):
            raise AeframeError(
                f"modality text reads TextSplits, and dataset {type(dataset).__name__} loads {type(raw).__name__}; "
                f"choose a dataset of this modality, or modality={type(dataset).modality}"
            )
        self._column, self._label = raw.column, raw.label
        tokeniser = _tokeniser_class(self.tokeniser)
        usable = (line.text for line in raw.train if line.problem is None)
        self._vocabulary = tokeniser.learn(usable, size=self.vocabulary_size, min_count=self.min_count)
        labels = {line.label for line in raw.train if line.label is not None}
        names = tuple(sorted(map(str, labels))) if raw.label_names is None else raw.label_names
        self._labels = names if labels else None
        self._width = self.max_length or 0
        if self.max_length is None:
            encoded, skipped = self._encode_splits(raw)
            self._width = max(len(row) for split in encoded.values() for row in [[], *split.rows])
            self._encoded_raw = raw, encoded, skipped

    def apply(self, raw: TextSplits) -> Splits:
        if self._encoded_raw is not None and self._encoded_raw[0] is raw:
            _, encoded, skipped = self._encoded_raw
        else:
            encoded, skipped = self._encode_splits(raw)
        self._encoded_raw = None
        empty = next((name for name, split in encoded.items() if not split.rows), None)
        if empty is not None:
            raise AeframeError(
                f"modality 'text' has no usable text for the {empty} split; correct the {len(skipped)} skipped texts"
            )
        train = encoded["train"]
        return Splits(
            self._source(train, bucketed=True) if self.buckets else self._source(train),
            self._source(encoded["validation"]),
            self._source(encoded["test"]),
            skipped,
            self._labels or None,
        )

    def _encode_splits(self, raw: TextSplits) -> tuple[dict[str, _Encoded], list[str]]:
        """Return the encoded texts of each split, and a message for each skipped text."""
        skipped: list[str] = []
        splits = {"train": raw.train, "validation": raw.validation, "test": raw.test}
        return {name: self._encode_lines(lines, skipped) for name, lines in splits.items()}, skipped

    @property
    def vocabulary(self) -> Tokeniser:
        """The tokeniser with the vocabulary of the training split.

        Raises:
            RuntimeError: None was learned or loaded.
        """
        if self._vocabulary is None:
            raise RuntimeError("modality 'text' has no vocabulary yet; call prepare or load_state first")
        return self._vocabulary

    def state(self) -> dict[str, Any]:
        labels = None if self._labels is None else list(self._labels)
        names = {"column": self._column, "label": self._label}
        return {"width": self._width, "labels": labels, **names, **self.vocabulary.state()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._width = int(state["width"])
        self._labels = None if state["labels"] is None else tuple(state["labels"])
        self._column, self._label = state["column"], state.get("label")
        self._vocabulary = _tokeniser_class(self.tokeniser).from_state(state)

    # -- samples in memory ---------------------------------------------------------------------------------------

    def prepare_samples(self, x: Any) -> Batch:
        """Return strings as a batch ``(N, T)``; no text is skipped, whatever `on_error`.

        Args:
            x: A list, an array ``(N,)`` or a series of strings, or a data frame with one column of strings.

        Raises:
            AeframeError: A text is empty, missing or too long for the model, or has an unknown token with `unknown`
                ``refuse``.
        """
        return self._batch(lines_of(x))

    def restore_samples(self, x: Tensor) -> list[str]:
        """Return the texts of tokens ``(N, T)``, as `decode`."""
        return self.decode(x.cpu())

    # -- files and figures ---------------------------------------------------------------------------------------

    def encode(self, texts: Sequence[str]) -> Batch:
        """Return texts as a batch ``(N, T)``.

        Raises:
            AeframeError: `texts` is not a list, or has a text that `read` would refuse.
        """
        if isinstance(texts, str) or not texts:
            raise AeframeError(f"modality 'text' encodes a list of at least one text, found {texts!r}")
        return self._batch(
            [Line(text, f"text {row}", None if text.strip() else "is empty") for row, text in enumerate(texts)]
        )

    def decode(self, x: Tensor) -> list[str]:
        """Return the texts of tokens ``(N, T)``, each up to its first end token or padding."""
        texts = []
        for row in x.long().tolist():
            end = next((position for position, token in enumerate(row) if token in (END, PAD)), len(row))
            texts.append(self.vocabulary.decode(row[:end]))
        return texts

    def open(self, path: Path, on_error: OnError) -> FileSamples:
        """Read a file: lines of ``.txt`` and ``.smi``, JSONL, CSV and TSV (the key or column of the training data).

        Row n of the batch is text n of the file; no text is skipped, whatever `on_error`. If the file has the labels of
        training, ``extras["label"]`` is the class index, -1 for another class.

        Raises:
            AeframeError: A text that is unusable or too long for the model.
        """
        batch = self._batch(self._labelled_texts(path) or read_texts(path, self._column))
        source = TensorSource(batch.x, mask=batch.mask, condition=batch.condition, extras=batch.extras)
        return FileSamples(source)

    def _labelled_texts(self, path: Path) -> list[Line] | None:
        """Return the texts of a file with labels; None for a file without labels."""
        if self._label is None:
            return None
        try:
            lines = read_texts(path, self._column, self._label)
        except AeframeError:
            # No such column; any other problem is raised again when the texts are read without labels.
            return None
        return None if any(line.problem for line in lines) else lines

    def write(self, x: Tensor, path: Path, *, names: Sequence[str] | None = None) -> list[Path]:
        """Write the texts of tokens ``(N, T)`` in the format of the suffix, one of those that `read` reads."""
        return write_texts(path, self.decode(x.cpu()), self._column)

    def render(self, panels: Mapping[str, Tensor]) -> Figure:
        from aeframe_text.render import draw

        return draw({title: self.decode(x) for title, x in panels.items()})

    def _batch(self, lines: Sequence[Line]) -> Batch:
        encoded = self._encode_lines(lines)
        self._warn_of_unknown(lines, encoded)
        source = self._source(encoded, trim=False)
        batch = source.batch(torch.arange(len(source)))
        if all(line.label is None for line in lines):
            batch.extras.pop("label", None)
        return batch

    def _warn_of_unknown(self, lines: Sequence[Line], encoded: _Encoded) -> None:
        """Warn if more than half of the tokens are not in the vocabulary: the codes of such texts say little."""
        # Each row ends in an end token.
        num = sum(len(row) - 1 for row in encoded.rows)
        num_unknown = sum(row.count(UNKNOWN) for row in encoded.rows)
        if 2 * num_unknown > num:
            pieces = (self.vocabulary.unknown(line.text) for line in lines)
            first = next(piece for piece in pieces if piece is not None)
            warnings.warn(
                f"modality text: {num_unknown} of {num} tokens are not in the vocabulary of the training texts, such "
                f"as '{first}'; check that the texts are of the same kind",
                FarFromTrainingWarning,
                stacklevel=4,
            )

    # -- shared by training and reading --------------------------------------------------------------------------

    def _encode_lines(self, lines: Sequence[Line], skipped: list[str] | None = None) -> _Encoded:
        """Return the encoded usable lines.

        Args:
            lines: The lines to encode.
            skipped: A list to which a message for each unusable line is appended, with `on_error` ``skip``.

        Raises:
            AeframeError: A line is unusable, and `skipped` is None or `on_error` is ``raise``.
        """
        encoded = _Encoded([], [], [], [])
        for number, line in enumerate(lines):
            row = [] if line.problem else [*self.vocabulary.encode(line.text), END]
            problem = line.problem or self._problem(line, row)
            if problem is None:
                if len(row) > self._width > 0:
                    row = [*row[: self._width - 1], END]
                encoded.rows.append(row)
                encoded.numbers.append(number)
                encoded.words.append(len(line.text.split()) + 1)
                if self._labels is not None:
                    encoded.labels.append(self._label_code(line.label))
            elif skipped is None or self.on_error == "raise":
                raise AeframeError(f"{line.where} {problem}; {_NEXT_STEP}")
            else:
                skipped.append(f"{line.where} {problem}")
        return encoded

    def _label_code(self, label: str | int | None) -> int:
        """Return a code as it is, the code of a name, or -1 for none and for an unknown one."""
        if isinstance(label, int):
            return label
        return self._labels.index(label) if self._labels and label in self._labels else -1

    def _problem(self, line: Line, row: Sequence[int]) -> str | None:
        """Return why a line with the tokens `row` cannot be used, or None."""
        if self.unknown == "refuse":
            unknown_piece = self.vocabulary.unknown(line.text)
            if unknown_piece is not None:
                return (
                    f"has '{unknown_piece}', which is not in the vocabulary (modality.unknown=token replaces it by "
                    f"{SPECIALS[UNKNOWN]})"
                )
        if self.too_long == "refuse" and 0 < self._width < len(row):
            return (
                f"has {len(row)} tokens, end token included, and at most {self._width} fit (modality.too_long=cut "
                "truncates it)"
            )
        return None

    def _source(self, encoded: _Encoded, *, bucketed: bool = False, trim: bool | None = None) -> TextSource:
        """Return the data source of encoded texts.

        Args:
            encoded: The texts.
            bucketed: Batches have sentences of similar length.
            trim: Pad each batch only to its longest sentence; None does so with `buckets`.
        """
        extras = {"words": torch.tensor(encoded.words)}
        if self._labels is not None:
            extras["label"] = torch.tensor(encoded.labels)
        lengths = torch.tensor([len(row) for row in encoded.rows])
        # Batches are int64; int32 halves the memory of the stored tokens.
        tokens = torch.tensor([token for row in encoded.rows for token in row], dtype=torch.int32)
        index = torch.tensor(encoded.numbers)
        if bucketed:
            return BucketSource(tokens, lengths, width=self._width, extras=extras, index=index, max_tokens=self.tokens)
        trimmed = self.buckets if trim is None else trim
        return TextSource(tokens, lengths, width=self._width, extras=extras, index=index, trim=trimmed)


@dataclass(frozen=True, slots=True)
class _Encoded:
    """The encoded usable texts of a split; each list has one entry per text."""

    rows: list[list[int]]
    """Token ids."""
    numbers: list[int]
    """The position in the split, unusable texts included."""
    words: list[int]
    """The number of words, plus one for the end."""
    labels: list[int]
    """The class index; empty for data without labels."""


def _tokeniser_class(name: TokeniserName) -> type[Tokeniser]:
    if name == "bpe":
        # The library tokenizers is imported only where it is used.
        from aeframe_text.bpe import BytePairs

        return BytePairs
    classes: dict[str, type[Tokeniser]] = {"words": Words, "characters": Characters, "smiles": Smiles}
    return classes[name]
