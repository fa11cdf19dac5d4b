"""The feature space `classifier`: classifier files, the command, and the comparison of samples."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import aeframe
from aeframe import AeframeError
from aeframe.cli.main import main
from aeframe.data.vector import Vector
from aeframe.factory import build
from aeframe.types import DataSpec, Domain
from aeframe_image.extractor import Classifier, ClassifierFeatures, Extractor, save_classifier


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of digits, trained by the command."""
    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("classifier") / "digits.safetensors"
    assert main(["image-classifier", "digits", "--epochs", "3", "-o", str(path)]) == 0
    return path


def test_a_classifier_recognises_digits_and_accepts_other_sizes(classifier: Path) -> None:
    extractor = Extractor.load(classifier)
    splits = build("modality", "image").prepare(build("dataset", "digits"))
    batch = splits.test.batch(torch.arange(len(splits.test)))
    accuracy = (extractor.network.logits(batch.x).argmax(1) == batch.extras["label"]).double().mean()
    assert float(accuracy) > 0.9
    assert extractor.network(torch.rand(2, 3, 20, 30)).shape == (2, 64)
    assert not any(each.requires_grad for each in extractor.network.parameters())


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AeframeError) as caught:
        Extractor.load(tmp_path / "none")
    assert str(caught.value) == f"there is no classifier '{tmp_path}/none'; make one with aeframe image-classifier"
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(AeframeError) as caught:
        Extractor.load(tmp_path / "other.safetensors")
    assert str(caught.value) == (
        f"'{tmp_path}/other.safetensors' is not an image classifier of this version ('aeframe_image'); make one with "
        "aeframe image-classifier"
    )
    (tmp_path / "cut").write_bytes(b"abc")
    with pytest.raises(AeframeError, match="is not an image classifier of this version"):
        Extractor.load(tmp_path / "cut")


def test_a_saved_classifier_is_loaded(tmp_path: Path) -> None:
    network = Classifier((3, 12, 10), 4, channels=(4, 8), features=6).eval()
    saved = save_classifier(network, tmp_path / "a.safetensors", name="mine", about={"accuracy": 0.5})
    x = torch.rand(2, 3, 12, 10)
    torch.testing.assert_close(saved.network(x), network(x))
    assert saved.name.startswith("mine-")


def test_samples_are_compared_in_the_features_of_a_classifier(
    classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = tmp_path / "run", tmp_path / "out.json"
    options = {"latent": {"dim": 2}, "encoder": {"channels": [4]}, "max_batches": 3, "pictures": False}
    aeframe.fit(model="ae", modality="image", data="digits", folder=str(run), **options)
    file = f"features.classifier.file={classifier}"
    assert main(["evaluate", str(run), file, "--split", "train", "-n", "100", "-o", str(out)]) == 0
    (space, values), *others = json.loads(out.read_text())["samples"].items()
    digest = hashlib.sha256(classifier.read_bytes()).hexdigest()
    assert not others
    assert space == f"classifier-digits-{digest[:8]}"
    assert (values["num"], values["num_features"]) == (100, 64)
    assert values["floor"]["frechet"] < values["reconstructions"]["frechet"]
    capsys.readouterr()
    assert main(["evaluate", str(run), file, "-n", "60"]) != 0
    assert (
        "feature space classifier has 64 features, whose covariance requires more than 64 samples in each half of the "
        "split, found 60; choose a larger split, or fewer features" in capsys.readouterr().err
    )
    with pytest.raises(AeframeError) as caught:
        ClassifierFeatures(Vector(), DataSpec((4,), Domain("real")), file=classifier)
    assert str(caught.value) == ("feature space classifier is for modality image, found Vector; choose another one")
