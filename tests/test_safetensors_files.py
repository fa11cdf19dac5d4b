from __future__ import annotations

import stat
from pathlib import Path

import torch
from safetensors.torch import load_file

from aeframe.safetensors_files import write_safetensors


def test_a_file_has_the_permissions_of_other_new_files(tmp_path: Path) -> None:
    write_safetensors({"a": torch.arange(3)}, tmp_path / "a.safetensors", {"key": "value"})
    (tmp_path / "other").touch()
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a.safetensors", "other")]
    assert modes[0] == modes[1]
    assert load_file(tmp_path / "a.safetensors")["a"].tolist() == [0, 1, 2]
