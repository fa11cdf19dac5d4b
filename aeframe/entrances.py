"""`user_errors`: what every command and `aeframe.fit`, `aeframe.load` do with errors that the user caused.

A full disk, a damaged file or too little memory ends in one sentence. Any other error is a programming error and keeps
its traceback, with a note that names the part of the plugin that raised it. Imports nothing heavy.
"""

from __future__ import annotations

import csv
import errno
import json
import lzma
import re
import struct
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from aeframe.errors import AeframeError, reason_and_place
from aeframe.registry import CORE, registry

_DAMAGED_FILE: tuple[type[Exception], ...] = (
    csv.Error,
    json.JSONDecodeError,
    lzma.LZMAError,
    struct.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    UnicodeError,
)
"""What readers of the standard library raise for a file of another format, or a truncated one."""
_DAMAGED_FILE_OF_LIBRARIES = (
    ("safetensors", "SafetensorError"),
    ("yaml", "YAMLError"),
    ("pyarrow", "ArrowInvalid"),
    ("pyarrow", "ArrowSerializationError"),
)
"""The same of libraries, by module and name, since importing them takes long."""
_PARSERS = frozenset({"antlr4", "ast", "csv", "hydra", "json", "omegaconf", "pyarrow", "safetensors", "yaml"})
"""Libraries in which a RecursionError comes from the nesting of a file."""
_OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "not enough memory")
"""What torch's RuntimeError says in such a case."""
_LOADER = re.compile(r"DataLoader worker.*?(?:killed by signal: \w+|exited unexpectedly)")
"""What torch's RuntimeError says of a process that loaded data."""
_REMEDIES = {
    errno.ENOSPC: "free disk space",
    errno.EDQUOT: "free disk space of your quota",
    errno.EACCES: "restore the permissions, or choose another path",
    errno.EPERM: "restore the permissions, or choose another path",
    errno.EROFS: "choose a path that can be written",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path, part of which is a file",
    errno.EISDIR: "choose a file instead of a folder",
    errno.EEXIST: "choose another path",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.EIO: "check the disk",
}


@contextmanager
def user_errors() -> Iterator[None]:
    """Raise an `AeframeError` inside for what the user caused; add the plugin's part to any other error.

    Raises:
        AeframeError: The system refused a file, a file is damaged, or there is too little memory. The message has the
            type of the original error and the line that raised it.
    """
    try:
        yield
    except (AeframeError, BrokenPipeError):
        raise
    except Exception as error:
        sentence = sentence_of(error)
        if sentence is not None:
            raise AeframeError(sentence) from error
        if (part := part_of_plugin(error)) is not None:
            error.add_note(f"This error was raised in {part}. Report it to its author if your input is right.")
        raise


def sentence_of(error: Exception) -> str | None:
    """Return the message for an error that the user caused; None for any other."""
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(text in str(error) for text in _OUT_OF_MEMORY)
    ):
        return (
            f"there is too little memory ({reason_and_place(error)}); use a smaller file or batch size, or a machine "
            "with more memory"
        )
    if isinstance(error, RuntimeError) and (worker := _LOADER.search(str(error))) is not None:
        return (
            f"a process that loads data ended ({worker.group()}), as when the machine has too little memory or "
            "/dev/shm is too small; set workers to a smaller number, or to 0 to load in the process that trains"
        )
    if isinstance(error, ValueError) and "embedded null" in str(error):
        return "a path has a NUL character, which no file can have; correct the path"
    if isinstance(error, OSError) and error.errno is not None:
        files = " and ".join(f"'{file}'" for file in (error.filename, error.filename2) if file is not None)
        remedy = _REMEDIES.get(error.errno, "correct that, and try again")
        where = f" at {files}" if files else f", in {reason_and_place(error).rpartition(', in ')[2]}"
        return f"the system reports '{error.strerror}'{where}; {remedy}"
    if isinstance(error, (OSError, *_DAMAGED_FILE)) or _is_of_library(error) or _is_nested_file(error):
        return f"a file cannot be read or written ({reason_and_place(error)}); it may be damaged, so copy it again"
    return None


def part_of_plugin(error: BaseException) -> str | None:
    """Return the part that raised an error: ``loss 'chamfer' of aeframe-points 0.3``; None if no plugin is involved.

    It is the part of the innermost frame whose object is registered by a plugin, or else the plugin of the innermost
    frame in a plugin's module.
    """
    frames = _frames(error)[::-1]
    with suppress(AeframeError):
        plugins = [plugin for plugin in registry().plugins if plugin.distribution != CORE]
        targets = {entry.target: (entry, plugin) for plugin in plugins for entry in plugin.entries}
        for frame in frames:
            owner = frame.f_locals.get("self", frame.f_locals.get("cls"))
            owner_class = owner if isinstance(owner, type) else type(owner)
            found = targets.get(f"{owner_class.__module__}:{owner_class.__qualname__}")
            if found is not None:
                entry, plugin = found
                return f"{entry.kind} '{entry.name}' of {plugin.distribution} {plugin.version}"
        packages = {target.partition(":")[0].partition(".")[0]: plugin for target, (_, plugin) in targets.items()}
        for frame in frames:
            owner_plugin = packages.get(_package(frame))
            if owner_plugin is not None:
                return f"plugin '{owner_plugin.name}' of {owner_plugin.distribution} {owner_plugin.version}"
    return None


def _is_of_library(error: Exception) -> bool:
    """Return whether a library that is imported already has this class for damaged files."""
    classes = [getattr(sys.modules.get(module), name, None) for module, name in _DAMAGED_FILE_OF_LIBRARIES]
    return isinstance(error, tuple(each for each in classes if isinstance(each, type)))


def _is_nested_file(error: Exception) -> bool:
    return isinstance(error, RecursionError) and any(_package(frame) in _PARSERS for frame in _frames(error)[-20:])


def _frames(error: BaseException) -> list[FrameType]:
    """Return the frames of an error's traceback, the innermost last."""
    frames, trace = [], error.__traceback__
    while trace is not None:
        frames.append(trace.tb_frame)
        trace = trace.tb_next
    return frames


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
