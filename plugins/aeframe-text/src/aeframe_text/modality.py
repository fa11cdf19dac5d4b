"""The modality `text`: sentences as padded sequences of token ids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from aeframe.data import Dataset, FileSamples, Modality, OnError, Splits
from aeframe.data.media import Medium
from aeframe.data.notes import Notes
from aeframe.data.sample_batches import SampleBatches
from aeframe.errors import AeframeError
from aeframe.types import Batch, DataSpec, Domain, Shape
from aeframe_text.line_encoder import LineEncoder, TooLong, Unknown, problem_for
from aeframe_text.preparation import (
    TRAINING_STEP,
    add_notes,
    check_lines,
    check_not_empty,
    count_unknown_words,
    limit_lengths,
    splits_of,
)
from aeframe_text.reading import ReadOptions
from aeframe_text.source import BucketSource, TextSource
from aeframe_text.specials import END, PAD
from aeframe_text.text_files import open_texts
from aeframe_text.text_in_memory import lines_of
from aeframe_text.texts import Line, Origin, TextSplits, problem_of, sorted_labels
from aeframe_text.tokenisers import Characters, Smiles, Tokeniser, TokeniserName, Words
from aeframe_text.tokens import Encoded
from aeframe_text.vocabulary_checks import check_words
from aeframe_text.writing import write_texts

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Text(Modality):
    """Sentences as token ids ``(B, T)`` of domain ``category(V)``: the tokens of the text, an end token, and padding,
    where `Batch.mask` is False.

    The vocabulary is learned from the training split. T is the length of the longest sentence of all splits, end token
    included, unless one is out of proportion (see `max_length`). ``extras["words"]`` ``(B,)`` is the number of words,
    plus one for the end, whatever the tokeniser. Where the data have labels, ``extras["label"]`` ``(B,)`` is the class
    index, -1 for a sentence without label and for a class without training sentence. Labels of samples in memory keep
    the codes of their dataset.

    Args:
        tokeniser: ``words`` (separated by whitespace), ``characters``, ``smiles`` (atoms and bonds of molecules) or
            ``bpe`` (byte-pair encoding).
        vocabulary_size: Maximal size of the vocabulary, special tokens included; the most frequent tokens are kept.
            Null has no limit, except 4096 for ``bpe``.
        min_count: Minimal number of occurrences of a token in the training split.
        max_length: T, the end token included; null takes the length of the longest sentence, but at most 8 times the
            length that 99 % of the training sentences do not exceed, at least 512 and at most 2,048 tokens.
        too_long: Sentences of more than `max_length` tokens: ``refuse`` makes them errors, ``cut`` truncates them to
            T - 1 tokens and an end token, with a note. A trained model does the same.
        unknown: Tokens outside the vocabulary: ``token`` replaces them by ``<unk>``, ``refuse`` makes them errors.
        on_error: Empty, too long or otherwise unusable sentences: ``raise`` stops, ``skip`` leaves them out and lists
            them.
        buckets: Train in batches of sentences of similar length, each padded to its longest sentence only. It requires
            networks for any T: ``token_rnn`` and ``token_transformer``.
        tokens: With `buckets`, the number of tokens of a training batch, padding included; it replaces the run's
            ``batch_size``.

    Raises:
        AeframeError: Invalid options.
    """

    defaults: ClassVar[Mapping[str, str]] = {"encoder": "token_rnn", "loss": "categorical"}
    metrics: ClassVar[tuple[str, ...]] = ("accuracy", "perplexity", "bigrams", "sentences")
    feature_spaces: ClassVar[tuple[str, ...]] = ("ngrams",)
    dataset: ClassVar[str | None] = "sentences"
    in_memory: ClassVar[str | None] = "text_in_memory"
    reading_options: ClassVar[tuple[str, ...]] = ("too_long", "unknown")

    def __init__(
        self,
        *,
        tokeniser: TokeniserName = "words",
        vocabulary_size: int | None = None,
        min_count: int = 1,
        max_length: int | None = None,
        too_long: TooLong = "refuse",
        unknown: Unknown = "token",
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
        self._reading = ReadOptions()
        # `spec` keeps the loaded texts for `prepare`, and `learn` the encoded ones for `apply`; each is used once.
        self._loaded: tuple[Dataset, TextSplits] | None = None
        self._encoded_raw: tuple[TextSplits, dict[str, Encoded], list[str]] | None = None

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
        splits = self.apply(raw)
        splits.notes = Notes([*dataset.notes, *self.notes, *splits.notes])
        return splits

    def mask_shape(self, spec: DataSpec) -> Shape | None:
        return spec.shape

    def learn(self, dataset: Dataset, raw: Any) -> None:
        if not isinstance(raw, TextSplits):
            raise AeframeError(
                f"modality text reads TextSplits, and dataset {type(dataset).__name__} loads {type(raw).__name__}; "
                f"choose a dataset of this modality, or modality={type(dataset).modality}"
            )
        self._reading, kind = raw.reading, _tokeniser_class(self.tokeniser)
        usable = [line for line in raw.train if problem_for(line, kind) is None]
        if not usable or self.on_error == "raise":
            check_lines([*raw.train, *raw.validation, *raw.test], kind)
        if self.tokeniser == "words":
            check_words(usable)
            if num := count_unknown_words(usable):
                self.notes.add(f"the training texts have the word <unk> {num} times, the token of unknown words")
        texts = (line.text for line in usable)
        self._vocabulary = kind.learn(texts, size=self.vocabulary_size, min_count=self.min_count)
        labels = {line.label for line in raw.train if line.label is not None}
        names = sorted_labels(map(str, labels)) if raw.label_names is None else raw.label_names
        self._labels = names if labels else None
        self._width = self.max_length or 0
        if self.max_length is None:
            encoded, skipped = self._encode_splits(raw)
            encoded = limit_lengths(raw, encoded, self._encoder(), self.on_error, skipped)
            self._width = max((max(split.lengths) for split in encoded.values() if len(split)), default=0)
            self._encoded_raw = raw, encoded, skipped

    def apply(self, raw: TextSplits) -> Splits:
        if self._encoded_raw is not None and self._encoded_raw[0] is raw:
            _, encoded, skipped = self._encoded_raw
        else:
            encoded, skipped = self._encode_splits(raw)
        self._encoded_raw = None
        check_not_empty(encoded, skipped)
        splits = Splits(
            self._source(encoded["train"], bucketed=self.buckets),
            self._source(encoded["validation"]),
            self._source(encoded["test"]),
            skipped,
            self._labels or None,
        )
        add_notes(splits.notes, raw, encoded, self._encoder())
        return splits

    def _encode_splits(self, raw: TextSplits) -> tuple[dict[str, Encoded], list[str]]:
        """Return the encoded texts of each split, and a message for each skipped text."""
        skipped: list[str] = []
        skip = skipped if self.on_error == "skip" else None
        is_trained = self._reading.is_trained
        step = "correct or remove it" if is_trained else TRAINING_STEP
        encoder = self._encoder(is_trained=is_trained)
        return {name: encoder.encode(lines, skip, next_step=step) for name, lines in splits_of(raw).items()}, skipped

    def _encoder(self, *, is_trained: bool = False) -> LineEncoder:
        return LineEncoder(self.vocabulary, self._width, self.too_long, self.unknown, self._labels, is_trained)

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
        return {"width": self._width, "labels": labels, "reading": self._reading.state(), **self.vocabulary.state()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._width = int(state["width"])
        self._labels = None if state["labels"] is None else tuple(state["labels"])
        self._reading = ReadOptions.from_state(state["reading"])
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
        origin = Origin("text")
        return self._batch([Line(text, origin, row, problem_of(text)) for row, text in enumerate(texts)])

    def decode(self, x: Tensor) -> list[str]:
        """Return the texts of tokens ``(N, T)``, each up to its first end token or padding."""
        texts = []
        for row in x.long().tolist():
            end = next((position for position, token in enumerate(row) if token in (END, PAD)), len(row))
            texts.append(self.vocabulary.decode(row[:end]))
        return texts

    def open(self, path: Path, on_error: OnError) -> FileSamples:
        """Open a file or folder in a format of `TextFiles`, with its options in training.

        Texts are encoded while the file is read, and only their tokens are kept. If the file has labels of training,
        ``extras["label"]`` is the class index, -1 for none and for another class. The column ``name`` is the text's
        name, or file and line: ``new.txt:3``.

        Raises:
            AeframeError: A text is unusable or too long for the model, with `on_error` ``raise``; no text is left.
        """
        skipped: list[str] = []
        labels: dict[str | int, None] = {}  # in the order of the file
        reading = self._reading if self._reading.is_trained else ReadOptions.from_state(self._reading.state())

        def lines() -> Iterator[Line]:
            for line in open_texts(path, reading, self.notes):
                if line.label is not None:
                    labels.setdefault(line.label)
                yield line

        step = "correct or remove it, or leave such texts out with --on-error skip (in Python on_error='skip')"
        encoded = self._encoder(is_trained=True).encode(
            lines(), skipped if on_error == "skip" else None, next_step=step, warn=True
        )
        if not len(encoded):
            raise AeframeError(f"'{path.name}' has no usable text" + (f": {skipped[0]}" if skipped else "; add one"))
        if encoded.num_cut:
            self.notes.add(
                f"'{path.name}': {encoded.num_cut} of {len(encoded)} texts are cut to the model's {self._width} tokens"
            )
        known = [label for label in labels if label in (self._labels or ())]
        if self._labels and labels and not known:
            self.notes.add(f"'{path.name}': no label is one of training, such as '{next(iter(labels))}'; none is used")
        elif known:
            num = encoded.labels.count(-1)
            if num:
                self.notes.add(
                    f"'{path.name}': {num} of {len(encoded)} texts have no label of training; their label is -1"
                )
        return FileSamples(self._source(encoded, trim=False, has_labels=bool(known)), skipped)

    def write_batches(self, samples: SampleBatches, path: Path) -> list[Path]:
        """Write the texts of tokens ``(N, T)`` in the format of the suffix, one of those that `open` reads.

        A path without suffix is a folder of one ``.txt`` file for each text. Names are a column or key, the words
        after a SMILES, or the names of the files of a folder; ``.txt`` has no place for them.
        """
        return write_texts(path, map(self.decode, samples), self._reading, num=len(samples), names=samples.names)

    def locate_errors(self, errors: Tensor, batch: Batch) -> list[str]:
        """Return the token with the largest error, and its position from 0."""
        positions = errors.argmax(1)
        tokens = batch.masked_x().long().gather(1, positions.unsqueeze(1)).flatten().tolist()
        special = {END: "the end", PAD: "padding"}
        return [
            f"{special.get(token) or repr(self.vocabulary.decode([token]))} at {position}"
            for token, position in zip(tokens, positions.tolist(), strict=True)
        ]

    def render(self, panels: Mapping[str, Tensor]) -> Figure:
        from aeframe_text.render import draw

        return draw({title: self.decode(x) for title, x in panels.items()})

    def show(self, x: Tensor) -> list[list[Medium]]:
        """Return each text as a string."""
        return [[Medium("text/plain", text)] for text in self.decode(x.cpu())]

    def _batch(self, lines: Sequence[Line]) -> Batch:
        encoded = self._encoder(is_trained=True).encode(lines, None, next_step="correct or remove it", warn=True)
        has_labels = any(line.label is not None for line in lines)
        source = self._source(encoded, trim=False, has_labels=has_labels)
        return source.batch(torch.arange(len(source)))

    def _source(
        self, encoded: Encoded, *, bucketed: bool = False, trim: bool | None = None, has_labels: bool = True
    ) -> TextSource:
        """Return the data source of encoded texts.

        Args:
            encoded: The texts.
            bucketed: Batches have sentences of similar length.
            trim: Pad each batch only to its longest sentence; None does so with `buckets`.
            has_labels: Whether batches have the labels, if training had some.
        """
        extras = {"words": torch.from_numpy(np.array(encoded.words))}
        if self._labels is not None and has_labels:
            extras["label"] = torch.from_numpy(np.array(encoded.labels))
        # Batches are int64; int32 halves the memory of the stored tokens.
        tokens, lengths = encoded.tokens(), torch.from_numpy(np.array(encoded.lengths))
        index = torch.from_numpy(np.array(encoded.numbers))
        names = encoded.names if encoded.has_names else None
        if bucketed:
            return BucketSource(
                tokens, lengths, width=self._width, extras=extras, index=index, names=names, max_tokens=self.tokens
            )
        trimmed = self.buckets if trim is None else trim
        return TextSource(tokens, lengths, width=self._width, extras=extras, index=index, names=names, trim=trimmed)


def _tokeniser_class(name: TokeniserName) -> type[Tokeniser]:
    if name == "bpe":
        # The library tokenizers is imported only where it is used.
        from aeframe_text.bpe import BytePairs

        return BytePairs
    classes: dict[str, type[Tokeniser]] = {"words": Words, "characters": Characters, "smiles": Smiles}
    return classes[name]
