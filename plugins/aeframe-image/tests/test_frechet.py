"""The Fréchet distance: closed forms, moments, classifier files, and the commands."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import scipy.linalg
import torch
from safetensors.torch import save_file

import aeframe
from aeframe import AeframeError
from aeframe.cli.main import main
from aeframe.factory import build
from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.types import Batch, DataSpec, Domain
from aeframe_image.extractor import Classifier, Extractor, save_classifier
from aeframe_image.frechet import Moments, squared_frechet_distance


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


def test_the_distance_of_normals_with_diagonal_covariances() -> None:
    # |a - b|^2 plus the squared differences of the standard deviations.
    mean_a, mean_b = torch.tensor([1.0, 2.0]).double(), torch.tensor([4.0, -2.0]).double()
    a, b = torch.tensor([1.0, 9.0]).double().diag(), torch.tensor([16.0, 4.0]).double().diag()
    assert float(squared_frechet_distance(mean_a, a, mean_b, b)) == pytest.approx(25 + 9 + 1)


def test_the_distance_of_normals_by_scipys_matrix_root() -> None:
    a, b = (factor @ factor.T for factor in torch.randn(2, 6, 6).double())
    mean_a, mean_b = torch.randn(2, 6).double()
    root = scipy.linalg.sqrtm((a @ b).numpy())
    expected = float((mean_a - mean_b).square().sum() + a.trace() + b.trace()) - 2 * float(root.trace().real)
    assert float(squared_frechet_distance(mean_a, a, mean_b, b)) == pytest.approx(expected, abs=1e-8)
    assert float(squared_frechet_distance(mean_a, a, mean_a, a)) == pytest.approx(0, abs=1e-8)


def test_the_distance_of_normals_with_singular_covariances() -> None:
    # Rounding may make a zero eigenvalue negative.
    a = torch.tensor([[1.0, 1.0], [1.0, 1.0]]).double()
    zero = torch.zeros(2).double()
    assert float(squared_frechet_distance(zero, a, zero, 4 * a)) == pytest.approx(2.0, abs=1e-7)


def test_the_moments_of_two_parts_are_added() -> None:
    rows = torch.randn(50, 4) + 3
    mean, covariance = (Moments.from_features(rows[:20]) + Moments.from_features(rows[20:])).mean_and_covariance()
    torch.testing.assert_close(mean.float(), rows.mean(0))
    torch.testing.assert_close(covariance.float(), rows.T.cov())


def model(domain: str = "unit") -> Autoencoder:
    config = {"encoder": {"name": "mlp", "hidden": [5]}, "latent": {"name": "point", "dim": 3}, "loss": "mse"}
    return assemble(config, DataSpec((1, 8, 8), Domain.parse(domain))).eval()


@pytest.mark.parametrize("domain", ["unit", "signed"])
def test_the_metric_is_the_distance_whatever_the_batches(classifier: Path, domain: str) -> None:
    net, extractor = model(domain), Extractor.load(classifier)
    x = torch.rand(90, 1, 8, 8) * (2 if domain == "signed" else 1) - int(domain == "signed")
    made = net.loss.mean(net(Batch(x)).output)
    unit = [((each + 1) / 2 if domain == "signed" else each).clamp(0, 1) for each in (x, made)]
    expected = squared_frechet_distance(
        *(part for each in unit for part in Moments.from_features(extractor.network(each)).mean_and_covariance())
    )
    metric = build("metric", {"name": "frechet", "file": str(classifier)}, model=net)
    for rows in x.split(40):
        metric.update(net, net(Batch(rows)))
    ((name, distance),) = metric.compute().items()
    torch.testing.assert_close(distance, expected, rtol=1e-4, atol=1e-6)
    digest = hashlib.sha256(classifier.read_bytes()).hexdigest()
    assert name == f"frechet/digits-{digest[:8]}"
    assert not metric.applies(model("real"))


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


def test_the_metric_and_the_command_agree(classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = {"frechet": {"file": str(classifier)}}
    options = {"latent": {"dim": 2}, "encoder": {"channels": [4]}, "max_batches": 3, "pictures": False}
    run = aeframe.fit(
        model="ae", modality="image", data="digits", folder=str(tmp_path / "run"), metrics=metrics, **options
    )
    name = f"frechet/{Extractor.load(classifier).name}"
    assert run.metrics[name] > 0
    capsys.readouterr()
    assert main(["image-frechet", str(tmp_path / "run"), "--classifier", str(classifier)]) == 0
    title, *rows = capsys.readouterr().out.splitlines()
    assert title == f"Fréchet distance to 180 images of the test split, by {name.removeprefix('frechet/')}"
    distances = {row.split()[0]: float(row.split()[1]) for row in rows}
    assert distances["reconstructions"] == pytest.approx(run.metrics[name], rel=1e-3)
    assert distances["floor"] < distances["reconstructions"]
    assert main(["image-frechet", str(tmp_path / "run"), "--classifier", str(classifier), "-n", "60"]) != 0
    assert (
        "image-frechet estimates covariances of 64 features, which requires more than 64 images, found 60; increase "
        "-n, or choose a larger split" in capsys.readouterr().err
    )
