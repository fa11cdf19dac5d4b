"""The modality: vocabulary, encoding, errors, saved state and figures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest
import torch

from aeframe import AeframeError
from aeframe.data.file_samples import names_of
from aeframe.data.vector import BreastCancer
from aeframe_text.modality import Text
from aeframe_text.render import draw
from aeframe_text.sentences import Sentences
from aeframe_text.text_files import TextFiles

TRAIN = ["the cat sees the dog", "a dog sleeps", "the dog sees a cat today", "cat sleeps"]


def files(folder: Path, train: Sequence[str] = TRAIN, held_out: Sequence[str] = ("a cat sleeps",)) -> TextFiles:
    for name, texts in (("train", train), ("held", held_out)):
        (folder / f"{name}.txt").write_text("".join(f"{text}\n" for text in texts))
    held = str(folder / "held.txt")
    return TextFiles(path=str(folder / "train.txt"), validation_path=held, test_path=held)


def error_of(folder: Path, train: Sequence[str], held_out: Sequence[str] = ("a cat",), **options: Any) -> str:
    with pytest.raises(AeframeError) as caught:
        Text(**options).prepare(files(folder, train, held_out))
    return str(caught.value)


def test_sentences_are_encoded_with_an_end_token(tmp_path: Path) -> None:
    modality, dataset = Text(), files(tmp_path)
    spec = modality.spec(dataset)
    assert (spec.shape, str(spec.domain), spec.extras) == ((7,), "category(12)", {"words": ()})
    splits = modality.prepare(dataset)
    batch = splits.train.batch(torch.tensor([1, 2]))
    # Ids by frequency, then alphabetically: cat, dog, the, a, sees, sleeps, today.
    assert batch.x.tolist() == [[8, 6, 10, 2, 0, 0, 0], [7, 6, 9, 8, 5, 11, 2]]
    assert batch.mask is not None
    assert batch.index is not None
    assert batch.mask.sum(1).tolist() == [4, 7]
    assert batch.extras["words"].tolist() == [4, 7]
    assert batch.index.tolist() == [1, 2]
    assert modality.decode(batch.x) == TRAIN[1:3]
    # `prepare` without `spec` returns the same.
    alone = Text().prepare(files(tmp_path)).train.batch(torch.tensor([1, 2]))
    assert torch.equal(alone.x, batch.x)


def test_the_number_of_words_does_not_depend_on_the_tokeniser(tmp_path: Path) -> None:
    modality = Text(tokeniser="characters")
    batch = modality.prepare(files(tmp_path)).train.batch(torch.tensor([1]))
    assert batch.mask is not None
    assert batch.mask.sum().item() == len(TRAIN[1]) + 1
    assert batch.extras["words"].tolist() == [4]


@pytest.mark.parametrize("tokeniser", ["words", "characters", "smiles", "bpe"])
def test_the_state_is_plain_and_complete(tokeniser: Any, tmp_path: Path) -> None:
    modality = Text(tokeniser=tokeniser)
    texts = ["CCO", "C[C@@H](N)C", "c1ccccc1", "BrCCl"] if tokeniser == "smiles" else TRAIN
    x = modality.prepare(files(tmp_path, texts, texts[:1])).train.batch(torch.arange(4)).x
    again = Text(tokeniser=tokeniser)
    again.load_state(json.loads(json.dumps(modality.state())))
    (tmp_path / "new.txt").write_text("".join(f"{text}\n" for text in texts))
    assert torch.equal(again.read(tmp_path / "new.txt").x, x)
    assert again.decode(x) == texts
    assert again.write(x, tmp_path / "out.jsonl") == [tmp_path / "out.jsonl"]
    assert torch.equal(again.read(tmp_path / "out.jsonl").x, x)


def test_unusable_texts_are_errors(tmp_path: Path) -> None:
    next_step = "; correct or remove it, or set modality.on_error=skip to leave such texts out of training"
    assert error_of(tmp_path, [*TRAIN, " ", "a cat"]) == f"'train.txt', line 5 is empty{next_step}"
    assert error_of(tmp_path, TRAIN, ["the zebra sleeps"], unknown="refuse") == (
        "'held.txt', line 1 has 'zebra', which is not in the vocabulary (modality.unknown=token replaces it by <unk>)"
        + next_step
    )
    assert error_of(tmp_path, TRAIN, max_length=5) == (
        "'train.txt', line 1 has 6 tokens, end token included, and at most 5 fit (modality.too_long=cut truncates it)"
        + next_step
    )
    assert error_of(tmp_path, TRAIN, ["the zebra", "zebra"], on_error="skip", unknown="refuse") == (
        "modality 'text' has no usable text for the validation split, and 4 texts were skipped, the first: 'held.txt', "
        "line 1 has 'zebra', which is not in the vocabulary (modality.unknown=token replaces it by <unk>); correct "
        "them, or add texts"
    )
    assert error_of(tmp_path, TRAIN, [" "]) == "'held.txt' has no text; add at least one"
    with pytest.raises(AeframeError) as caught:
        Text().prepare(BreastCancer())
    assert str(caught.value) == (
        "modality text reads TextSplits, and dataset BreastCancer loads RowSplits; choose a dataset of this modality, "
        "or modality=vector"
    )


def test_unusable_texts_are_skipped_and_listed(tmp_path: Path) -> None:
    modality = Text(on_error="skip", max_length=6, unknown="refuse")
    splits = modality.prepare(files(tmp_path, [TRAIN[0], "", *TRAIN[1:]], ["a cat", "a zebra"]))
    assert splits.skipped == [
        "'train.txt', line 2 is empty",
        "'train.txt', line 4 has 7 tokens, end token included, and at most 6 fit (modality.too_long=cut truncates it)",
        *[
            "'held.txt', line 2 has 'zebra', which is not in the vocabulary (modality.unknown=token replaces it by "
            "<unk>)"
        ]
        * 2,
    ]
    batch = splits.train.batch(torch.arange(3))
    assert batch.index is not None
    assert batch.index.tolist() == [0, 2, 4]
    assert modality.decode(batch.x) == [TRAIN[0], TRAIN[1], TRAIN[3]]


def test_long_texts_are_truncated_and_unknown_words_replaced(tmp_path: Path) -> None:
    modality = Text(max_length=4, too_long="cut")
    batch = modality.prepare(files(tmp_path, held_out=["a zebra sleeps today"])).test.batch(torch.tensor([0]))
    assert batch.mask is not None
    assert batch.mask.all()
    assert modality.decode(batch.x) == ["a <unk> sleeps"]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_files_are_read_and_written_with_the_column_of_training(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"reviews{suffix}"
    rows = [f"{text},{row}" for row, text in enumerate(TRAIN)]
    objects = [json.dumps({"review": text, "row": row}) for row, text in enumerate(TRAIN)]
    path.write_text("\n".join(["review,row", *rows] if suffix == ".csv" else objects))
    modality = Text()
    modality.prepare(TextFiles(path=str(path), column="review", validation=0.25, test=0.25))
    again = Text()
    again.load_state(json.loads(json.dumps(modality.state())))
    x = again.read(path).x
    assert len(x) == len(TRAIN)
    again.write(x, tmp_path / f"out{suffix}")
    assert torch.equal(again.read(tmp_path / f"out{suffix}").x, x)
    assert "review" in (tmp_path / f"out{suffix}").read_text().splitlines()[0]


def test_unusable_texts_of_a_file_to_encode_are_errors(tmp_path: Path) -> None:
    modality = Text()
    modality.prepare(files(tmp_path))
    (tmp_path / "new.txt").write_text("the cat sees the dog and the cat\n")
    with pytest.raises(AeframeError) as caught:
        modality.read(tmp_path / "new.txt")
    assert str(caught.value) == (
        "'new.txt', line 1 has 9 tokens, end token included, and at most 7 fit (--option too_long=cut truncates it); "
        "correct or remove it, or leave such texts out with --on-error skip (in Python on_error='skip')"
    )
    (tmp_path / "gap.txt").write_text("a cat\n\ndog\n")
    with pytest.raises(AeframeError, match=r"^'gap\.txt', line 2 is empty; correct or remove it, "):
        modality.read(tmp_path / "gap.txt")
    cut = Text(too_long="cut")
    cut.load_state(modality.state())
    batch = cut.read(tmp_path / "new.txt")
    assert cut.decode(batch.x) == ["the cat sees the dog <unk>"]
    assert list(cut.notes) == ["'new.txt': 1 of 1 texts are cut to the model's 7 tokens"]
    # What training has skipped is skipped, and rows keep their numbers and names.
    modality.on_error = "skip"
    batch = modality.read(tmp_path / "gap.txt")
    assert modality.decode(batch.x) == ["a cat", "dog"]
    assert batch.index is not None
    assert batch.index.tolist() == [0, 2]
    samples = modality.open(tmp_path / "gap.txt", "skip")
    assert samples.skipped == ["'gap.txt', line 2 is empty"]
    assert names_of(samples.source) == ["gap.txt:1", "gap.txt:3"]
    (tmp_path / "bad.txt").write_text("the cat sees the dog and the cat\n")
    with pytest.raises(AeframeError, match=r"^'bad\.txt' has no usable text: 'bad\.txt', line 1 has 9 tokens, end"):
        modality.open(tmp_path / "bad.txt", "skip")
    assert modality.decode(modality.encode(["a cat", "dog"]).x) == ["a cat", "dog"]
    with pytest.raises(AeframeError, match=r"^modality 'text' encodes a list of at least one text, found 'a cat'$"):
        modality.encode("a cat")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_length": 1}, "modality 'text' needs max_length of at least 2, a token and the end, found 1"),
        ({"tokens": 9}, "modality 'text' uses tokens only with buckets; set modality.buckets=true"),
        ({"buckets": True, "tokens": 0}, "modality 'text' needs tokens of at least 1, found 0"),
    ],
)
def test_invalid_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(AeframeError) as caught:
        Text(**options)
    assert str(caught.value) == message


def test_labels_are_numbered_in_alphabetical_order(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,kind\na cat,pet\na dog,pet\na bus,thing\n")
    (tmp_path / "b.csv").write_text("text,kind\na bus,thing\na cat,animal\n")
    held = str(tmp_path / "b.csv")
    dataset = TextFiles(path=str(tmp_path / "a.csv"), validation_path=held, test_path=held, label="kind")
    modality = Text()
    assert modality.spec(dataset).extras == {"words": (), "label": ()}
    splits = modality.prepare(dataset)
    assert splits.train.batch(torch.arange(3)).extras["label"].tolist() == [0, 0, 1]
    assert splits.test.batch(torch.arange(2)).extras["label"].tolist() == [1, -1]


def test_the_dataset_sentences_follows_its_grammar() -> None:
    splits = Sentences(size=300).load()
    lines = [*splits.train, *splits.validation, *splits.test]
    assert [len(splits.train), len(splits.validation), len(splits.test)] == [240, 30, 30]
    lengths = {len(line.text.split()) for line in lines}
    assert (min(lengths), max(lengths)) == (6, 12)
    for line in lines:
        words = line.text.split()
        pattern = "question" if words[0] == "does" else "denial" if "not" in words else "statement"
        assert (pattern, words[-1]) == (line.label, "?" if pattern == "question" else ".")
    assert Sentences(size=300).load() == splits
    assert Sentences(size=300, seed=1).load() != splits


def test_a_figure_shows_missing_glyphs_and_dollar_signs(tmp_path: Path) -> None:
    modality = Text(tokeniser="characters")
    texts = ["costs $5 and $6", "日本", "x" * 300]
    modality.prepare(files(tmp_path, texts, ["x"]))
    figure = modality.render({"original": modality.encode(texts).x, "empty": torch.tensor([[2, 0]])})
    figure.savefig(tmp_path / "a.png")
    plt.close(figure)
    shown = [text.get_text() for text in figure.texts]
    assert "  1  costs $5 and $6" in shown
    assert "  1  (empty)" in shown
    assert "  2  \N{WHITE SQUARE}\N{WHITE SQUARE}" in shown


def test_the_labels_of_a_file_are_read(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,kind\n" + 10 * "good day,good\nbad day,bad\n", encoding="utf-8")
    modality = Text()
    dataset = TextFiles(path=tmp_path / "train.csv", label="kind")
    modality.spec(dataset)
    assert modality.prepare(dataset).label_names == ("bad", "good")
    opened = Text()
    opened.load_state(modality.state())
    lines = [{"text": "bad day", "kind": kind} for kind in ("good", "bad", "odd")]
    (tmp_path / "new.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert opened.read(tmp_path / "new.jsonl").extras["label"].tolist() == [1, 0, -1]
    (tmp_path / "new.csv").write_text("text\nbad day\n", encoding="utf-8")
    (tmp_path / "new.txt").write_text("bad day\n", encoding="utf-8")
    (tmp_path / "no.jsonl").write_text('{"text": "bad day"}\n', encoding="utf-8")
    for name in ("new.csv", "new.txt", "no.jsonl"):
        assert "label" not in opened.read(tmp_path / name).extras


def test_a_figure_of_sorted_texts_has_the_first_and_the_last() -> None:
    figure = draw({"samples": [f"class {number // 16}" for number in range(64)]})
    lines = [" ".join(text.get_text().split()) for text in figure.texts]
    assert (lines[1], lines[24]) == ("1 class 0", "64 class 3")
    assert {line.partition(" ")[2] for line in lines[1:25]} == {f"class {number}" for number in range(4)}
