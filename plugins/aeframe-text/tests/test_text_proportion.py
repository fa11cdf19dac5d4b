"""Texts that do not fit the options: too long ones, scripts without spaces, unknown tokens and labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aeframe import AeframeError
from aeframe.data.file_samples import names_of
from aeframe.data.modality import Splits
from aeframe_text import tokens
from aeframe_text.modality import Text
from aeframe_text.specials import END, UNKNOWN
from aeframe_text.text_files import TextFiles
from aeframe_text.texts import Line, Origin
from aeframe_text.tokens import Encoded
from aeframe_text.vocabulary_checks import length_limit, usual_length

SHORT = [f"the {a} {b} sees ." for a in ("red", "old", "big", "sad") for b in ("cat", "dog", "cow", "man")] * 2


def splits(
    folder: Path, lines: Sequence[str], held_out: Sequence[str] = SHORT[:2], **options: Any
) -> tuple[Text, Splits]:
    """Return the splits of a training and a held-out file."""
    (folder / "t.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    (folder / "h.txt").write_text("".join(f"{line}\n" for line in held_out), encoding="utf-8")
    held = folder / "h.txt"
    modality = Text(**options)
    dataset = TextFiles(path=folder / "t.txt", validation_path=held, test_path=held)
    modality.spec(dataset)
    return modality, modality.prepare(dataset)


def error_of(folder: Path, lines: Sequence[str], **options: Any) -> str:
    with pytest.raises(AeframeError) as caught:
        splits(folder, lines, **options)
    return str(caught.value)


# -- length ----------------------------------------------------------------------------------------------------------


def test_the_length_limit_follows_the_usual_length() -> None:
    assert usual_length([5] * 39 + [200_001]) == 5
    assert usual_length([5] * 198 + [9, 9]) == 5
    assert usual_length([5] * 197 + [9, 9, 9]) == 9
    assert [length_limit([n] * 10) for n in (5, 100, 1000)] == [512, 800, 2048]
    assert length_limit([]) == 512


def test_a_text_out_of_proportion_is_refused_cut_or_skipped(tmp_path: Path) -> None:
    lines = [*SHORT, "word " * 2000]
    assert error_of(tmp_path, lines) == (
        "modality 'text': 't.txt', line 33 has 2,001 tokens, end token included, and 99 % of the training texts have "
        "at most 6; texts of more than 512, here 1 of 37, need max_length: set modality.max_length=2001 to pad all "
        "texts to this length, modality.too_long=cut to cut them, or modality.on_error=skip to leave them out"
    )
    _, cut = splits(tmp_path, lines, too_long="cut")
    assert list(cut.notes)[-1] == "1 of 37 texts are cut to 512 tokens (modality.too_long=cut)"
    batch = cut.train.batch(torch.tensor([32, 0]))
    assert batch.x.shape == (2, 512)
    assert int(batch.x[0, -1]) == END
    # The number of words is that of the cut text.
    assert batch.extras["words"].tolist() == [512, 6]
    assert names_of(cut.train) == [f"t.txt:{n}" for n in range(1, 34)]
    _, rest = splits(tmp_path, lines, on_error="skip")
    assert rest.train.batch(torch.arange(2)).x.shape == (2, 6)
    assert rest.skipped == [
        "'t.txt', line 33 has 2001 tokens, end token included, and at most 512 fit (modality.too_long=cut truncates it)"
    ]
    _, whole = splits(tmp_path, lines, max_length=2001)
    assert whole.train.batch(torch.tensor([32])).x.shape == (1, 2001)


def test_books_are_refused_by_their_length(tmp_path: Path) -> None:
    (tmp_path / "books").mkdir()
    for number in range(12):
        (tmp_path / "books" / f"{number:02d}.txt").write_text("the old cat sees the sea .\n" * (600 + number))
    with pytest.raises(AeframeError) as caught:
        Text().spec(TextFiles(path=tmp_path / "books"))
    message = str(caught.value)
    assert message.startswith(
        "modality 'text': '11.txt' has 4,278 tokens, end token included, and 99 % of the training"
    )
    assert "texts of more than 2,048, here 12 of 12, need max_length: set modality.max_length=4278" in message
    assert ", data.unit=line to read the lines of files, or" in message


def test_a_model_cuts_new_texts_as_in_training(tmp_path: Path) -> None:
    modality, _ = splits(tmp_path, SHORT, max_length=4, too_long="cut")
    (tmp_path / "new.txt").write_text("the old cat sees the red dog\nthe cow\n")
    batch = modality.read(tmp_path / "new.txt")
    assert modality.decode(batch.x) == ["the old cat", "the cow"]
    assert batch.extras["words"].tolist() == [4, 3]
    assert "'new.txt': 1 of 2 texts are cut to the model's 4 tokens" in list(modality.notes)


# -- words -----------------------------------------------------------------------------------------------------------

CHINESE = [
    "今天天气很好我们去公园散步。",
    "我喜欢在早上喝一杯热咖啡。",
    "他昨天买了一本新书。",
    "她的猫在窗台上睡觉。",
] * 3
THAI = ["วันนี้อากาศดีมากเราไปเดินเล่นที่สวน", "ฉันชอบดื่มกาแฟร้อน ในตอนเช้า", "เมื่อวานเขาซื้อหนังสือเล่มใหม่"] * 4
JAPANESE = ["今日はとても天気がいいです。", "朝に熱いコーヒーを飲むのが好きです。", "昨日新しい本を買いました。"] * 4


@pytest.mark.parametrize("texts", [CHINESE, THAI, JAPANESE])
def test_scripts_without_spaces_need_another_tokeniser(texts: list[str], tmp_path: Path) -> None:
    message = error_of(tmp_path, texts, held_out=texts[:1])
    assert message.startswith(
        "modality 'text': tokeniser words separates at spaces, and the script of these texts has "
    )
    assert " words in 12 texts, of " in message
    assert message.endswith("; set modality.tokeniser=characters, or bpe")
    for tokeniser in ("characters", "bpe"):
        modality, prepared = splits(tmp_path, texts, texts[:1], tokeniser=tokeniser)
        assert modality.decode(prepared.train.batch(torch.arange(12)).x) == texts


def test_segmented_chinese_and_korean_have_words(tmp_path: Path) -> None:
    for texts in (["今天 天气 很 好", "我们 去 公园 散步"] * 6, ["작은 개가 정원에서 달린다", "고양이가 잔다"] * 6):
        _, prepared = splits(tmp_path, texts, texts[:2])
        assert len(prepared.train) == 12


def test_texts_of_one_word_that_no_other_has_need_another_tokeniser(tmp_path: Path) -> None:
    molecules = [f"{'C' * n}O" for n in range(1, 13)]
    assert error_of(tmp_path, molecules) == (
        "modality 'text': tokeniser words finds 12 words in 12 texts, 12 different ones such as 'CO', so that held-out "
        "texts have unknown words only; set modality.tokeniser=characters, bpe, or smiles for molecules"
    )
    _, prepared = splits(tmp_path, ["yes", "no", "maybe"] * 5, ["yes"])
    assert len(prepared.train) == 15


def test_smiles_have_no_whitespace_and_no_header(tmp_path: Path) -> None:
    step = "; correct or remove it, or set modality.on_error=skip to leave such texts out of training"
    assert error_of(tmp_path, ["CCO ethanol", "CC"], tokeniser="smiles") == (
        f"'t.txt', line 1 has whitespace after 'CCO', expected one SMILES (.smi files may have names){step}"
    )
    assert error_of(tmp_path, ["smiles", "CC"], tokeniser="smiles") == (
        f"'t.txt', line 1 is 'smiles', the name of a column and no molecule{step}"
    )
    modality, prepared = splits(tmp_path, [" CCO ", "CC\t"], ["CC"], tokeniser="smiles")
    assert modality.decode(prepared.train.batch(torch.arange(2)).x) == ["CCO", "CC"]


def test_unknown_tokens_of_held_out_texts_are_counted(tmp_path: Path) -> None:
    _, prepared = splits(tmp_path, [*SHORT, "a <unk> ."], ["zebras see me", "the cat sees ."])
    assert list(prepared.notes) == [
        "the training texts have the word <unk> 1 times, the token of unknown words",
        *[
            f"3 of 7 tokens of the {name} texts are not in the vocabulary, and are read as <unk>; "
            "modality.tokeniser=bpe has no unknown tokens, characters fewer"
            for name in ("validation", "test")
        ],
    ]


@pytest.mark.parametrize("tokeniser", ["words", "characters", "bpe", "smiles"])
def test_a_text_with_special_tokens_is_read_whole(tokeniser: Any, tmp_path: Path) -> None:
    texts = ["a</s>b", "<pad>c", "<mask><s>"] if tokeniser == "smiles" else ["a </s> b", "<pad> c", "<mask> <s> d"]
    modality, prepared = splits(tmp_path, texts * 4, texts[:1], tokeniser=tokeniser)
    x = prepared.train.batch(torch.arange(3)).x
    assert modality.decode(x) == texts
    assert modality.write(x, tmp_path / "out.jsonl")
    assert [json.loads(line)["text"] for line in (tmp_path / "out.jsonl").read_text().splitlines()] == texts
    assert torch.equal(modality.read(tmp_path / "out.jsonl").x, x)


# -- lines that are all bad, labels ------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_where_all_lines_are_bad_the_error_is_that_of_the_first(on_error: Any, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"data": {"text": "a cat"}}\n' * 20)
    with pytest.raises(AeframeError) as caught:
        Text(on_error=on_error).spec(TextFiles(path=tmp_path / "a.jsonl"))
    assert str(caught.value).startswith("'a.jsonl', line 1 has no key 'text', did you mean 'data.text'? (its keys are ")


def test_numbers_of_classes_are_in_their_order_and_missing_labels_are_minus_one(tmp_path: Path) -> None:
    labels = [10, 2, 0, None]
    rows = [{"text": f"text {n}", "y": labels[n % 4]} for n in range(40)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    modality = Text()
    prepared = modality.prepare(TextFiles(path=tmp_path / "a.jsonl", label="y"))
    assert prepared.label_names == ("0", "2", "10")
    batch = prepared.train.batch(torch.arange(len(prepared.train)))
    names = names_of(prepared.train)
    assert names is not None
    expected = [{10: 2, 2: 1, 0: 0, None: -1}[labels[(int(name.rpartition(":")[2]) - 1) % 4]] for name in names]
    assert batch.extras["label"].tolist() == expected
    # A file with labels: classes that training did not have, and none at all.
    (tmp_path / "b.jsonl").write_text('{"text": "text 1", "y": 2}\n{"text": "text 2", "y": 7}\n{"text": "text 3"}\n')
    assert modality.read(tmp_path / "b.jsonl").extras["label"].tolist() == [1, -1, -1]
    assert list(modality.notes)[-1] == "'b.jsonl': 2 of 3 texts have no label of training; their label is -1"
    (tmp_path / "c.jsonl").write_text('{"text": "text 1", "y": 7}\n')
    assert "label" not in modality.read(tmp_path / "c.jsonl").extras
    assert list(modality.notes)[-1] == "'c.jsonl': no label is one of training, such as '7'; none is used"


def test_a_held_out_class_without_training_text_is_noted(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,y\n" + "a cat,p\na dog,q\n" * 10)
    (tmp_path / "b.csv").write_text("text,y\na cat,p\na dog,r\n")
    held = tmp_path / "b.csv"
    prepared = Text().prepare(TextFiles(path=tmp_path / "a.csv", validation_path=held, test_path=held, label="y"))
    note = "1 of 2 {} texts have a label that no training text has, such as 'r'; their label is -1"
    assert list(prepared.notes) == [note.format("validation"), note.format("test")]


# -- tokens ----------------------------------------------------------------------------------------------------------


def test_many_tokens_are_kept_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def encoded() -> Encoded:
        made = Encoded()
        for number in range(50):
            row = [UNKNOWN, *range(5, 5 + number % 7), END]
            line = Line("", Origin("'a', line", "a"), number, own_name="own" if number == 3 else None)
            made.append(line, row, number=number, words=number, label=0)
        return made

    expected = encoded()
    monkeypatch.setattr(tokens, "MAX_IN_MEMORY", 20)
    made = encoded()
    assert made.num_tokens == expected.num_tokens
    assert torch.equal(made.tokens(), expected.tokens())
    assert made.num_unknown == 50
    assert made.names(np.array([3, 4])).tolist() == ["own", "a:4"]
    short = made.limited(4, None)
    assert max(short.lengths) == 4
    assert short.numbers.tolist() == [n for n in range(50) if n % 7 <= 2]
    cut = made.limited(4, len)
    assert (len(cut), cut.num_cut, cut.words[6]) == (50, sum(n % 7 > 2 for n in range(50)), 4)
    assert cut.tokens()[int(sum(cut.lengths[:6])) :][:4].tolist() == [UNKNOWN, 5, 6, END]
