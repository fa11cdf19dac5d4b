"""Published datasets, where their files are available: token counts agree with the literature."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch

from aeframe.testing.fixtures import real_file
from aeframe_text.modality import Text
from aeframe_text.text_files import TextFiles


def test_penn_treebank_has_its_number_of_tokens_and_unigram_perplexity(tmp_path: Path) -> None:
    with zipfile.ZipFile(real_file("text/ptb.zip")) as archive:
        archive.extractall(tmp_path)
    train, validation, test = (str(tmp_path / f"{name}.txt") for name in ("train", "valid", "test"))
    modality = Text(buckets=True)
    dataset = TextFiles(path=train, validation_path=validation, test_path=test)
    assert modality.spec(dataset).shape == (83,)
    splits = modality.prepare(dataset)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (42068, 3370, 3761)
    counts = torch.zeros(modality.vocabulary.size, dtype=torch.float64)
    for rows in torch.arange(42068).split(4000):
        batch = splits.train.batch(rows)
        assert batch.mask is not None
        counts += batch.x[batch.mask].bincount(minlength=len(counts))
    # 10,000 types, end token and <unk> included; the other three special tokens do not occur.
    types = counts > 0
    assert int(types.sum()) == 10000
    # A unigram model with add-one smoothing.
    nats_of = -((counts + types) / (counts + types).sum()).log()
    batch = splits.test.batch(torch.arange(3761))
    assert batch.mask is not None
    assert int(batch.mask.sum()) == int(batch.extras["words"].sum()) == 82430
    nats = nats_of[batch.x][batch.mask].sum().item()
    assert nats / 3761 == pytest.approx(141.61, abs=0.01)
    assert torch.tensor(nats / 82430).exp().item() == pytest.approx(639.8, abs=0.1)


def test_smiles_are_restored_exactly() -> None:
    path = real_file("text/zinc_jtnn_test.txt")
    modality = Text(tokeniser="smiles")
    splits = modality.prepare(TextFiles(path=str(path)))
    batch = splits.train.batch(torch.arange(4000))
    lines = path.read_text().splitlines()
    assert set(modality.decode(batch.x)) <= {line.strip() for line in lines}
    # A bracket atom is one token.
    assert len(modality.vocabulary.encode("C[C@@H](Br)Cl")) == 6
