"""The dataset `audio_folder`: folders of audio files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aeframe.data import Dataset
from aeframe.data.folders import files_below, first_opened, folder_splits, path_keys
from aeframe.data.random_split import RandomSplit
from aeframe_audio.decode import EXTENSIONS, read_header
from aeframe_audio.recordings import Files, RawSplits, Recording


def audio_files(folder: Path) -> list[Path]:
    """Return the audio files in a folder and its sub-folders, sorted, without hidden files."""
    return files_below(folder, EXTENSIONS)


def recordings_of(paths: list[Path]) -> list[Recording]:
    """Return files as recordings named by their paths."""
    return [Recording(str(path), path) for path in paths]


class AudioFolder(Dataset):
    """A folder of WAV, FLAC, OGG, MP3 or AIFF files, at any depth.

    Sub-folders ``train``, ``val`` (or ``validation``) and ``test`` are the splits if ``train`` exists. Missing splits
    are drawn at random from the training sounds. If every sound lies in a sub-folder named after its class, with at
    least two classes, ``extras["label"]`` is the position of the class in the sorted names. Sounds of different
    sampling rates require ``modality.rate``, mono together with stereo requires ``modality.channels``.

    Args:
        path: The folder.
        validation: Fraction of the training sounds for validation, if there is no folder for it.
        test: Fraction of the training sounds for testing, if there is no folder for it.
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
        keys = {
            split: path_keys(self.path, (Path(recording.name) for recording in files.recordings))
            for split, files in splits.items()
        }
        # `split_record`, inherited from `Dataset`, stores the drawn split by these keys: a later run of it uses the
        # same.
        return self.splitter.complete(splits, self.split_record, keys)

    def _folder_splits(self) -> dict[str, Files]:
        """Return the splits that have a folder: at least ``train``."""
        expected = f"files that end in {', '.join(sorted(EXTENSIONS))}"
        folders = folder_splits(self.path, who=self.who, what="sounds", find=audio_files, expected=expected)
        self.label_names = folders["train"].label_names
        return {
            split: Files(recordings_of(folder.paths), folder.labels, self.max_memory_mb)
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
    header = first_opened(recordings, read_header, sentence=message)
    return {"rate": header.rate, "channels": header.channels}
