"""Train a codec, evaluate it by number of codebooks, and transcode files with the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile
import torch
from audio_files import saved, sine

import aeframe
from aeframe.cli.main import main
from aeframe.experiment.compose import compose

DATA = {"name": "vowels_simulated", "sounds": 30, "seconds": [0.1, 0.2]}
SMALL = {
    "modality": {"name": "audio", "seconds": 0.1},
    "encoder": {"name": "wave_conv", "channels": [8, 8], "strides": [8, 8], "dilations": [1]},
    "batch_size": 8,
    "max_epochs": 2,
    "pictures": False,
    "trainer": {"threads": 1},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("codec") / "run"
    latent = {"num_quantizers": 3, "codebook_size": 16, "dim": 4}
    aeframe.fit(model="codec", data=DATA, latent=latent, folder=str(folder), **SMALL)
    return folder


def test_transcode_a_sound_of_any_length(run: Path, tmp_path: Path) -> None:
    path = saved(tmp_path / "in.wav", sine(30001, rate=16000), rate=16000)
    assert main(["transcode", str(run), str(path), "-o", str(tmp_path / "all.wav")]) == 0
    assert main(["transcode", str(run), str(path), "--codebooks", "1", "-o", str(tmp_path / "one.flac")]) == 0
    (all_levels, rate), (one, _) = (soundfile.read(tmp_path / name) for name in ("all.wav", "one.flac"))
    assert (len(all_levels), rate) == (15000, 8000)
    assert len(one) == 15000
    assert abs(all_levels - one).max() > 1e-3


def test_transcoding_equals_reconstruction(run: Path, tmp_path: Path) -> None:
    path, model = saved(tmp_path / "in.wav", sine(800)), aeframe.load(run)
    assert main(["transcode", str(run), str(path), "-o", str(tmp_path / "out.wav")]) == 0
    offline = model.reconstruct(model.modality.read(path))
    streamed = model.modality.read(tmp_path / "out.wav").x
    # Both are rounded to 16 bits.
    assert (streamed - offline).abs().max() < 2e-4


def test_report_has_a_row_for_each_number_of_codebooks(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["codec-report", str(run), "-o", str(tmp_path / "report.json")]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    # A segment of 0.1 s has 13 frames of 64 samples, with 4 bits per codebook.
    assert [row["bitrate"] for row in report["rows"]] == [pytest.approx(130 * 4 * n) for n in (1, 2, 3)]
    assert report["pca"] == {"frame": 62, "components": 4}
    assert "SI-SDR of 4 principal components of 62 samples" in capsys.readouterr().out
    assert main(["evaluate", str(run), "-o", str(tmp_path / "all.json")]) == 0
    evaluation = json.loads((tmp_path / "all.json").read_text())["test"]
    for name in ("si_sdr", "mel_distance", "log_spectral_distance"):
        assert report["rows"][-1][name] == pytest.approx(evaluation[name], rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["transcode", "{run}", "{path}", "-o", "{path}"],
         "'{path}' exists already; choose another path with --output"),
        (["transcode", "{run}", "{path}", "-o", "{tmp}/out"],
         "transcode writes one file, found '{tmp}/out'; use the suffix .wav, .flac or .ogg"),
        (["transcode", "{run}", "{path}", "--codebooks", "9", "-o", "{tmp}/out.wav"],
         "the codec has 3 codebooks per frame, found 9; choose 1 to 3"),
        (["transcode", "{run}", "{tmp}/no.wav", "-o", "{tmp}/out.wav"], "there is no audio file '{tmp}/no.wav'"),
    ],
)  # fmt: skip
def test_errors(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    known = {"run": run, "tmp": tmp_path, "path": saved(tmp_path / "in.wav")}
    assert main([argument.format(**known) for argument in arguments]) == 2
    assert capsys.readouterr().err == f"error: {message.format(**known)}\n"
    assert [file.name for file in tmp_path.iterdir()] == ["in.wav"]


def test_model_of_another_modality(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, path = tmp_path / "run", saved(tmp_path / "in.wav")
    aeframe.fit(model="ae", max_epochs=1, folder=str(folder), pictures=False, latent={"dim": 2})
    for arguments, command in (
        (["transcode", str(folder), str(path), "-o", str(tmp_path / "out.wav")], "transcode"),
        (["codec-report", str(folder)], "codec-report"),
    ):
        capsys.readouterr()
        assert main(arguments) == 2
        assert (
            capsys.readouterr().err
            == f"error: '{folder}' is not a model of sounds; {command} requires modality audio\n"
        )


def test_report_of_a_model_without_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    aeframe.fit(model="vae", data=DATA, latent={"dim": 2}, folder=str(folder), **{**SMALL, "max_epochs": 1})
    capsys.readouterr()
    assert main(["codec-report", str(folder)]) == 2
    assert capsys.readouterr().err == (
        "error: only a latent with integer codes has codebooks; train one with model=codec, or latent=rvq\n"
    )


def test_codec_with_discriminators(tmp_path: Path) -> None:
    network = {"name": "conv", "channels": [4], "kernel": 9}
    critics = {"discriminator_x": {"network": network, "scales": 2}}
    latent = {"num_quantizers": 2, "codebook_size": 8, "dim": 2}
    run = aeframe.fit(model="codec_gan", data=DATA, latent=latent, critics=critics, folder=str(tmp_path / "run"),
                      **{**SMALL, "max_epochs": 1})  # fmt: skip
    assert {"adversarial", "feature_matching", "mel", "discriminator_x/real"} <= set(run.metrics)


def test_recipes_of_codecs() -> None:
    for model, penalties in (("codec", {"mel"}), ("codec_gan", {"mel", "adversarial", "feature_matching"})):
        config = compose([f"model={model}", "modality=audio"])
        assert config["encoder"]["name"] == "wave_conv"
        assert config["latent"]["quantizer_dropout"] == 0.5
        assert set(config["penalties"]) == penalties
