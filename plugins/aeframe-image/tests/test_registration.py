"""The registered names and default options, and that listing them imports no heavy package."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from aeframe.cli import Command
from aeframe.data import Dataset, Modality
from aeframe.evaluation.feature_spaces import FeatureSpace
from aeframe.evaluation.metrics.base import ModelMetric
from aeframe.factory import defaults, signature
from aeframe.parts.losses.base import Loss
from aeframe.parts.networks.base import Decoder, Encoder
from aeframe.registry import registry

NAMES = {
    "modality": ["image"],
    "dataset": [
        "cifar10",
        "digits",
        "fashion_mnist",
        "glyphs",
        "image_folder",
        "image_huggingface",
        "image_in_memory",
        "image_npz",
        "image_shards",
        "mnist",
        "shapes",
    ],
    "encoder": ["vqgan"],
    "decoder": ["vqgan"],
    "loss": ["ms_ssim", "ssim"],
    "metric": ["bits_per_dimension", "psnr", "ssim"],
    "feature_space": ["classifier"],
    "command": ["image_classifier", "image_tiles"],
}
CONTRACTS = {
    "modality": Modality,
    "dataset": Dataset,
    "metric": ModelMetric,
    "feature_space": FeatureSpace,
    "encoder": Encoder,
    "decoder": Decoder,
    "loss": Loss,
    "command": Command,
}


def test_names_are_listed_without_heavy_imports() -> None:
    code = (
        "import json, sys\n"
        "from aeframe.registry import registry\n"
        "names = {}\n"
        "for entry in registry().entries():\n"
        "    if entry.distribution == 'aeframe-image':\n"
        "        names.setdefault(entry.kind, []).append(entry.name)\n"
        "        assert entry.summary\n"
        "heavy = [m for m in ('torch', 'numpy', 'PIL', 'matplotlib', 'sklearn') if m in sys.modules]\n"
        "print(json.dumps([names, heavy]))\n"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names, heavy = json.loads(process.stdout)
    assert {kind: sorted(found) for kind, found in names.items()} == {**NAMES, "config": ["image"]}
    assert heavy == []


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in NAMES.items() for name in names])
def test_each_name_is_a_class_of_its_kind(kind: str, name: str) -> None:
    target = registry().load(kind, name)
    assert issubclass(target, CONTRACTS[kind])
    assert target.__doc__
    assert not target.__abstractmethods__ if hasattr(target, "__abstractmethods__") else True
    if kind in ("modality", "dataset", "command"):
        assert list(signature(target).injected) == (["samples"] if name == "image_in_memory" else [])
    if kind == "dataset":
        assert target.modality == "image"


def test_options_and_their_defaults() -> None:
    assert defaults("modality", "image") == {
        "name": "image",
        "domain": "unit",
        "binarize": None,
        "binarize_seed": 0,
        "size": None,
        "fit": "crop",
        "padding": 0.0,
        "channels": None,
        "range": None,
        "random_crop": 0,
        "flip": False,
        "on_error": "raise",
    }
    assert defaults("dataset", "image_folder") == {
        "name": "image_folder",
        "path": "???",
        "validation": 0.1,
        "test": 0.1,
        "seed": 0,
        "max_memory_mb": 2048,
    }


def test_the_defaults_of_the_modality_are_registered() -> None:
    modality = registry().load("modality", "image")
    for kind, name in modality.defaults.items():
        assert registry().has(kind, name)
    for name in modality.metrics:
        assert registry().has("metric", name)
    assert registry().has("dataset", modality.dataset)
    assert registry().has("dataset", modality.in_memory)
