"""Pages of the Python API, whose content mkdocstrings reads from docstrings, without importing the code."""

from __future__ import annotations

PAGES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "train-and-load": (
        "Train and load",
        "What most programs need; each name can be imported from `aeframe`.",
        (
            "aeframe.experiment.api.fit",
            "aeframe.experiment.api.build",
            "aeframe.model_store.reader.load",
            "aeframe.experiment.finished_run.Run",
            "aeframe.data.samples.Samples",
            "aeframe.registry.register",
            "aeframe.errors.AeframeError",
        ),
    ),
    "trained-model": (
        "TrainedModel",
        "What `aeframe.load` returns.",
        ("aeframe.model_store.trained_model.TrainedModel",),
    ),
    "sklearn": ("aeframe.sklearn", "Estimators for scikit-learn.", ("aeframe.sklearn",)),
    "data": (
        "aeframe.data",
        "Modalities and datasets; see also [contracts](../reference/contracts.md).",
        ("aeframe.data.modality.Modality", "aeframe.data.modality.Dataset", "aeframe.data.modality.Splits"),
    ),
    "types": (
        "aeframe.types",
        "What passes between the parts of a model.",
        (
            "aeframe.types.batch",
            "aeframe.types.spec",
            "aeframe.types.output",
            "aeframe.types.loss_terms",
            "aeframe.types.progress",
            "aeframe.types.model",
        ),
    ),
    "tensors": ("aeframe.tensors", "Functions on tensors that losses and latents share.", ("aeframe.tensors",)),
    "runs": (
        "aeframe.runs",
        "Run folders, their measurements, and comparisons of runs.",
        ("aeframe.runs.folder", "aeframe.runs.records", "aeframe.runs.comparison", "aeframe.runs.sweep"),
    ),
    "testing": (
        "aeframe.testing",
        "Test tools for authors of plugins.",
        ("aeframe.testing.suite.PluginSuite", "aeframe.testing.noise.RowNoise"),
    ),
}
"""Title, introduction and names by page."""


def pages() -> dict[str, str]:
    """Return the source of each page by its name."""
    return {
        name: f"# {title}\n\n{introduction}\n\n" + "\n\n".join(f"::: {path}" for path in paths) + "\n"
        for name, (title, introduction, paths) in PAGES.items()
    }
