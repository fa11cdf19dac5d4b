"""The modality `video`: spec, state, reading, writing and film strips."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from video_samples import numbered_frames, save, save_frames

from aeframe import AeframeError
from aeframe_video.decode import read_info
from aeframe_video.folder import VideoFiles
from aeframe_video.modality import Video, as_bytes
from aeframe_video.shapes import MovingShapes

SMALL = MovingShapes(clips=20, frames=5, size=12)


def prepared(dataset: Any = SMALL, **options: Any) -> Video:
    modality = Video(**options)
    modality.prepare(dataset)
    return modality


def colours(num: int = 3, frames: int = 5, side: int = 12) -> Tensor:
    """Return smooth colour clips, on which codecs make small errors."""
    ramp = torch.linspace(0, 1, side)
    base = torch.stack([ramp[:, None].expand(side, side), ramp.expand(side, side), (1 - ramp).expand(side, side)])
    times = torch.linspace(0.5, 1, frames)
    clip = base[:, None] * times[None, :, None, None]
    return torch.stack([clip * (0.6 + 0.2 * n) for n in range(num)])


# -- spec and state ----------------------------------------------------------------------------------------------------


def test_spec(tmp_path: Path) -> None:
    assert Video().spec(SMALL).to_dict() == {"shape": [1, 5, 12, 12], "domain": "unit", "condition": 0}
    path = save(tmp_path / "a.mp4", numbered_frames(200))
    dataset = VideoFiles(path=str(path))
    assert Video().spec(dataset).shape == (3, 16, 16, 24)
    assert Video(frames=4, size=(8, 10), channels=1).spec(dataset).shape == (1, 4, 8, 10)
    train = Video(frames=4, size=8).prepare(dataset).train.batch(torch.arange(2))
    assert train.x.shape == (2, 3, 4, 8, 8)
    assert train.x.dtype == torch.float32
    assert train.index is not None
    assert train.index.tolist() == [0, 1]


def test_frames_are_padded_to_the_size() -> None:
    x = Video(size=(12, 20), fit="pad", padding=1.0).prepare(SMALL).train.batch(torch.arange(2)).x
    assert x.shape == (2, 1, 5, 12, 20)
    assert (x[..., :4] == 1).all()
    assert torch.equal(x[..., 4:16], Video().prepare(SMALL).train.batch(torch.arange(2)).x)


def test_labels() -> None:
    train = Video().prepare(SMALL).train
    assert set(train.batch(torch.arange(len(train))).extras) == {"label"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": 0}, "modality 'video' requires frames >= 1, found 0"),
        ({"stride": 0}, "modality 'video' requires stride >= 1, found 0"),
        ({"every": 0}, "modality 'video' requires every >= 1, found 0"),
        ({"size": 0}, "modality 'video' requires size >= 1, found 0"),
        ({"fps": 0.0}, "modality 'video' requires fps > 0, found 0"),
    ],
)
def test_invalid_options(options: Any, message: str) -> None:
    with pytest.raises(AeframeError) as raised:
        Video(**options)
    assert str(raised.value) == message


def test_state_is_json_and_restored() -> None:
    state = prepared().state()
    assert json.loads(json.dumps(state)) == state == {"shape": [1, 5, 12, 12], "rate": 10.0}
    restored = Video()
    restored.load_state(state)
    assert restored.state() == state
    assert restored.sampling.frames == 5
    assert Video().state() == {}


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.npz", "a.gif", "a.mp4", "folder"])
def test_written_clips_are_read_back(tmp_path: Path, name: str) -> None:
    modality = prepared()
    x = Video().prepare(SMALL).train.batch(torch.arange(4)).x
    files = modality.write(x, tmp_path / name)
    assert [file.name for file in files] == ([f"00000{n}.mp4" for n in range(4)] if name == "folder" else [name])
    assert sorted(path.name for path in files[0].parent.iterdir()) == sorted(file.name for file in files)
    read_back = modality.read(tmp_path / name)
    assert read_back.x.shape == x.shape
    assert read_back.index is not None
    assert read_back.index.tolist() == [0, 1, 2, 3]
    # NPZ and greyscale GIF are lossless; H.264 is nearly so.
    exact = name in ("a.npz", "a.gif")
    assert float((read_back.x - x).abs().max()) < 1e-6 if exact else float((read_back.x - x).abs().mean()) < 0.01


@pytest.mark.parametrize(("name", "tolerance"), [("a.npz", 0.003), ("a.gif", 0.02), ("a.mp4", 0.03)])
@pytest.mark.parametrize("side", [12, 13])
def test_colour_and_odd_sizes(tmp_path: Path, name: str, tolerance: float, side: int) -> None:
    modality, x = Video(frames=5), colours(side=side)
    modality.write(x, tmp_path / name)
    read_back = modality.read(tmp_path / name).x
    assert read_back.shape == x.shape
    assert float((read_back - x).abs().mean()) < tolerance


def test_written_clips_have_the_rate_of_the_data(tmp_path: Path) -> None:
    dataset = VideoFiles(path=str(save(tmp_path / "a.mp4", numbered_frames(200), rate=24)))
    for options, rate in (({}, 24.0), ({"stride": 2}, 12.0), ({"fps": 8.0}, 8.0)):
        modality = prepared(dataset, frames=4, **options)
        for suffix in ("mp4", "gif"):
            (path,) = modality.write(torch.rand(2, 3, 4, 16, 24), tmp_path / f"{rate:g}.{suffix}")
            info = read_info(path)
            # GIF stores durations in hundredths of a second.
            assert info.rate == pytest.approx(rate, rel=0.05 if suffix == "gif" else 1e-3)
            assert info.num_frames == 8


def test_video_is_read_as_clips_and_written_as_one_file(tmp_path: Path) -> None:
    path = save(tmp_path / "a.mkv", numbered_frames(50), codec="ffv1")
    modality = prepared(VideoFiles(path=str(path)), frames=4)
    batch = modality.read(path)
    # The last two frames do not fill a clip.
    assert batch.x.shape == (12, 3, 4, 16, 24)
    modality.write(batch.x, tmp_path / "copy.mp4")
    read_back = modality.read(tmp_path / "copy.mp4").x
    assert float((read_back - batch.x).abs().max()) < 0.02


def test_film_strips(tmp_path: Path) -> None:
    x = Video().prepare(SMALL).train.batch(torch.arange(3)).x
    (path,) = prepared().write(x, tmp_path / "a.png")
    strip = np.asarray(Image.open(path))
    assert strip.shape == (3 * 12 + 2 * 2, 5 * 12 + 4)
    assert np.array_equal(strip[:12, :12], as_bytes(x)[0, 0, 0])
    assert np.array_equal(strip[14:26, 13:25], as_bytes(x)[1, 1, 0])


def test_existing_files_and_other_suffixes_are_errors(tmp_path: Path) -> None:
    modality, x = prepared(), torch.rand(2, 1, 5, 12, 12)

    def refusal(path: Path) -> str:
        with pytest.raises(AeframeError) as raised:
            modality.write(x, path)
        return str(raised.value)

    existing = tmp_path / "a.mp4"
    existing.write_text("precious")
    assert refusal(existing) == f"'{existing}' exists and is not overwritten; remove it, or choose another path"
    assert existing.read_text() == "precious"
    modality.write(x, tmp_path / "folder")
    folder = tmp_path / "folder"
    assert refusal(folder) == f"'{folder}' exists and is not overwritten; remove it, or choose another path"
    for name in ("a.avi", "a.jpg", "a.npy"):
        assert refusal(tmp_path / name) == (
            f"modality 'video' writes MP4, GIF, NPZ and PNG (film strips), found '{name}'; choose one of these "
            "suffixes, or a folder"
        )


def test_clips_of_another_shape_are_errors(tmp_path: Path) -> None:
    modality = prepared()
    path = tmp_path / "a.npz"
    np.savez(path, x=np.zeros((2, 5, 9, 9), np.uint8))
    video = save(tmp_path / "a.mp4", numbered_frames(10))
    (tmp_path / "none").mkdir()

    def refusal(path: Path) -> str:
        with pytest.raises(AeframeError) as raised:
            modality.read(path)
        return str(raised.value)

    assert refusal(path) == (
        f"modality 'video': '{path}' has clips of 1 x 5 x 9 x 9 (channels x frames x height x width), "
        "expected 1 x 5 x 12 x 12; convert them to that shape"
    )
    assert refusal(video) == (
        f"video '{video}' has frames of 1 x 16 x 24 (channels x height x width), expected 1 x 12 x 12; convert all "
        "videos with modality.size=[12,12]"
    )
    assert refusal(tmp_path / "none") == (
        f"modality 'video' found no videos in '{tmp_path / 'none'}'; choose a folder that contains some"
    )


# -- film strips -------------------------------------------------------------------------------------------------------


def plotted(panels: dict[str, Tensor]) -> tuple[list[str], list[Any]]:
    figure = Video().render(panels)
    return [text.get_text() for text in figure.texts], [np.asarray(axes.images[0].get_array()) for axes in figure.axes]


def test_panels_are_strips_of_four_clips() -> None:
    x = torch.linspace(0, 1, 10).view(10, 1, 1, 1, 1).expand(10, 1, 3, 8, 8)
    titles, (top, bottom) = plotted({"originals": x, "reconstructions": 1 - x})
    assert titles == ["originals", "reconstructions"]
    # Four evenly spaced clips of ten, including the first and the last.
    assert top.shape == bottom.shape == (4 * 8 + 3 * 2, 3 * 8 + 2)
    assert top[::10, 0].tolist() == [round(255 * n / 9) for n in (0, 3, 6, 9)]
    assert bottom[0, 0] == 255
    # White lines separate clips and frames.
    assert (top[8:10] == 255).all()
    assert (top[:, 8] == 255).all()


def test_long_clip_is_shown_as_ten_frames_in_colour() -> None:
    x = torch.linspace(0, 1, 19).view(1, 1, 19, 1, 1).expand(1, 3, 19, 8, 8) * torch.tensor([1.0, 0, 0]).view(
        3, 1, 1, 1
    )
    (title,), (strip,) = plotted({"samples": x})
    assert title == "samples (10 of 19 frames)"
    assert strip.shape == (8, 10 * 8 + 9, 3)
    assert strip[0, ::9, 0].tolist() == [round(255 * n / 18) for n in range(0, 19, 2)]
    assert strip[0, 0, 1:].tolist() == [0, 0]


def test_a_single_panel_has_twelve_rows() -> None:
    _, (strip,) = plotted({"samples": torch.zeros(64, 1, 2, 8, 8)})
    assert strip.shape[0] == 12 * 8 + 11 * 2


def test_folders_of_frames_are_read(tmp_path: Path) -> None:
    folder = save_frames(tmp_path / "a", numbered_frames(10, height=12, width=12))
    assert prepared().read(folder).x.shape == (2, 1, 5, 12, 12)
