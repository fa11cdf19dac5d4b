"""Limits on what the header of a file may claim."""

import pytest

from aeframe.data.limits import check_memory, check_pixels
from aeframe.errors import AeframeError


def test_memory_beyond_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEFRAME_MAX_GB", "2")
    check_memory("'a.npy'", 1.9e9)
    with pytest.raises(AeframeError, match=r"'a.npy': array 'x' would occupy 32 TB of memory, and the limit is 2 GB; "):
        check_memory("'a.npy'", 32e12, "array 'x'")


def test_the_limit_of_memory_is_that_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AEFRAME_MAX_GB", raising=False)
    check_memory("'a.npy'", 1e6)
    with pytest.raises(AeframeError, match="would occupy 1e"):
        check_memory("'a.npy'", 1e18)


def test_pictures_beyond_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AEFRAME_MAX_MEGAPIXELS", raising=False)
    check_pixels("'a.png'", 10_000, 10_000)
    with pytest.raises(AeframeError, match=r"'a.png' has 13000 x 13000 pixels, and the limit is 100 megapixels"):
        check_pixels("'a.png'", 13_000, 13_000)
    monkeypatch.setenv("AEFRAME_MAX_MEGAPIXELS", "200")
    check_pixels("'a.png'", 13_000, 13_000)


@pytest.mark.parametrize("text", ["much", "0", "-1", "nan"])
def test_a_limit_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("AEFRAME_MAX_GB", text)
    with pytest.raises(AeframeError, match="AEFRAME_MAX_GB expects a positive number"):
        check_memory("'a.npy'", 1)
