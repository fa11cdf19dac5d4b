from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.image import imread
from sklearn.datasets import load_digits
from torch import Tensor

from aeframe.data.media import Medium
from aeframe.evaluation.measurement import Measurement
from aeframe.evaluation.report.curves import draw_curves
from aeframe.evaluation.report.interpolation import interpolate_codes, interpolate_condition
from aeframe.evaluation.report.latent_map import draw_latent_map
from aeframe.evaluation.report.pictures import draw_pictures
from aeframe.evaluation.report.players import write_players
from aeframe.factory import build
from aeframe.noise import random_rows
from aeframe.parts.latents.base import LatentSpace
from aeframe.types import Batch

MEASUREMENTS = [
    Measurement(step, step // 10, split, name, 1.0 / (step + 1))
    for step in range(0, 100, 10)
    for split in ("train", "val")
    for name in ("kl", "loss", "discriminator/loss")
]


@pytest.fixture(scope="module")
def digits() -> Batch:
    bunch = load_digits()
    x = torch.tensor(bunch.images[:60], dtype=torch.float32).unsqueeze(1) / 16
    return Batch(x, extras={"label": torch.tensor(bunch.target[:60])})


def draw(folder: Path, model: Any, modality: Any, batch: Batch, values: list[Measurement] | None = None) -> list[str]:
    sampler = build("sampler", "prior", model=model)
    measurements = MEASUREMENTS if values is None else values
    paths = draw_pictures(folder, model, modality, batch, sampler, seed=0, measurements=measurements)
    assert all(imread(path).std() > 0.01 for path in paths)
    return [path.name for path in paths]


def test_all_figures_are_drawn_and_reproducible(make_model: Any, modality: Any, digits: Batch, tmp_path: Path) -> None:
    model = make_model((1, 8, 8), "unit", latent="gaussian", objective="elbo", corruption="masking").train()
    state = torch.get_rng_state()
    names = draw(tmp_path / "a", model, modality, digits)
    assert names == ["reconstructions.png", "samples.png", "interpolation.png", "latent.png", "curves.png"]
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    draw(tmp_path / "b", model, modality, digits)
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_sounds_are_written_beside_the_pictures(modality: Any, tmp_path: Path) -> None:
    class Sounds(type(modality)):  # type: ignore[misc]
        def show(self, x: Tensor) -> list[list[Medium]]:
            return [[Medium("image/png", b""), Medium("audio/wav", bytes([len(x), int(each.sum())]))] for each in x]

    panels = {"original": torch.ones(6, 4), "reconstruction": torch.zeros(6, 4), "sample": torch.full((1, 4), 2.0)}
    files = write_players(tmp_path, Sounds(), panels)
    names = [f"{panel}-{number}.wav" for panel in ("original", "reconstruction") for number in (1, 2, 3, 4)]
    assert [file.name for file in files] == [*names, "sample-1.wav"]
    # All are shown in one call, for the same scale.
    assert [file.read_bytes() for file in files] == [b"\x09\x04"] * 4 + [b"\x09\x00"] * 4 + [b"\x09\x08"]
    assert write_players(tmp_path, modality, panels) == []


def test_one_or_two_samples_have_fewer_figures(make_model: Any, modality: Any, digits: Batch, tmp_path: Path) -> None:
    model = make_model((1, 8, 8), "unit")
    one, two = digits.rows(slice(1)), digits.rows(slice(2))
    assert draw(tmp_path, model, modality, one, []) == ["reconstructions.png", "samples.png"]
    assert draw(tmp_path, model, modality, two, []) == ["reconstructions.png", "samples.png", "interpolation.png"]


def test_samples_are_drawn_with_the_conditions_of_the_batch(
    make_model: Any, modality: Any, digits: Batch, tmp_path: Path
) -> None:
    model = make_model((1, 8, 8), "unit", condition=10, condition_encoder=False)
    label = torch.nn.functional.one_hot(digits.extras["label"], 10).float()
    assert len(draw(tmp_path, model, modality, Batch(digits.x, condition=label))) == 5


def test_figures_of_a_quantised_latent(make_model: Any, modality: Any, digits: Batch, tmp_path: Path) -> None:
    model = make_model((1, 8, 8), "unit", latent={"name": "vq", "codebook_size": 8, "dim": 2, "tokens": 3})
    assert len(draw(tmp_path, model, modality, digits)) == 5


def test_panels_of_reconstructions(make_model: Any, modality: Any, digits: Batch, tmp_path: Path) -> None:
    shown: dict[str, dict[str, torch.Tensor]] = {}

    class RecordingModality(type(modality)):  # type: ignore[misc]
        def render(self, panels: Any) -> Any:
            shown.setdefault(next(iter(panels)), dict(panels))
            return super().render(panels)

    clean = make_model((1, 8, 8), "unit")
    draw(tmp_path, clean, RecordingModality(), digits)
    assert list(shown["original"]) == ["original", "reconstruction"]
    with torch.no_grad():
        expected = clean.loss.mean(clean.eval()(digits.rows(random_rows(60, 10, 0))).output)
    assert torch.allclose(shown["original"]["reconstruction"], expected, atol=1e-6)
    # The interpolation between two samples begins and ends at their reconstructions.
    path = shown["from sample 1 to 6"]["from sample 1 to 6"]
    assert torch.allclose(path[[0, -1]], expected[[0, 5]], atol=1e-6)
    shown.clear()
    draw(tmp_path, make_model((1, 8, 8), "unit", corruption="masking"), RecordingModality(), digits)
    panels = shown["original"]
    assert list(panels) == ["original", "input of the encoder", "reconstruction"]
    hidden = panels["input of the encoder"] != panels["original"]
    assert (panels["input of the encoder"][hidden] == 0).all()
    assert 0.1 < hidden.float().mean() < 0.5


def test_figures_of_sorted_samples_show_several_classes(
    make_model: Any, modality: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: dict[str, dict[str, torch.Tensor]] = {}

    class RecordingModality(type(modality)):  # type: ignore[misc]
        def render(self, panels: Any) -> Any:
            shown.setdefault(next(iter(panels)), dict(panels))
            return super().render(panels)

    # 100 samples of each of 5 classes.
    label = torch.arange(5).repeat_interleave(100)
    x = (label.float() / 5).reshape(-1, 1, 1, 1).expand(500, 1, 8, 8)
    model = make_model((1, 8, 8), "unit", condition=5)
    conditions: list[torch.Tensor] = []
    monkeypatch.setattr(model, "generate", recording(model.generate, conditions))
    condition = torch.nn.functional.one_hot(label, 5).float()
    draw(tmp_path, model, RecordingModality(), Batch(x, condition=condition))
    assert len(shown["original"]["original"][:, 0, 0, 0].unique()) > 2
    (of_samples,) = [each for each in conditions if len(each) == 64]
    assert (of_samples.sum(0) > 4).all()
    # Neighbours are of one class, so pairs are not neighbours.
    first, last = conditions[-1].unflatten(0, (5, 10))[:, [0, -1]].argmax(2).unbind(1)
    assert (first != last).sum() >= 4


def recording(generate: Any, conditions: list[torch.Tensor]) -> Any:
    """Return `generate`, which also appends the condition to a list."""

    def recorded(z: torch.Tensor, *, condition: torch.Tensor, **options: Any) -> torch.Tensor:
        conditions.append(condition)
        result: torch.Tensor = generate(z, condition=condition, **options)
        return result

    return recorded


def test_an_interpolation_is_straight_and_has_both_ends() -> None:
    start, end = torch.zeros(2, 3), torch.tensor([[1.0, 2.0, 4.0], [0.0, 0.0, -8.0]])
    for path in (interpolate_codes(LatentSpace(), start, end, 5), interpolate_condition(start, end, 5)):
        assert path is not None
        assert path.shape == (2, 5, 3)
        assert torch.equal(path[:, 0], start)
        assert torch.equal(path[:, -1], end)
        assert path[0, 1].tolist() == [0.25, 0.5, 1.0]
    assert interpolate_condition(None, None, 5) is None


def test_conditions_are_interpolated_with_the_codes(
    make_model: Any, modality: Any, digits: Batch, tmp_path: Path
) -> None:
    shown: dict[str, torch.Tensor] = {}

    class RecordingModality(type(modality)):  # type: ignore[misc]
        def render(self, panels: Any) -> Any:
            shown.update(panels)
            return super().render(panels)

    model = make_model((1, 8, 8), "unit", condition=10).eval()
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.add_(torch.randn_like(parameter))
    label = torch.nn.functional.one_hot(digits.extras["label"], 10).float()
    batch = Batch(digits.x, condition=label)
    draw(tmp_path, model, RecordingModality(), batch)
    with torch.no_grad():
        expected = model.loss.mean(model(batch.rows(random_rows(60, 10, 0)[[0, 5]])).output)
    assert torch.allclose(shown["from sample 1 to 6"][[0, -1]], expected, atol=1e-5)


def test_one_plot_for_each_name_and_one_line_for_each_split() -> None:
    metric = Measurement(10, 1, "val", "active_units", 3.0)
    figure = draw_curves(
        [
            metric,
            *MEASUREMENTS,
            Measurement(100, 10, "test", "loss", 0.5),
            Measurement(110, 11, "train", "loss", float("nan")),
        ]
    )
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["loss", "discriminator/loss", "kl", "active_units"]
    loss = {line.get_label(): list(line.get_xdata()) for line in figure.axes[0].lines}  # type: ignore[arg-type]
    assert loss == {"train": list(range(0, 100, 10)), "val": list(range(0, 100, 10)), "test": [100]}


def test_no_legend_of_a_curve_covers_a_line() -> None:
    figure = draw_curves(MEASUREMENTS)
    figure.canvas.draw()
    for axes in figure.axes:
        legend = axes.get_legend()
        assert legend is not None
        # One pixel is the width of the frame of the plot.
        assert legend.get_window_extent().y0 >= axes.get_window_extent().y1 - 1


def test_codes_of_many_dimensions_are_projected_on_principal_components() -> None:
    generator = torch.Generator().manual_seed(0)
    wide = torch.randn(200, 2, generator=generator) * torch.tensor([5.0, 2.0])
    codes = (
        torch.cat([wide, 1e-4 * torch.randn(200, 3, generator=generator)], 1)
        @ torch.linalg.qr(torch.randn(5, 5, generator=generator))[0]
    )
    (axes,) = draw_latent_map(codes, None).axes
    points = torch.tensor(axes.collections[0].get_offsets())
    assert torch.allclose(torch.cdist(points, points).float(), torch.cdist(wide, wide), atol=1e-2)
    variances = torch.linalg.eigvalsh(torch.cov(wide.T))
    share = variances[1] / variances.sum()
    assert axes.get_xlabel() == f"principal component 1 ({share:.0%} of the variance)"


@pytest.mark.parametrize(
    ("dim", "label", "legend"),
    [
        (1, None, False),
        (2, None, False),
        (2, torch.arange(40) % 3, True),
        (4, torch.arange(40) % 15, True),
        (4, torch.arange(40), False),
        (4, torch.rand(40), False),
        (4, torch.rand(40, 2), False),
    ],
)
def test_maps_of_any_dimension_and_label(dim: int, label: torch.Tensor | None, legend: bool, tmp_path: Path) -> None:
    figure = draw_latent_map(torch.randn(40, dim), label)
    figure.savefig(tmp_path / "map.png")
    assert (figure.axes[0].get_legend() is not None) == legend


def test_codes_that_are_all_alike_are_draw(tmp_path: Path) -> None:
    draw_latent_map(torch.ones(10, 4), None).savefig(tmp_path / "map.png")
