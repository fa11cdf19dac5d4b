"""The export to Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from aeframe.cli.main import main
from aeframe.data.vector import Vector
from aeframe.model_store.reader import load


def test_each_point_is_a_row_with_its_code_and_picture(tables: Path, tmp_path: Path) -> None:
    file, new = tmp_path / "points.parquet", tmp_path / "new.csv"
    model = load(tables)
    model.modality.write(torch.randn(9, 30), new)
    assert main(["explore", str(tables), str(new), "--export", str(file)]) == 0
    frame = pd.read_parquet(file)
    assert list(frame) == ["index", "x", "y", "z", "picture"]
    batch = model.modality.read(new)
    assert np.allclose(np.stack(frame["z"]), model.encode(batch), atol=1e-5)
    assert frame["index"].tolist() == list(range(9))
    picture = frame["picture"][4]
    assert picture["path"] is None
    assert picture["bytes"].startswith(b"\x89PNG")


def test_points_are_a_random_subset_of_more_samples(
    tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "points.parquet"
    assert main(["explore", str(tables), "--split", "train", "--points", "6", "--export", str(file)]) == 0
    index = pd.read_parquet(file)["index"].tolist()
    assert len(set(index)) == 6
    assert max(index) > 100, "the first rows may be sorted"
    assert "a random 6 of 455 samples are on the map; --points sets another number" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--export", "out.csv"], "--export writes Parquet, found 'out.csv'; choose a name ending in .parquet"),
        (["--export", "there.parquet"], "'there.parquet' exists already; choose another path with --export"),
        (["--export", "no/out.parquet"], "there is no folder 'no' for 'out.parquet'; create it first"),
        (["new.csv", "--split", "test"], "explore reads either FILE or --split of the run's data, found both"),
        (["nowhere.csv"], "nowhere.csv"),
    ],
)
def test_bad_input_is_refused_before_anything_is_served(
    tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str],
    message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("there.parquet").write_text("mine", encoding="utf-8")
    served: list[Any] = []
    monkeypatch.setattr("aeframe.explorer.server.serve", lambda *given, **options: served.append(given))
    assert main(["explore", str(tables), *words]) == 2
    assert message in capsys.readouterr().err
    assert not served
    assert Path("there.parquet").read_text(encoding="utf-8") == "mine"


def test_no_part_of_a_file_is_left_after_an_error(
    tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Vector, x: Any) -> Any:
        raise RuntimeError("no picture")

    monkeypatch.setattr(Vector, "show", fail)
    with pytest.raises(RuntimeError, match="no picture"):
        main(["explore", str(tables), "--export", str(tmp_path / "points.parquet")])
    assert not list(tmp_path.iterdir())


def test_help_imports_no_torch() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from aeframe.cli.explore import Explore; import argparse; p = argparse.ArgumentParser();"
        "Explore().arguments(p); p.format_help(); sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
