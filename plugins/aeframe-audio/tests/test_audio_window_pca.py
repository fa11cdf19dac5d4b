"""PCA of windows as a baseline, against scikit-learn."""

from __future__ import annotations

import pytest
import torch
from audio_files import noise
from sklearn.decomposition import PCA

from aeframe.model.assembly import assemble
from aeframe.model.autoencoder import Autoencoder
from aeframe.types import Batch, DataSpec, Domain, ForwardOutput, Latent
from aeframe_audio.window_pca import WindowPCA, window_size


def model_of(latent: dict[str, object], length: int) -> Autoencoder:
    config = {
        "activation": "relu", "encoder": {"name": "wave_conv", "channels": (4,), "strides": (4,)}, "loss": "mse",
        "latent": latent,
    }  # fmt: skip
    return assemble(config, DataSpec((1, length), Domain("signed"), rate=8000))


@pytest.mark.parametrize(
    ("shape", "code", "size"),
    [
        ((1, 4000), (8, 63), (512, 64)),  # 8 numbers in 64 samples
        ((2, 4000), (8, 63), (256, 32)),  # 512 elements of two channels
        ((1, 4000), (16,), (500, 2)),  # one number in 250 samples
        ((1, 4000), (1,), None),  # one number in 4,000 samples
        ((1, 100), (8, 25), None),  # more numbers than samples
        ((1, 300), (100,), (300, 100)),
    ],
)
def test_windows_have_a_whole_number_of_numbers(
    shape: tuple[int, ...], code: tuple[int, ...], size: tuple[int, int] | None
) -> None:
    assert window_size(shape, code) == size


def test_error_equals_that_of_scikit_learn() -> None:
    model = model_of({"name": "point", "dim": 1, "spatial": True}, 1200)
    metric = WindowPCA(model)
    assert (metric.window, metric.num_components) == (512, 128)
    train, x = noise(90, 1, 1200).cumsum(-1) + 1, noise(12, 1, 1200, seed=1).cumsum(-1)
    mask = torch.ones_like(x, dtype=torch.bool)
    mask[3, :, 700:] = False  # The second window of this segment is padded.
    for rows in (slice(0, 5), slice(5, 12)):
        batch = Batch(torch.where(mask, x, torch.nan)[rows], mask[rows])
        output = ForwardOutput(batch, batch, Latent(x, x), x[rows].unsqueeze(1), x[rows, 0, 0])
        metric.update(model, output)
    for part in train.split(25):
        metric.update_training(model, Batch(part), Latent(part, part))
    windows = [values[..., :1024].reshape(-1, 512).double().numpy() for values in (train, x)]
    pca = PCA(128, svd_solver="full").fit(windows[0])
    held_out = windows[1][[number for number in range(24) if number != 7]]
    expected = ((pca.inverse_transform(pca.transform(held_out)) - held_out) ** 2).mean()
    assert float(metric.compute()["mse_of_window_pca"]) == pytest.approx(expected, rel=1e-6)
    assert metric.protocol() == (
        "PCA of 128 numbers in each window of 512 time samples, as many a second as the code; fitted to 180 training "
        "windows, 23 evaluated"
    )


def test_codes_of_integers_have_no_baseline() -> None:
    assert WindowPCA.applies(model_of({"name": "point", "dim": 2, "spatial": True}, 400))
    assert not WindowPCA.applies(model_of({"name": "vq", "dim": 2, "codebook_size": 4}, 400))
