"""Folders of files: which samples, which splits, which labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from aeframe.data.folders import FolderSplit, files_below, first_opened, folder_splits, passed_over
from aeframe.errors import AeframeError


def make_notes(folder: Path, *names: str) -> list[Path]:
    """Make empty files, and return them in the order of their paths."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return sorted(folder / name for name in names)


def find_notes(folder: Path) -> list[Path]:
    return files_below(folder, {".txt", ".md"})


def splits_of(folder: Path) -> dict[str, FolderSplit]:
    return folder_splits(
        folder, who="dataset 'x'", what="notes", find=find_notes, expected="files that end in .md, .txt"
    )


def labels(splits: dict[str, FolderSplit]) -> dict[str, list[int] | None]:
    return {name: None if split.labels is None else split.labels.tolist() for name, split in splits.items()}


def error_of(folder: Path) -> str:
    with pytest.raises(AeframeError) as caught:
        splits_of(folder)
    return str(caught.value)


def test_visible_files_are_found_at_any_depth(tmp_path: Path) -> None:
    wanted = make_notes(tmp_path, "a/b/c.TXT", "a/x.md", "z.txt")
    make_notes(tmp_path, ".hidden/a.txt", ".a.txt", "a.png")
    assert find_notes(tmp_path) == wanted


def test_links_are_followed_unless_they_form_a_cycle(tmp_path: Path) -> None:
    make_notes(tmp_path, "data/x/a.txt")
    (tmp_path / "data" / "x" / "loop").symlink_to(tmp_path / "data")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "linked").symlink_to(tmp_path / "data" / "x")
    assert [path.name for path in find_notes(tmp_path / "outside")] == ["a.txt"]
    assert [path.name for path in find_notes(tmp_path / "data")] == ["a.txt"]


def test_a_plain_folder_is_all_for_training(tmp_path: Path) -> None:
    paths = make_notes(tmp_path, "more/a.txt", "more/b.txt", "c.txt")
    assert splits_of(tmp_path) == {"train": FolderSplit(paths, None)}


@pytest.mark.parametrize("validation", ["val", "valid", "Validation"])
@pytest.mark.parametrize("train", ["train", "training"])
def test_split_and_class_folders(tmp_path: Path, train: str, validation: str) -> None:
    for split in (train, validation, "test"):
        make_notes(tmp_path / split, "cat/deep/a.txt", "dog/a.txt")
    # Labels are the same in every split, also if one split alone has a class.
    make_notes(tmp_path / "test", "bird/a.txt")
    splits = splits_of(tmp_path)
    assert labels(splits) == {"train": [1, 2], "validation": [1, 2], "test": [0, 1, 2]}
    assert splits["validation"].paths == find_notes(tmp_path / validation)


@pytest.mark.parametrize("names", [("all/1.txt", "all/2.txt"), ("cat/1.txt", "dog/2.txt", "3.txt")])
def test_one_folder_or_files_outside_folders_are_no_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    make_notes(tmp_path, *names)
    assert labels(splits_of(tmp_path)) == {"train": None}


def test_a_folder_may_be_a_sample(tmp_path: Path) -> None:
    make_notes(tmp_path, "train/1.txt", "test/1.txt")
    splits = folder_splits(
        tmp_path,
        who="w",
        what="books",
        find=lambda root: sorted({path.parent for path in find_notes(root)}),
        expected="x",
    )
    assert splits == {"train": FolderSplit([tmp_path / "train"], None), "test": FolderSplit([tmp_path / "test"], None)}


def test_errors_of_folders_without_samples(tmp_path: Path) -> None:
    assert error_of(tmp_path / "no") == (
        "dataset 'x' expects a folder, which does not exist; set data.path to a folder of notes"
    )
    (path,) = make_notes(tmp_path / "file", "a.txt")
    assert error_of(path) == "dataset 'x' expects a folder, found a file; set data.path to a folder of notes"
    make_notes(tmp_path / "none", "a.png")
    assert error_of(tmp_path / "none") == (
        f"dataset 'x' has no notes in '{tmp_path}/none'; expected files that end in .md, .txt"
    )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("train/a.txt", "test/a.png"), "has no notes in '{path}/test'; expected files that end in .md, .txt"),
        (("test/a.txt",), "has a split folder 'test' but no 'train'; add it, or rename 'test'"),
        (
            ("train/a.txt", "val/a.txt", "validation/a.txt"),
            "has two folders for the validation split, 'val' and 'validation'; rename or merge one",
        ),
        (
            ("train/a.txt", "more/b.txt"),
            "has split folders, but also notes outside them, such as '{path}/more/b.txt'; move them into a split, or "
            "out of the folder",
        ),
    ],
)
def test_errors_of_splits(tmp_path: Path, names: tuple[str, ...], message: str) -> None:
    make_notes(tmp_path, *names)
    assert error_of(tmp_path) == f"dataset 'x' {message.format(path=tmp_path)}"


def test_first_file_that_can_be_opened() -> None:
    def open_number(number: int) -> int:
        if number < 3:
            raise AeframeError(f"{number} is small")
        return 10 * number

    assert first_opened([1, 2, 3, 4], open_number, sentence="w has none") == 30
    with pytest.raises(AeframeError) as caught:
        first_opened([1, 2], open_number, sentence="w has no large one")
    assert str(caught.value) == "w has no large one; the first: 1 is small"


def test_files_of_other_types_are_counted(tmp_path: Path) -> None:
    for name in ("a.wav", "b.TXT", "deep/c.txt", "deep/readme", ".hidden.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert passed_over(tmp_path, {".wav", ".txt"}, "sound") == (
        f"'{tmp_path}': 1 file is passed over, since the suffix is that of no sound (1 x no suffix)"
    )
    assert passed_over(tmp_path, {".wav"}, "sound") == (
        f"'{tmp_path}': 3 files are passed over, since the suffix is that of no sound (2 x .txt, 1 x no suffix)"
    )
    assert passed_over(tmp_path, {".wav", ".txt", ""}, "sound") is None
