"""Registered names and options; listing them imports nothing heavy."""

from __future__ import annotations

import json
import subprocess
import sys

from aeframe.factory import defaults

NAMES = {
    "modality": ["video"],
    "dataset": ["moving_mnist", "moving_shapes", "video_files", "video_in_memory", "video_npz"],
    "encoder": ["video_conv"],
    "decoder": ["video_conv"],
    "corruption": ["frames", "tubes"],
    "metric": ["clip_psnr", "flicker", "frame_mse", "frame_psnr", "still_mse"],
    "config": ["video"],
}


def test_listing_names_imports_nothing_heavy() -> None:
    code = (
        "import json, sys\n"
        "from aeframe.registry import registry\n"
        "names = {}\n"
        "for entry in registry().entries():\n"
        "    if entry.distribution == 'aeframe-video':\n"
        "        names.setdefault(entry.kind, []).append(entry.name)\n"
        "        assert entry.summary\n"
        "heavy = [m for m in ('torch', 'numpy', 'av', 'PIL') if m in sys.modules]\n"
        "print(json.dumps([names, heavy]))\n"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names, heavy = json.loads(process.stdout)
    assert {kind: sorted(registered) for kind, registered in names.items()} == NAMES
    assert heavy == []


def test_options_and_their_defaults() -> None:
    assert defaults("modality", "video") == {
        "name": "video", "frames": None, "stride": 1, "fps": None, "every": None,
        "random_start": False, "size": None, "fit": "crop", "padding": 0.0,
        "channels": None, "on_error": "raise",
    }  # fmt: skip
    assert defaults("dataset", "video_files") == {
        "name": "video_files", "path": "???", "validation": 0.1, "test": 0.1, "seed": 0, "max_memory_mb": 2048,
    }  # fmt: skip
    assert defaults("encoder", "video_conv") == {
        "name": "video_conv", "channels": [16, 32], "time_strides": None, "kernel": 3, "time_kernel": 3,
        "form": "2+1d", "causal": False, "blocks": 0, "activation": None, "norm": "none", "dense": None,
    }  # fmt: skip
