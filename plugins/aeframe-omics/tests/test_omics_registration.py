"""The registered names and default options, and that listing them imports no heavy package."""

from __future__ import annotations

import json
import subprocess
import sys

from aeframe.factory import defaults

NAMES = {
    "modality": ["omics"],
    "dataset": ["cells_simulated", "h5ad", "omics_in_memory"],
    "encoder": ["counts_mlp"],
    "loss": ["views"],
    "metric": ["cell_clusters", "poisson_deviance"],
    "feature_space": ["log_normalised"],
    "config": ["omics"],
    "command": ["annotate", "cell_map"],
}


def test_names_are_listed_without_heavy_imports() -> None:
    code = (
        "import json, sys\n"
        "from aeframe.registry import registry\n"
        "names = {}\n"
        "for entry in registry().entries():\n"
        "    if entry.distribution == 'aeframe-omics':\n"
        "        names.setdefault(entry.kind, []).append(entry.name)\n"
        "        assert entry.summary\n"
        "heavy = [m for m in ('torch', 'numpy', 'pandas', 'anndata', 'h5py', 'sklearn', 'umap') if m in sys.modules]\n"
        "print(json.dumps([names, heavy]))\n"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names, heavy = json.loads(process.stdout)
    assert {kind: sorted(found) for kind, found in names.items()} == NAMES
    assert heavy == []


def test_options_and_their_defaults() -> None:
    assert defaults("modality", "omics") == {
        "name": "omics", "values": "counts", "fractions": "refuse", "unseen": "refuse", "missing": "refuse",
        "on_error": "raise",
    }  # fmt: skip
    assert defaults("dataset", "h5ad") == {
        "name": "h5ad", "path": "???", "layer": None, "categorical": [], "continuous": [], "label": None, "batch": None,
        "library": None, "where": None, "split": None, "validation": 0.1, "test": 0.1, "seed": 0, "min_counts": 0,
        "views": [], "backed": False, "gene_names": "symbols",
    }  # fmt: skip
