"""Import a plugin from a plain Python file. Imports nothing heavy."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from aeframe.errors import AeframeError


def import_file(file: Path, content: bytes | None = None) -> ModuleType:
    """Import a Python file as a module named after the file.

    Its folder is appended to ``sys.path``, so that it can import other modules of the folder.

    Args:
        file: The file.
        content: Source code to execute in place of the content of the file, which may have changed since it was read.

    Raises:
        AeframeError: The file does not exist, its name is that of a loaded module, or the import fails. The message has
            the reason only: the caller adds which plugin it is.
    """
    name = file.stem
    if name in sys.modules:
        raise AeframeError(f"a module named '{name}' is already loaded; rename the file")
    loader = _ContentLoader(file, content)
    spec = importlib.util.spec_from_file_location(name, file, loader=loader)
    if spec is None or file.suffix != ".py" or not file.is_file():
        raise AeframeError(f"there is no Python file '{file}'")
    module = importlib.util.module_from_spec(spec)
    # Registered targets are imported by the name of this module.
    sys.modules[name] = module
    if (folder := str(file.parent.resolve())) not in sys.path:
        sys.path.append(folder)
    try:
        loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise AeframeError(f"its import failed with {type(error).__name__}: {error}") from error
    return module


class _ContentLoader(SourceFileLoader):
    """A loader that compiles the source on every import.

    Cached bytecode is not used, since it may belong to another source than the trusted one.
    """

    def __init__(self, file: Path, content: bytes | None) -> None:
        super().__init__(file.stem, str(file))
        self._content = content

    def get_code(self, fullname: str) -> CodeType | None:
        content = self.get_data(self.path) if self._content is None else self._content
        code: CodeType = self.source_to_code(content, self.path)
        return code
