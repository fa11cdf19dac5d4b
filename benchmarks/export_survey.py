"""Which functions of which recipes can be exported, in each format, and why the others cannot.

``python benchmarks/export_survey.py [NAME ...]`` prints a row of Markdown for each model: all recipes of core on rows
of numbers, and the defaults of the other modalities. Models have random weights, since these change nothing here.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import torch

import aeframe
from aeframe.errors import AeframeError
from aeframe.experiment.checks import check
from aeframe.experiment.compose import compose
from aeframe.experiment.composition.option_files import core_recipes
from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.model_store.export.functions import FUNCTIONS
from aeframe.model_store.export.programs import FORMATS
from aeframe.model_store.trained_model import TrainedModel
from aeframe.types import TrainingProgress

# Recipes that need pairs of samples, or positions.
_OTHER = {
    "ada_gvae": ["data=breast_cancer", "pairs=true"],
    "ml_vae": ["data=breast_cancer", "pairs=true"],
    "mae": ["data=digits"],
}
_MODALITIES = {
    "image vae": ["data=digits", "model=vae"],
    "image vqvae": ["data=digits", "model=vqvae"],
    "image vdvae": ["data=digits", "model=vdvae"],
    "text vae": ["data=sentences", "model=vae"],
    "text vae, transformer": ["data=sentences", "model=vae", "encoder=token_transformer"],
    "omics vae": ["data=cells_simulated", "model=vae"],
    "audio vae": ["data=vowels_simulated", "model=vae"],
    "audio codec": ["data=vowels_simulated", "model=codec"],
    "series vae": ["data=series_simulated", "model=vae"],
    "video vae": ["data=moving_shapes", "model=vae"],
}


def untrained(overrides: list[str]) -> TrainedModel:
    """Return a model with random weights and the fitted modality of its data."""
    config = compose(overrides)
    modality, dataset, spec = check(config)
    modality.prepare(dataset)
    torch.manual_seed(0)
    model = assemble(config, spec)
    sampler = build("sampler", "prior", model=model)
    return TrainedModel(model.eval(), modality, sampler, config, spec, TrainingProgress(), torch.device("cpu"))


def row(name: str, overrides: list[str], folder: Path) -> str:
    """Return the row of one model."""
    try:
        model = untrained(overrides)
    except AeframeError as error:
        return f"| {name} | not built: {error} |"
    cells, reasons = [], dict[str, None]()
    start = time.monotonic()
    for file_format in FORMATS:
        done = []
        for function in FUNCTIONS:
            try:
                aeframe.export_model(
                    model, folder / f"{file_format}-{function}", format=file_format, functions=[function]
                )
                done.append(function)
            except AeframeError as error:
                reasons[str(error).split("cannot export ")[1].split(";")[0]] = None
            finally:
                for path in folder.glob("*/*"):
                    path.unlink()
                for path in folder.iterdir():
                    path.rmdir()
        cells.append("all" if len(done) == len(FUNCTIONS) else ", ".join(done) or "none")
    return f"| {name} | {' | '.join(cells)} | {'; '.join(reasons)} | {time.monotonic() - start:.0f} s |"


def main(chosen: list[str]) -> None:
    """Print the table of the chosen models, or of all."""
    models = {name: _OTHER.get(name, ["data=breast_cancer"]) for name in core_recipes()}
    models = {name: [*overrides, f"model={name}"] for name, overrides in models.items()} | _MODALITIES
    print("| model | " + " | ".join(FORMATS) + " | reason | time |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen or models:
            print(row(name, models[name], Path(folder)), flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1:])
