"""Tar archives of images: members, splits, labels, and damaged archives."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from aeframe import AeframeError
from aeframe.data.file_samples import names_of
from aeframe_image.modality import Image
from aeframe_image.pictures import Files
from aeframe_image.shards import ImageShards, shards_of


def png(value: int, shape: tuple[int, ...] = (4, 5)) -> bytes:
    file = io.BytesIO()
    Pillow.fromarray(np.full(shape, value, np.uint8)).save(file, format="PNG")
    return file.getvalue()


def write(path: Path, files: Mapping[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def numbered(first: int, num: int) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for value in range(first, first + num):
        files |= {f"{value:04}.png": png(value), f"{value:04}.cls": b"%d\n" % (value % 3), f"{value:04}.json": b"{}"}
    return files


def loaded(path: Path | str, **options: Any) -> dict[str, Files]:
    return dict(ImageShards(path=str(path), **options).load())  # type: ignore[arg-type]


def message(path: Path | str, **options: Any) -> str:
    with pytest.raises(AeframeError) as caught:
        loaded(path, **options)
    return str(caught.value)


@pytest.mark.parametrize("memory", [2048, 0])
def test_images_and_labels_are_read_from_archives(tmp_path: Path, memory: int) -> None:
    write(tmp_path / "train-000.tar", numbered(0, 5))
    write(tmp_path / "train-001.tar", numbered(5, 5))
    write(tmp_path / "val-000.tar", numbered(10, 2))
    write(tmp_path / "test-000.tar", numbered(12, 3))
    splits = Image().prepare(ImageShards(path=str(tmp_path), max_memory_mb=memory))
    assert splits.train.in_memory == (memory > 0)
    batch = splits.train.batch(torch.tensor([7, 0, 4]))
    assert (batch.x[:, 0, 0, 0] * 255).round().tolist() == [7, 0, 4]
    assert batch.extras["label"].tolist() == [1, 0, 1]
    assert [len(splits.validation), len(splits.test)] == [2, 3]
    assert (splits.test.batch(torch.arange(3)).x[:, 0, 0, 0] * 255).round().tolist() == [12, 13, 14]


def test_archives_not_named_after_splits_are_split_by_seed(tmp_path: Path) -> None:
    write(tmp_path / "a" / "00.tar", numbered(0, 20))
    splits = loaded(tmp_path)
    assert {split: len(files) for split, files in splits.items()} == {"train": 16, "validation": 2, "test": 2}
    assert len({str(image) for files in splits.values() for image in files.files}) == 20


def test_patterns_are_expanded_as_in_shells(tmp_path: Path) -> None:
    for number in range(12):
        write(tmp_path / f"t-{number:03}.tar", {})
    (tmp_path / "t-000.txt").write_text("")
    archives = shards_of("who", tmp_path / "t-{008..010}.tar")
    assert [path.name for path in archives] == ["t-008.tar", "t-009.tar", "t-010.tar"]
    assert [path.name for path in shards_of("who", tmp_path / "t-{001,003}.*")] == ["t-001.tar", "t-003.tar"]
    assert len(shards_of("who", tmp_path)) == 12
    assert shards_of("who", tmp_path / "t-004.tar") == [tmp_path / "t-004.tar"]
    with pytest.raises(AeframeError) as caught:
        shards_of("who", tmp_path / "u-*.tar")
    assert str(caught.value) == (
        "who has no archives; set data.path to a folder with .tar files, or to a pattern such as train-{0000..0146}.tar"
    )


def with_truncated_archive(tmp_path: Path) -> Path:
    """Write an intact archive, and one that is truncated within its third member."""
    write(tmp_path / "00.tar", numbered(0, 27))
    content = write(tmp_path / "01.tar", {f"{n}.png": png(20 + n) for n in range(4)}).read_bytes()
    # A member is a header and a block of data of 512 bytes each; the file ends within the third member.
    (tmp_path / "01.tar").write_bytes(content[: 2 * 1024 + 550])
    return tmp_path


def test_a_truncated_archive_is_an_error(tmp_path: Path) -> None:
    folder = with_truncated_archive(tmp_path)
    with pytest.raises(AeframeError) as caught:
        Image().prepare(ImageShards(path=str(folder), label="none"))
    assert str(caught.value) == (
        f"archive '{folder / '01.tar'}' is truncated or damaged after 2 images (unexpected end of data); create it "
        "again, or leave it out with on_error=skip"
    )


@pytest.mark.parametrize("memory", [2048, 0])
def test_a_truncated_archive_is_skipped_after_its_readable_images(tmp_path: Path, memory: int) -> None:
    folder = with_truncated_archive(tmp_path)
    dataset = ImageShards(path=str(folder), label="none", max_memory_mb=memory)
    splits = Image(on_error="skip").prepare(dataset)
    assert len(splits.train) + len(splits.validation) + len(splits.test) == 29
    assert splits.skipped == [
        f"archive '{folder / '01.tar'}' is truncated or damaged after 2 images (unexpected end of data); create it "
        "again, or leave it out with on_error=skip"
    ]


def test_a_damaged_image_is_reported_with_its_archive(tmp_path: Path) -> None:
    write(tmp_path / "00.tar", {**{f"{n}.png": png(n) for n in range(6)}, "bad.png": png(9)[:40], "empty.jpg": b""})
    splits = Image(on_error="skip").prepare(ImageShards(path=str(tmp_path)))
    assert sorted(splits.skipped) == [
        f"image '{tmp_path}/00.tar/bad.png' cannot be decoded (no image format is recognised); replace it, or leave "
        "such files out with on_error=skip",
        f"image '{tmp_path}/00.tar/empty.jpg' is empty (0 bytes); replace it, or leave such files out with "
        "on_error=skip",
    ]


def test_compressed_archives_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "00.tar", numbered(0, 8))
    path.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(AeframeError) as caught:
        ImageShards(path=str(tmp_path)).describe()
    assert str(caught.value) == (
        f"dataset 'image_shards' at '{tmp_path}' has no image that can be decoded; the first: archive '{path}' is not "
        "an uncompressed tar archive; create it again, or leave it out with on_error=skip"
    )


@pytest.mark.parametrize(
    ("content", "found"), [(b"9" * 20, "'99999999999999999999'"), (b"9" * 5000, "5000 bytes"), (b"-1", "'-1'")]
)
def test_labels_beyond_64_bits_are_errors(tmp_path: Path, content: bytes, found: str) -> None:
    write(tmp_path / "00.tar", {**numbered(0, 4), "0001.cls": content})
    assert message(tmp_path) == (
        f"'{tmp_path}/00.tar/0001.cls' contains {found}, expected the class as a whole number up to "
        "9223372036854775807; correct it"
    )


def test_images_are_named_by_archive_and_member(tmp_path: Path) -> None:
    write(tmp_path / "00.tar", numbered(0, 6))
    write(tmp_path / "01.tar", numbered(6, 6))
    splits = Image().prepare(ImageShards(path=tmp_path))
    names = [name for split in (splits.train, splits.validation, splits.test) for name in names_of(split) or ()]
    assert sorted(names) == [f"{number // 6:02}.tar/{number:04}.png" for number in range(12)]
    assert [*splits.notes][:1] == [
        f"dataset 'image_shards' at '{tmp_path}': 12 members of the train archives passed over for another format: 12 "
        ".json"
    ]


def test_invalid_and_missing_labels_are_errors(tmp_path: Path) -> None:
    files = numbered(0, 4)
    write(tmp_path / "a" / "00.tar", {**files, "0001.cls": b"cat"})
    assert message(tmp_path / "a") == (
        f"'{tmp_path}/a/00.tar/0001.cls' contains 'cat', expected the class as a whole number up to "
        "9223372036854775807; correct it"
    )
    del files["0002.cls"]
    write(tmp_path / "b" / "00.tar", files)
    assert message(tmp_path / "b") == (
        f"dataset 'image_shards' at '{tmp_path}/b': '{tmp_path}/b/00.tar/0002.png' has no '.cls' file, but other "
        "images have one; add it, or set data.label to another extension"
    )
    assert loaded(tmp_path / "b", label="txt")["train"].labels is None


def test_archives_not_all_named_after_splits_are_an_error(tmp_path: Path) -> None:
    write(tmp_path / "train-0.tar", numbered(0, 4))
    write(tmp_path / "more-0.tar", numbered(0, 4))
    assert message(tmp_path) == (
        f"dataset 'image_shards' at '{tmp_path}' has archives named after splits, but 'more-0.tar' is not; begin "
        "every name with train, val or test"
    )
    (tmp_path / "more-0.tar").unlink()
    write(tmp_path / "val-0.tar", {"readme.txt": b"no images"})
    assert message(tmp_path).startswith(
        f"dataset 'image_shards' at '{tmp_path}' has no images for the validation split; expected members that end in "
    )
