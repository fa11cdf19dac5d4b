"""Registered names and options; listing them imports nothing heavy."""

from __future__ import annotations

import json
import subprocess
import sys

from aeframe.factory import defaults

NAMES = {
    "modality": ["audio"],
    "dataset": ["audio_folder", "audio_in_memory", "fsdd", "vowels_simulated"],
    "encoder": ["spectrogram", "wave_conv"],
    "decoder": ["spectrogram", "wave_conv"],
    "activation": ["snake"],
    "loss": ["snr"],
    "penalty": ["mel", "stft"],
    "metric": ["bitrate", "log_spectral_distance", "mel_distance", "si_sdr", "window_pca"],
    "feature_space": ["log_mel"],
    "config": ["audio"],
    "command": ["codec_report", "transcode"],
}


def test_listing_names_imports_nothing_heavy() -> None:
    code = (
        "import json, sys\n"
        "from aeframe.registry import registry\n"
        "names = {}\n"
        "for entry in registry().entries():\n"
        "    if entry.distribution == 'aeframe-audio':\n"
        "        names.setdefault(entry.kind, []).append(entry.name)\n"
        "        assert entry.summary\n"
        "heavy = [m for m in ('torch', 'numpy', 'soundfile', 'julius', 'matplotlib') if m in sys.modules]\n"
        "print(json.dumps([names, heavy]))\n"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names, heavy = json.loads(process.stdout)
    assert {kind: sorted(registered) for kind, registered in names.items()} == NAMES
    assert heavy == []


def test_options_and_their_defaults() -> None:
    assert defaults("modality", "audio") == {
        "name": "audio", "seconds": 0.5, "rate": None, "channels": None, "gate": -50.0, "scale": None,
        "on_error": "raise",
    }  # fmt: skip
    assert defaults("dataset", "audio_folder") == {
        "name": "audio_folder", "path": "???", "validation": 0.1, "test": 0.1, "seed": 0, "max_memory_mb": 2048,
    }  # fmt: skip
