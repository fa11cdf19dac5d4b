"""`ReadOptions`: how texts are read from files, which a trained model does as in training."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from aeframe.errors import AeframeError, did_you_mean

Messages = Literal["contents", "roles"]
"""How chat messages become a text: their contents, one below the other, or each with its role: ``user: Hello``."""
Unit = Literal["line", "file"]
"""What is one text of a ``.txt`` file: a line, or the whole file."""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How texts are read from files; the options of the dataset ``text_files``."""

    column: str = "text"
    """The column, or the key of a JSON object, that holds the text; ``a.b`` is the key b of the object under a."""
    label: str | None = None
    """The column or key of the class; None without labels."""
    names: str | None = None
    """The column or key of the text's name; None names texts by file and line."""
    messages: Messages | None = None
    """How chat messages become a text; None refuses them."""
    encoding: str | None = None
    """The encoding of files; None takes that of the byte order mark, and UTF-8 without one."""
    delimiter: str | None = None
    """What separates the columns of ``.csv`` and ``.tsv``; None takes a comma and a tab."""
    unit: Unit | None = None
    """What is one text of a ``.txt`` file; None takes lines, and in a folder files."""
    is_trained: bool = False
    """Whether a trained model reads: options can no longer be set, and a label may be missing."""

    def __post_init__(self) -> None:
        if self.encoding is not None:
            try:
                # Fails for codecs such as hex, which are no encodings of text.
                codecs.lookup(self.encoding)
                "".encode(self.encoding)
            except LookupError:
                known = ("utf-8", "utf-16", "cp1252", "latin-1", "gb18030", "shift_jis", "euc-kr", "cp1251")
                raise AeframeError(
                    f"data.encoding '{self.encoding}' is no encoding of text{did_you_mean(self.encoding, known)}; "
                    f"examples are {', '.join(known)}"
                ) from None
        if self.delimiter is not None and (len(self.delimiter) != 1 or self.delimiter in '"\r\n'):
            raise AeframeError(
                f"data.delimiter is one character, and no quotation mark or line break, found {self.delimiter!r}; "
                "set it to ',', ';' or a tab"
            )

    def state(self) -> dict[str, Any]:
        """Return the options as plain values."""
        state = asdict(self)
        del state["is_trained"]
        return state

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> ReadOptions:
        """Return the options of a trained model, from what `state` returned."""
        return cls(**state, is_trained=True)
