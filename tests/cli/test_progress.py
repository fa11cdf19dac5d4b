"""The progress bar of commands."""

from __future__ import annotations

import pytest

from aeframe.cli.progress import with_progress


@pytest.mark.parametrize("on_terminal", [True, False])
def test_it_is_drawn_on_a_terminal_only(
    on_terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("TTY_COMPATIBLE", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1" if on_terminal else "")
    assert list(with_progress(range(5), 5, "encode")) == [0, 1, 2, 3, 4]
    out, err = capsys.readouterr()
    assert out == ""
    assert ("encode" in err) == on_terminal
    assert bool(err) == on_terminal
