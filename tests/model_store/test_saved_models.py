"""Models that earlier versions have saved open, and return what they returned then."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from aeframe.model_store.layout import FORMAT
from aeframe.testing.expectations import CheckFailedError
from aeframe.testing.kept_models import check_kept_model, kept_models, write_kept_model

KEPT = kept_models(Path(__file__).parent / "saved_models")


@pytest.mark.parametrize("folder", KEPT, ids=[f"{path.parent.name}-{path.name}" for path in KEPT])
def test_a_saved_model_of_an_earlier_version_is_the_same(folder: Path) -> None:
    check_kept_model(folder)


def test_each_format_has_a_saved_model() -> None:
    assert {path.parent.name for path in KEPT} == {str(number) for number in range(1, FORMAT + 1)}


def test_other_values_are_found(tmp_path: Path) -> None:
    (folder,) = [path for path in KEPT if path.parent.name == str(FORMAT)]
    kept = write_kept_model(folder, tmp_path, "copy", torch.ones(2, 4).numpy())
    check_kept_model(kept)
    expected = load_file(kept / "expected.safetensors")
    save_file({**expected, "bound": expected["bound"] + 1}, kept / "expected.safetensors")
    with pytest.raises(CheckFailedError) as error:
        check_kept_model(kept)
    assert str(error.value) == f"the kept model '{FORMAT}/copy' returns other values of bound"
