"""Five hundred mutations of the files of a saved model and of a run: each is read, or refused in one sentence."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import aeframe
from aeframe.experiment.compose import compose
from aeframe.experiment.workflow import train
from aeframe.model_store.integrity import file_hashes
from aeframe.runs.folder import RunFolder
from aeframe.runs.newest import newest_checkpoint
from aeframe.runs.records import Records
from aeframe.testing.guarded import can_fork, faults_of
from aeframe.testing.mutations import mutate, mutate_values

torch.set_num_threads(1)
pytestmark = pytest.mark.skipif(not can_fork(), reason="needs fork and limits of memory")
MARK = b"aeframe-sha256:"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished run with labels, a condition and all files that a run writes."""
    folder = tmp_path_factory.mktemp("mutated")
    rng = np.random.default_rng(0)
    with (folder / "rows.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["a", "b", "c", "kind"])
        writer.writerows([*rng.random(3).round(3), "xyz"[number % 3]] for number in range(40))
    aeframe.fit(
        model="aae", data={"name": "numbers", "path": str(folder / "rows.csv"), "label": "kind"}, label_classes=3,
        batch_size=8, max_epochs=1, pictures=False, folder=str(folder / "run"), sampler="gmm", ema=0.9,
        penalties={"l1": {"weight": {"name": "linear", "end": 2.0}}},
        trainer={"accelerator": "cpu", "threads": 1},
    )  # fmt: skip
    return folder / "run"


def assert_no_faults(faults: list[str]) -> None:
    assert not faults, "\n\n".join(faults)


def changed_model(model: Path, number: int) -> str:
    """Mutate a file of a saved model, and make the hashes those of a stranger who computes them anew."""
    rng = random.Random(number)
    name = rng.choice(["config.yaml"] * 6 + ["modality.json"] * 3 + ["data.json"] * 3 + ["model.safetensors"] * 2
                      + ["splits.safetensors", "modality.safetensors"])  # fmt: skip
    path = model / name
    content = path.read_bytes()
    if path.suffix == ".safetensors" or rng.random() < 0.2:
        content, what = mutate(content, number)
    elif path.suffix == ".json":
        values, what = mutate_values(json.loads(content), number)
        content = json.dumps(values).encode()
    else:
        values, what = mutate_values(yaml.safe_load(content), number)
        content = yaml.safe_dump(values, sort_keys=False).encode()
    path.write_bytes(content)
    # One in five is damage that the hashes notice.
    if name != "config.yaml" and number % 5:
        config = yaml.safe_load((model / "config.yaml").read_text())
        (model / "config.yaml").write_text(yaml.safe_dump({**config, "sha256": file_hashes(model)}))
    return f"{name}: {what}"


def test_a_mutated_model_is_opened_or_refused(run: Path, tmp_path: Path) -> None:
    original, model = run / "model", tmp_path / "model"

    def attempt(number: int) -> tuple[str, Callable[[], object]]:
        shutil.rmtree(model, ignore_errors=True)
        shutil.copytree(original, model)
        return changed_model(model, number), lambda: aeframe.load(model)

    shutil.copytree(original, model)
    aeframe.load(model)
    assert_no_faults(faults_of(attempt, 380, tmp_path, seconds=20))


def with_hash(archive: bytes) -> bytes:
    return archive + MARK + hashlib.sha256(archive).hexdigest().encode()


def test_mutated_files_of_a_run_are_read_or_refused(run: Path, tmp_path: Path) -> None:
    copy = RunFolder(tmp_path / "run")
    names = ["checkpoints/last.ckpt", "metrics.csv", "config.yaml", "overrides.yaml", "state.json", "metrics.json",
             "data.json", "splits.safetensors"]  # fmt: skip
    originals = {name: (run / name).read_bytes() for name in names}

    def read(name: str) -> object:
        if name == "metrics.csv":
            records = Records(copy.metrics)
            records.keep(lambda number, row: number > 2)
            return records.read()
        if name in ("config.yaml", "overrides.yaml"):
            return compose([f"resume={copy.path}"]), copy.read_overrides()
        if name == "state.json":
            return copy.read_state()
        if name == "metrics.json":
            return copy.read_metrics()
        if name.startswith("checkpoints"):
            newest = newest_checkpoint(copy)
            return newest is None or (newest.progress, newest.run_state)
        from aeframe.model_store.data_record import read_data_record

        return read_data_record(copy.path)

    def attempt(number: int) -> tuple[str, Callable[[], object]]:
        shutil.rmtree(copy.path, ignore_errors=True)
        shutil.copytree(run, copy.path)
        name = names[number % len(names)]
        content = originals[name]
        if name.endswith(".ckpt"):
            (copy.path / "checkpoints" / "best.ckpt").unlink()
            (copy.path / "checkpoints" / "last.previous.ckpt").unlink(missing_ok=True)
            content, what = mutate(content[: -len(MARK) - 64], number)
            content = with_hash(content)
        elif number % 3 or not name.endswith((".yaml", ".json")):
            content, what = mutate(content, number)
        elif name.endswith(".yaml"):
            values, what = mutate_values(yaml.safe_load(content), number)
            content = yaml.safe_dump(values).encode()
        else:
            values, what = mutate_values(json.loads(content), number)
            content = json.dumps(values).encode()
        (copy.path / name).write_bytes(content)
        return f"{name}: {what}", lambda: read(name)

    assert_no_faults(faults_of(attempt, 120, tmp_path, seconds=20))


def test_resume_from_a_mutated_checkpoint_ends_in_one_sentence(run: Path, tmp_path: Path) -> None:
    copy = RunFolder(tmp_path / "run")
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)

    def attempt(number: int) -> tuple[str, Callable[[], object]]:
        shutil.rmtree(copy.path, ignore_errors=True)
        shutil.copytree(run, copy.path)
        shutil.rmtree(copy.model)
        values, what = mutate_values(checkpoint, number)
        archive = io.BytesIO()
        torch.save(values, archive)
        for name in ("last.ckpt", "best.ckpt"):
            (copy.checkpoints / name).write_bytes(with_hash(archive.getvalue()))
        copy.write_state("training")
        overrides = [f"resume={copy.path}", "max_epochs=2", "pictures=false"]
        return what, lambda: train(compose(overrides), overrides=overrides)

    assert_no_faults(faults_of(attempt, 16, tmp_path, seconds=60))
