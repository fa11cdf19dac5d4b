"""Deliberately wrong plugins: each part is caught by the checks meant for it, and by no other."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from aeframe import registry
from aeframe.testing.check import Outcome
from aeframe.testing.suite_runner import SuiteRunner

torch.set_num_threads(1)

WRONG = Path(__file__).parent / "wrong"
CAUGHT = {
    "loss=cauchy": set(),
    "loss=mute": {"complete"},
    "loss=absent": {"imports"},
    "loss=raising": {"builds"},
    "loss=averaging": {"batch invariance"},
    "loss=scalar": {"per-sample terms"},
    "loss=upside_down": {"prefers the truth"},
    "loss=overhearing": {"hidden output"},
    "loss=overflowing": {"samples in the domain"},
    "loss=uncountable": {"samples in the domain"},
    "encoder=maskless": {"padding invariance"},
    # What is not in a buffer is lost by a resumed run and by a saved model alike.
    "encoder=forgetful": {"exact resume", "saved model"},
    "encoder=pickled": {"safe checkpoint"},
    "encoder=untrained": {"gradients"},
    "encoder=local": {"two processes"},
    "encoder=unwritable": {"plain defaults"},
    "encoder=exploding": {"trains"},
    "encoder=untyped": {"typed options"},
    "encoder=undocumented": {"documented"},
    "encoder=careless": {"bad input"},
    "decoder=deaf": {"condition"},
    "latent=restless": {"repeatable evaluation"},
    "latent=misshapen": {"shapes"},
    "corruption=in_place": {"shapes"},
    "critic=averaging": {"batch invariance"},
    "activation=boastful": {"stated traits"},
    "schedule=counting": {"schedule"},
    "sampler=unsaved": {"sampler"},
    "metric=mean_of_means": {"metric"},
    "modality=undrawn": {"complete"},
    "modality=shifted": {"files round trip"},
    "modality=outside": {"data in the domain"},
    "modality=unpictured": {"picture"},
    "modality=unknown": {"known defaults"},
    "modality=opaque": {"state"},
    "modality=forgetful": {"prepares by state"},
    "dataset=undrawn_noise": set(),
    "dataset=shifted_noise": set(),
    "dataset=outside_noise": set(),
    "dataset=opaque_noise": set(),
    "dataset=forgetful_noise": set(),
    "dataset=unpictured_noise": set(),
    # Its modality cannot be composed, and so neither can it.
    "dataset=unknown_noise": {"composes"},
    "dataset=shapeless": {"describes itself"},
    "optimizer=climber": {"optimizer"},
    "config=wrong_recipes": {"recipes compose"},
    "plugin": set(),
}

# Told by the exception that the part, or what stands beside it, raises.
RAISING = {"loss=absent", "encoder=exploding", "config=wrong_recipes", "dataset=unknown_noise"}


def examined(name: str) -> Iterator[list[Outcome]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AEFRAME_PLUGIN_FILES", str(WRONG / f"{name}.py"))
        patch.setenv("AEFRAME_DISABLE", "")
        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        registry.reset()
        yield SuiteRunner(name).outcomes()
    registry.reset()


@pytest.fixture(scope="module")
def outcomes() -> Iterator[list[Outcome]]:
    yield from examined("wrong_parts")


@pytest.mark.parametrize("part", CAUGHT)
def test_a_wrong_part_is_caught_by_the_check_meant_for_it_and_by_no_other(part: str, outcomes: list[Outcome]) -> None:
    failed = {each.check.name: each.sentence for each in outcomes if each.part == part and each.state == "failed"}
    assert failed.keys() == CAUGHT[part], failed
    if part not in RAISING:
        # Found by looking, not by falling over something else.
        assert all(sentence.startswith(part) for sentence in failed.values()), failed


def test_every_part_of_the_wrong_plugin_is_expected(outcomes: list[Outcome]) -> None:
    assert {each.part for each in outcomes} == set(CAUGHT)
