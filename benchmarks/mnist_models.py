"""Make one table of the runs of a sweep: ``python benchmarks/mnist_models.py RUN_FOLDER...``.

Reads what the runs themselves wrote (their configs and test metrics) and draws some samples of each saved model. Writes
``mnist_models.json``, ``mnist_models.md`` and ``mnist_models.png`` into benchmarks/results.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

import aeframe
from aeframe.model_store.files import read_yaml
from aeframe.runs.folder import RunFolder

RESULTS = Path(__file__).with_name("results")
_SAMPLES, _SEED, _COLUMNS = 10, 0, 2
# What a table shows of each run, where it has it.
_SHOWN = {
    "mse": "mse",
    "bound": "bound",
    "kl": "KL",
    "active_units": "active units",
    "codebook_used": "codes used",
    "codebook_perplexity": "perplexity",
    "dead_features": "dead features",
    "mutual_information": "I(x; z)",
}

_ODD = """
## Rows that look odd

- `capacity_vae`: 25 nats of KL and a worse reconstruction than `vae` with 18. Its weight of 100 pulls the KL to a
  capacity that grows until the run is nearly over, and moving the whole posterior away from the prior is the fastest
  way to get there: 18 of the 25 nats lie between the aggregate posterior and the prior (`marginal_kl` in the JSON).
- `joint_vae` holds 7.3 nats because its capacities are 5 and 2.3: the numbers are the recipe's, made for
  disentangling.
- `ladder_vae` has collapsed onto one unit, and the run says so: its warm-up is a tenth of the run as in the paper,
  which is half an epoch here.
- `linear_ae` stands above the 16 principal components (.0269): five epochs are short for it, and
  experiment=mnist_linear_ae gets there.
- Dictionaries: 37 to 45 % of the 1,024 features of `topk`, `batch_topk` and `matryoshka` are silent on the test
  split; reviving begins after 10,000 silent samples, and has had five epochs. `gated` and `jumprelu` have hardly
  begun to be sparse (418 features a sample for `gated`). Their samples are scribbles: a diagonal density knows
  nothing of which features go together.
- `fsq_vae` uses 22 % of its grid: no term asks it to use more, and five epochs are few.
- `nvae`, `vdvae` and `vqgan` had one epoch, for want of time on a CPU.
"""


def main(argv: list[str] | None = None) -> int:
    """Collect the runs and write the three files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="run folders, or folders of them")
    folders = [
        each.parent for path in parser.parse_args(argv).runs for each in sorted(path.rglob("metrics.json"))
    ]  # fmt: skip
    # A model that was run again has the newest run only.
    newest = {read_yaml(folder / "config.yaml")["model"]["name"]: folder for folder in folders}
    found = [_run(newest[name]) for name in sorted(newest)]
    (RESULTS / "mnist_models.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (RESULTS / "mnist_models.md").write_text(_table(found), encoding="utf-8")
    _sheet(newest).savefig(RESULTS / "mnist_models.png", dpi=70)
    print(f"{len(found)} runs")
    return 0


def _run(folder: Path) -> dict[str, Any]:
    config = read_yaml(folder / "config.yaml")
    metrics = RunFolder(folder).read_metrics()["test"]
    kept = {name: value for name, value in metrics.items() if not name.rpartition("/")[2].isdigit()}
    parts = {kind: config[kind]["name"] for kind in ("encoder", "latent", "prior", "loss", "objective", "sampler")}
    return {
        "model": config["model"]["name"],
        "seed": config["seed"],
        "epochs": config["max_epochs"],
        "label_classes": config.get("label_classes", 0),
        "parts": parts,
        "test": kept,
    }


def _table(runs: list[dict[str, Any]]) -> str:
    lines = [
        "# Every model on MNIST",
        "",
        "Written by benchmarks/mnist_models.py from the runs of configs/experiment/mnist_models.yaml. Test split, seed "
        f"{runs[0]['seed']}, one run each. `bound` is in nats for likelihoods (Bernoulli here) and in the loss's own "
        "unit for mse; rows of one loss compare. Samples, in the order of the table: mnist_models.png.",
        "",
        f"| model | latent | loss | epochs | {' | '.join(_SHOWN.values())} |",
        f"|---|---|---|---|{'---|' * len(_SHOWN)}",
    ]
    for run in runs:
        cells = [f"{run['test'][name]:.4g}" if name in run["test"] else "" for name in _SHOWN]
        known = [run["model"], run["parts"]["latent"], run["parts"]["loss"], str(run["epochs"])]
        known[0] += " (told the label)" if run["label_classes"] else ""
        lines.append(f"| {' | '.join(known + cells)} |")
    return "\n".join(lines) + "\n" + _ODD


def _sheet(names: dict[str, Path]) -> Figure:
    """Draw a row of samples for each model; one that takes labels has one of each."""
    rows = -(-len(names) // _COLUMNS)
    figure = Figure(figsize=(12, 0.62 * rows), layout="constrained")
    axes = figure.subplots(rows, _COLUMNS, squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for ax, name in zip(axes.T.flat, sorted(names), strict=False):
        model = aeframe.load(names[name])
        labels = torch.eye(model.spec.condition)[:_SAMPLES] if model.spec.condition else None
        x = model.sample(_SAMPLES, seed=_SEED, condition=labels)
        ax.imshow(torch.cat([each[0] for each in x], 1).numpy(), cmap="gray", vmin=0, vmax=1)
        ax.set_title(name, fontsize=8, loc="left", pad=1)
    return figure


if __name__ == "__main__":
    sys.exit(main())
