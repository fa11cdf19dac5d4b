"""The gallery: pictures of runs. ``python docs/site/gallery.py [RUN ...] [-o FOLDER]`` collects them.

Without run folders, a few short experiments are run, one after another for at most about two minutes. The pictures
are written to ``build/gallery``, which git ignores, and the site shows them.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXPERIMENTS: dict[str, tuple[str, ...]] = {
    "glyphs_vae": ("experiment=glyphs_quick",),
    "digits_vqvae": ("model=vqvae", "data=digits", "max_epochs=10"),
    "digits_mae": ("model=mae", "data=digits", "max_epochs=10"),
    "series_ae": ("model=ae", "modality=series", "max_epochs=4"),
    "audio_ae": ("model=ae", "modality=audio", "max_epochs=4"),
    "omics_vae": ("model=vae", "modality=omics", "max_epochs=4"),
    "video_ae": ("model=ae", "modality=video", "max_epochs=2"),
    "text_vae": ("model=vae", "modality=text", "max_epochs=4"),
}
"""Overrides by name, the quickest and most telling first: those before which the time is over are skipped."""
_SECONDS = 110
_SHOWN = ("reconstructions", "samples", "interpolation", "latent")
_NONE = """\
This site was built without pictures. `make docs GALLERY=quick` runs a few short experiments first, and
`python docs/site/gallery.py RUN ...` collects the pictures of your runs.
"""


def page(folder: Path) -> str:
    """Return the page of the gallery; a note if there are no pictures."""
    parts = ["# Gallery", ""]
    entries = sorted(folder.glob("*/run.json"))
    if not entries:
        return "\n".join([*parts, _NONE])
    parts += [
        "Pictures that runs draw at their end. The experiments are short: better models need longer training.",
        "",
    ]
    for path in entries:
        entry = json.loads(path.read_text(encoding="utf-8"))
        figures = "".join(
            f'<figure><img src="{path.parent.name}/{escape(name)}.png" alt="{escape(title)}" loading="lazy">'
            f"<figcaption>{escape(title)}</figcaption></figure>"
            for name, title in entry["pictures"].items()
        )
        command = "aeframe-train " + " ".join(entry["overrides"])
        parts += [f"## {entry['name']}", "", f"```sh\n{command}\n```", ""]
        parts += [f'<div class="gallery">{figures}</div>', ""]
    return "\n".join(parts)


def pictures(folder: Path) -> list[Path]:
    """Return the pictures of the gallery."""
    return sorted(folder.glob("*/*.png"))


def collect(run: Path, name: str, folder: Path) -> None:
    """Copy the pictures of a finished run into the gallery."""
    from aeframe.runs.folder import RunFolder

    source = RunFolder.open(run)
    target = folder / name
    target.mkdir(parents=True, exist_ok=True)
    shown = {}
    for picture in _SHOWN:
        path = source.pictures / f"{picture}.png"
        if path.is_file():
            shutil.copyfile(path, target / path.name)
            shown[picture] = picture.capitalize()
    hidden = ("folder=", "root=", "progress=", "verbose=")
    overrides = [each for each in source.read_overrides() if not each.startswith(hidden)]
    entry = {"name": name, "overrides": overrides, "pictures": shown}
    (target / "run.json").write_text(json.dumps(entry, indent=2) + "\n", encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    """Collect the pictures of the given runs, or of short experiments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", metavar="RUN", type=Path, nargs="*", help="folders of finished runs")
    parser.add_argument("-o", "--output", metavar="FOLDER", type=Path, default=ROOT / "build" / "gallery")
    args = parser.parse_args(argv)
    for run in args.runs:
        collect(run, run.name, args.output)
    if args.runs:
        return 0
    # In one process, so that torch is imported once.
    from aeframe.experiment.main import main as train

    end = time.monotonic() + _SECONDS
    with tempfile.TemporaryDirectory() as folder:
        for name, overrides in EXPERIMENTS.items():
            if time.monotonic() > end:
                print(f"gallery: no time is left for {name} and the experiments after it")
                break
            run = Path(folder, name)
            if train([*overrides, f"folder={run}", "verbose=false", "progress=false"]) != 0:
                return 2
            collect(run, name, args.output)
            print(f"gallery: {name}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
