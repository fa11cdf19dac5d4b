"""`OpenedSounds`: the headers of audio files, without those that cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from aeframe.data import OnError
from aeframe.errors import AeframeError
from aeframe_audio.decode import in_container
from aeframe_audio.reader import Reader, Sound, open_sound
from aeframe_audio.recordings import Files
from aeframe_audio.scale import ValueRange, scan


@dataclass(slots=True)
class OpenedSounds:
    """The sounds of `Files` that can be read, in their order."""

    sounds: list[Sound] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    """The position of each sound in the files."""
    found: list[Sound | None] = field(default_factory=list)
    """Of each file: its format, or None if its header cannot be read."""
    ranges: list[ValueRange] = field(default_factory=list)
    """The values of the floating-point sounds."""
    skipped: list[str] = field(default_factory=list)
    """One sentence for each file that was skipped."""
    notes: list[str] = field(default_factory=list)

    @classmethod
    def open(
        cls, files: Files, reader: Reader, on_error: OnError, *, limit: float, skip_other_formats: bool = False
    ) -> OpenedSounds:
        """Read the header of each file, and all values of floating-point files.

        Args:
            files: The files.
            reader: Converts the sounds.
            on_error: What happens to a file that cannot be read.
            limit: Values of floating-point files beyond it are counted.
            skip_other_formats: Also skip sounds whose number of channels cannot be converted. By default they are
                errors, since an option converts them.

        Raises:
            AeframeError: A file that cannot be read, or a sound that `reader` does not convert.
        """
        opened = cls()
        for position, recording in enumerate(files.recordings):
            sound, values = None, None
            try:
                sound = open_sound(recording)
                if skip_other_formats:
                    reader.check_convertible(recording.name, sound.header.rate, sound.header.channels)
                if sound.header.is_float:
                    values = scan(recording, sound.header, sound.first, sound.frames, limit=limit)
            except AeframeError as error:
                opened.found.append(sound)
                if on_error == "raise":
                    raise
                opened.skipped.append(str(error))
                continue
            reader.check_convertible(recording.name, sound.header.rate, sound.header.channels)
            opened.found.append(sound)
            opened.sounds.append(sound)
            opened.positions.append(position)
            if values is not None:
                opened.ranges.append(values)
            opened._note_streams(sound)
        return opened

    def keep_decodable(self, decode: Callable[[Sound], None], on_error: OnError) -> None:
        """Call `decode` with each sound, and remove the sounds for which it raises an error.

        Raises:
            AeframeError: A sound cannot be decoded, with ``on_error="raise"``.
        """
        sounds, positions = [], []
        for sound, position in zip(self.sounds, self.positions, strict=True):
            try:
                decode(sound)
            except AeframeError as error:
                if on_error == "raise":
                    raise
                self.skipped.append(str(error))
                continue
            sounds.append(sound)
            positions.append(position)
        self.sounds, self.positions = sounds, positions

    @property
    def titles(self) -> list[str]:
        """The names of the sounds in outputs."""
        return [sound.recording.title for sound in self.sounds]

    @property
    def begins(self) -> list[float]:
        """The time in seconds at which each sound begins in its recording."""
        return [sound.first / sound.header.rate for sound in self.sounds]

    def _note_streams(self, sound: Sound) -> None:
        if sound.header.index is None or not in_container(sound.recording):
            return
        from aeframe_audio.containers import num_streams

        if (num := num_streams(sound.recording)) > 1:
            self.notes.append(f"audio '{sound.recording.name}' has {num} streams of sound; the first is read")
