"""Parts of two kinds beside each other: they make a model, or one sentence says why not and what would."""

from __future__ import annotations

import contextlib
import itertools
import warnings
from typing import Any

import pytest

from aeframe.errors import AeframeError
from aeframe.experiment.checks import check_parts
from aeframe.experiment.compose import compose
from aeframe.factory import defaults
from aeframe.registry import registry
from aeframe.types import DataSpec, Domain

# Rows, and images: what fits the one need not fit the other.
SPECS = {"breast_cancer": DataSpec((12,), Domain("unit")), "digits": DataSpec((1, 8, 8), Domain("unit"))}
OTHERS = ("prior", "objective", "sampler", "penalty", "critic", "encoder", "corruption")


def names(kind: str) -> list[str]:
    """Core's own: a plugin's parts are tried by its own suite."""
    return [entry.name for entry in registry().plugins[0].entries if entry.kind == kind]


def home(latent: str, data: str) -> dict[str, Any]:
    """Return a config that fits this latent: with the first prior and sampler that do."""
    config = compose([f"data={data}", "loss=mse", f"latent={latent}"])
    for prior, sampler in itertools.product(names("prior"), names("sampler")):
        found = {**config, "prior": defaults("prior", prior), "sampler": defaults("sampler", sampler)}
        with contextlib.suppress(AeframeError):
            check_parts(found, SPECS[data])
            return found
    pytest.fail(f"no prior and sampler fit latent={latent}")


@pytest.mark.parametrize("latent", names("latent"))
@pytest.mark.parametrize("data", SPECS)
def test_two_parts_fit_or_are_refused_in_one_sentence(latent: str, data: str) -> None:
    if not registry().has("dataset", data):
        pytest.skip(f"data '{data}' come with a plugin that is not installed")
    config = home(latent, data)
    fit = set()
    for kind, name in [(each, name) for each in OTHERS for name in names(each)]:
        part = defaults(kind, name)
        changed: dict[str, Any] = {kind: part}
        if kind == "penalty":
            changed = {"penalties": {"it": {"weight": 1.0, **part}}}
        elif kind == "critic":
            changed = {"critics": {"it": part}}
        if "critic" in part:
            changed["critics"] = {part["critic"]: {}}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                check_parts({**config, **changed}, SPECS[data])
            except AeframeError as error:
                message = str(error)
                assert "\n" not in message, (kind, name)
                # What the dry run says of an error that no part foresaw.
                assert "does not fit samples of shape" not in message, (kind, name, message)
            else:
                fit.add(kind)
    assert fit == set(OTHERS)
