"""Prepare the data of datasets, here and in a new process.

The process is ``python -m aeframe.testing.prepared_data THREADS FOLDER...``. Each folder holds ``data.json``, the
configs of a dataset and its modality. The samples are written to ``data.pt``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aeframe.data import downloads
from aeframe.data.random_split import SPLITS
from aeframe.errors import AeframeError
from aeframe.factory import build, signature
from aeframe.noise import noise_of
from aeframe.registry import registry
from aeframe.testing.expectations import NotApplicableError
from aeframe.testing.global_seeds import global_seeds
from aeframe.testing.part_under_test import PartUnderTest, config_of
from aeframe.testing.subprocess_io import run_processes, write_result

CONFIG, DATA = "data.json", "data.pt"
_NUM_ROWS = 32
"""Samples of each split that are compared."""


def write_data_config(part: PartUnderTest) -> None:
    """Write the config of a dataset, and of its modality, to its folder."""
    (part.folder / CONFIG).write_text(json.dumps(read_data_config(part)), encoding="utf-8")


def read_data_config(part: PartUnderTest) -> dict[str, Any]:
    """Return ``{"data": config, "modality": config}`` of a dataset.

    Raises:
        NotApplicableError: The dataset takes samples in memory, or has required options without a value in the suite.
    """
    if "samples" in signature(part.target).injected:
        raise NotApplicableError("it takes samples in memory")
    modality = registry().entry("modality", part.target.modality)
    return {"data": part.config, "modality": config_of(modality, part.options)}


def prepare_in_new_process(parts: Sequence[PartUnderTest]) -> None:
    """Prepare the data of all parts in a process with other hashes of strings."""
    run_processes("aeframe.testing.prepared_data", [[part.folder for part in parts]], PYTHONHASHSEED="12345")


def prepared_samples(config: Mapping[str, Any], *, seed: int) -> dict[str, Tensor] | str:
    """Return the first samples of each split, prepared by a new dataset and modality, or why they cannot be read.

    Args:
        config: ``{"data": config, "modality": config}``.
        seed: The seed of the global generators of torch, numpy and Python, which data must not depend on.
    """
    try:
        with downloads.disabled(), global_seeds(seed):
            splits = build("modality", config["modality"]).prepare(build("dataset", config["data"]))
            samples: dict[str, Tensor] = {}
            for split in SPLITS:
                source = getattr(splits, split)
                samples[f"number of samples in the {split} split"] = torch.tensor(len(source))
                # Random crops and the like draw from torch's generator, which the loader seeds.
                with noise_of(torch.device("cpu"), 2):
                    batch = source.batch(torch.arange(min(_NUM_ROWS, len(source))))
                fields = {"x": batch.x, "mask": batch.mask, "condition": batch.condition, **batch.extras}
                samples |= {f"{name} of the {split} split": t for name, t in fields.items() if t is not None}
            return samples
    except AeframeError as error:
        return str(error)


def main() -> None:
    """Prepare the data of each folder of the command line."""
    torch.set_num_threads(int(sys.argv[1]))
    for folder in map(Path, sys.argv[2:]):
        result: dict[str, Tensor] | str
        try:
            result = prepared_samples(json.loads((folder / CONFIG).read_text(encoding="utf-8")), seed=3)
        except Exception as error:  # noqa: BLE001 -- the plugin boundary: any error is a result
            result = f"{type(error).__name__}: {error}"
        write_result(folder / DATA, result)


if __name__ == "__main__":
    main()
