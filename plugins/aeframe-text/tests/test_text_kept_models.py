"""Models that earlier versions have saved open, and return what they returned then."""

from __future__ import annotations

from pathlib import Path

import pytest

from aeframe.testing.kept_models import check_kept_model, kept_models

KEPT = kept_models(Path(__file__).parent / "saved_models")


@pytest.mark.parametrize("folder", KEPT, ids=[f"{path.parent.name}-{path.name}" for path in KEPT])
def test_a_saved_model_of_an_earlier_version_is_the_same(folder: Path) -> None:
    check_kept_model(folder)
