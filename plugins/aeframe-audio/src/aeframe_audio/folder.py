"""The dataset `audio_folder`: an audio file, or a folder of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aeframe.data import Dataset
from aeframe.data.folders import files_below, first_opened, folder_splits, passed_over, path_keys
from aeframe.data.random_split import RandomSplit
from aeframe.errors import AeframeError
from aeframe_audio.decode import EXTENSIONS, read_format
from aeframe_audio.recordings import Files, RawSplits, Recording, split_by_time

_FEW = 4
"""Below this number, recordings are not split at random: at least two are needed for training."""


def audio_files(folder: Path) -> list[Path]:
    """Return the audio files in a folder and its sub-folders, sorted, without hidden files."""
    return files_below(folder, EXTENSIONS)


def recordings_of(paths: list[Path], folder: Path) -> list[Recording]:
    """Return files below a folder as recordings; their titles are paths relative to it."""
    return [Recording(str(path), path, path.relative_to(folder).as_posix()) for path in paths]


class AudioFolder(Dataset):
    """An audio file, or a folder of audio files, at any depth: WAV, FLAC, OGG, MP3, AIFF, AU, CAF and more.

    With PyAV (``aeframe-audio[av]``) also M4A, AAC, WMA and the sound of videos. Sub-folders ``train``, ``val`` (or
    ``validation``) and ``test`` are the splits if ``train`` exists. Missing splits are drawn at random from the
    training sounds. Of fewer than four recordings each is split by time: its end is for validation and testing. If
    every sound lies in a sub-folder named after its class, with at least two classes, ``extras["label"]`` is the
    position of the class in the sorted names. Sounds of different sampling rates require ``modality.rate``, mono
    together with stereo requires ``modality.channels``.

    Args:
        path: The file or folder.
        validation: Fraction of the training sounds, or of the time of few recordings, for validation, if there is no
            folder for it.
        test: Fraction of the training sounds, or of the time of few recordings, for testing, if there is no folder for
            it.
        seed: Seed of the random splits.
        max_memory_mb: If the decoded sounds, with 16 bits per sample at the final rate, fit into this many megabytes,
            they are decoded once and kept in memory. Otherwise the worker processes of the data loader decode the
            segments of each batch.
    """

    modality = "audio"

    def __init__(
        self, *, path: Path, validation: float = 0.1, test: float = 0.1, seed: int = 0, max_memory_mb: int = 2048
    ) -> None:
        self.path = Path(path).expanduser()
        # The name of the dataset in error messages.
        self.who = f"dataset 'audio_folder' at '{path}'"
        self.splitter = RandomSplit(self.who, "sounds", validation=validation, test=test, seed=seed)
        self.max_memory_mb = max_memory_mb

    def describe(self) -> Mapping[str, Any]:
        """Return sampling rate and channels of the first readable training sound."""
        return first_format(self.who, self._folder_splits()["train"].recordings)

    def load(self) -> RawSplits:
        splits = self._folder_splits()
        num, missing = len(splits["train"]), [name for name in self.splitter.fractions if name not in splits]
        if missing and num < _FEW:
            shares = " and ".join(f"{self.splitter.fractions[name]:.0%} for {name}" for name in missing)
            each = "1 recording is" if num == 1 else f"{num} recordings are each"
            self.notes.add(f"{self.who}: {each} split by time: the end is held out, {shares}")
            return split_by_time(splits, self.splitter.fractions)
        keys = {
            split: path_keys(self.path, (Path(recording.name) for recording in files.recordings))
            for split, files in splits.items()
        }
        # `split_record`, inherited from `Dataset`, stores the drawn split by these keys: a later run of it uses the
        # same.
        return self.splitter.complete(splits, self.split_record, keys)

    def _folder_splits(self) -> dict[str, Files]:
        """Return the splits that have a folder: at least ``train``."""
        if self.path.is_file():
            return {"train": Files([Recording(str(self.path), self.path)], None, self.max_memory_mb)}
        if not self.path.is_dir():
            raise AeframeError(f"{self.who} expects a sound or a folder, which does not exist; set data.path")
        expected = f"files that end in {', '.join(sorted(EXTENSIONS))}"
        folders = folder_splits(self.path, who=self.who, what="sounds", find=audio_files, expected=expected)
        self.label_names = folders["train"].label_names
        if (note := passed_over(self.path, EXTENSIONS, "sound")) is not None:
            self.notes.add(note)
        return {
            split: Files(recordings_of(folder.paths, self.path), folder.labels, self.max_memory_mb)
            for split, folder in folders.items()
        }


def first_format(who: str, recordings: list[Recording]) -> dict[str, Any]:
    """Return sampling rate and channels of the first file with a readable header.

    Args:
        who: The name of the dataset, for error messages.
        recordings: The files.

    Raises:
        AeframeError: No file has one.
    """
    message = f"{who} has no sound that can be opened"
    rate, channels = first_opened(recordings, read_format, sentence=message)
    return {"rate": rate, "channels": channels}
