from typing import Any

import pytest

from aeframe.errors import AeframeError
from aeframe.experiment.compose import compose
from aeframe.experiment.validation import interval_seconds


@pytest.mark.parametrize(
    ("override", "expected"), [("500", 500), ("'500'", 500), ("10min", "10min"), ("90s", "90s"), ("null", None)]
)
def test_an_interval_is_a_number_of_batches_or_a_time(override: str, expected: Any) -> None:
    found = compose([f"checkpoint_every={override}"])["checkpoint_every"]
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10min", 600), ("1.5h", 5400)])
def test_a_time_in_seconds(text: str, seconds: float) -> None:
    assert interval_seconds(text) == seconds


@pytest.mark.parametrize("override", ["10minutes", "soon", "0s"])
def test_another_form_is_refused(override: str) -> None:
    with pytest.raises(AeframeError) as error:
        compose([f"checkpoint_every={override}"])
    assert str(error.value) == (
        f"setting 'checkpoint_every' expects a number of batches or a time, found '{override}'; write "
        "checkpoint_every=500, checkpoint_every=90s, checkpoint_every=10min or checkpoint_every=2h"
    )


def test_no_batches_are_refused() -> None:
    with pytest.raises(AeframeError, match=r"^setting 'checkpoint_every' must be at least 1 batch, found 0; "):
        compose(["checkpoint_every=0"])
