"""Write the kept models of the current format: ``python tests/model_store/saved_models/write.py``.

Run it once when `aeframe.model_store.layout.FORMAT` has increased, and commit the new folders ``FORMAT/NAME``. Those of
earlier formats are never written again: they stand for models that users have saved. Within a format, write them again
only if no user can have saved such a model.

Models of core are kept beside this file, those of a plugin in ``plugins/aeframe-NAME/tests/saved_models``.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import aeframe
from aeframe.testing.kept_models import write_kept_model

ROOT = Path(__file__).parents[3]
SETTINGS: dict[str, Any] = {"max_epochs": 2, "batch_size": 16, "verbose": False, "pictures": False, "seed": 1}


def _plugin(name: str) -> Path:
    return ROOT / "plugins" / f"aeframe-{name}" / "tests" / "saved_models"


def models() -> dict[str, tuple[Path, Any, dict[str, Any]]]:
    """Return where each model is kept, its training samples, and its settings, by name."""
    rng = np.random.default_rng(0)
    rows = rng.normal(2.0, 3.0, (60, 4)).astype(np.float32)
    pictures = rng.integers(0, 256, (40, 8, 8), dtype=np.uint8)
    words = ["a", "red", "green", "cat", "dog", "runs"]
    texts = [" ".join(rng.choice(words, 1 + number % 4)) for number in range(60)]
    small = {"dim": 2}
    return {
        "vae": (Path(__file__).parent, rows, {"model": "vae", "latent": small, "encoder": {"hidden": [5]}}),
        "image_vqvae": (
            _plugin("image"),
            pictures,
            {
                "model": "vqvae",
                "modality": "image",
                "latent": {"dim": 2, "codebook_size": 8},
                "encoder": {"channels": [2, 4]},
            },
        ),
        "text_vae": (
            _plugin("text"),
            texts,
            {"model": "vae", "latent": small, "encoder": {"hidden": 4, "embedding": 4}},
        ),
    }


def main() -> None:
    """Train and keep all models."""
    for name, (folder, samples, settings) in models().items():
        with tempfile.TemporaryDirectory() as temporary:
            run = aeframe.fit(samples, folder=f"{temporary}/run", **SETTINGS, **settings)
            kept = write_kept_model(run.folder / "model", folder, name, samples[:3])
        size = sum(path.stat().st_size for path in kept.iterdir())
        print(f"{kept.relative_to(ROOT)}: {size:,} bytes")


if __name__ == "__main__":
    main()
