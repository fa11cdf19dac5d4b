"""Each part of a deliberately wrong plugin fails the check meant for it, and no other."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from aeframe import registry
from aeframe.testing.check import Outcome
from aeframe.testing.options import SuiteOptions
from aeframe.testing.suite_runner import SuiteRunner

torch.set_num_threads(1)

WRONG = Path(__file__).parent / "wrong"
FAILED_CHECKS = {
    "loss=cauchy": set(),
    "loss=without_domains": {"complete"},
    "loss=absent": {"imports"},
    "loss=raising": {"builds"},
    "loss=averaging": {"batch invariance"},
    "loss=scalar": {"per-sample terms"},
    "loss=wrong_sign": {"minimum at the data"},
    # Padding is masked too.
    "loss=ignoring_mask": {"masked output", "loss of padding"},
    "loss=unbounded": {"samples in the domain"},
    "loss=fractional_counts": {"samples in the domain"},
    "loss=mean_over_padding": {"loss of padding"},
    "loss=ordered_sets": {"order of the elements"},
    "loss=sets": set(),
    "loss=padded_sets": {"loss of padding"},
    "encoder=without_mirror": set(),
    "encoder=ignoring_mask": {"padding invariance"},
    # A resumed run and a saved model both lack values that are not in buffers.
    "encoder=plain_attribute": {"exact resume", "saved model"},
    "encoder=pickled": {"safe checkpoint"},
    "encoder=unused_layer": {"gradients"},
    "encoder=local_statistics": {"two processes"},
    "encoder=object_default": {"plain defaults"},
    "encoder=exploding": {"trains"},
    "encoder=untyped": {"typed options"},
    "encoder=undocumented": {"documented"},
    "encoder=unvalidated_option": {"option errors"},
    "encoder=of_elements": set(),
    "encoder=mean_over_padding": {"padding length"},
    "encoder=padding_as_zeros": {"padding length"},
    "encoder=without_condition": {"condition"},
    "decoder=unconditional": {"condition"},
    "decoder=without_code": {"use of the code"},
    "decoder=reading_neighbour": {"batch invariance"},
    "latent=noisy_evaluation": {"repeatable evaluation"},
    "latent=misshapen": {"shapes"},
    "corruption=in_place": {"shapes"},
    "critic=averaging": {"batch invariance"},
    "activation=out_of_range": {"declared traits"},
    "schedule=counting_calls": {"schedule"},
    "sampler=unsaved_mean": {"sampler"},
    "metric=mean_of_means": {"metric"},
    "metric=mean_of_hits": {"metric"},
    "metric=random_half": {"metric"},
    "metric=random_half_of_numpy": {"metric"},
    "metric=over_padding": {"metric of padding"},
    "penalty=close_values": {"nonzero terms"},
    "modality=without_render": {"complete"},
    "modality=inverted": {"files round trip"},
    "modality=not_restoring": {"samples in memory"},
    "modality=careless_reader": {"mutated files"},
    "modality=gathering": {"writing by batch"},
    "modality=ordered": {"order of elements"},
    "modality=outside": {"data in the domain"},
    "modality=undeclared_mask": {"data in the domain"},
    "modality=rendering_none": {"rendering"},
    "modality=unregistered_default": {"registered defaults"},
    "modality=object_state": {"modality state"},
    "modality=incomplete_state": {"data from saved state"},
    "modality=padded": set(),
    "modality=reading_masked": {"masked samples"},
    "modality=not_drawing_nan": {"rendering"},
    "modality=showing_one": {"shown samples"},
    "modality=forgetting": {"files from saved state"},
    "dataset=padded_noise": set(),
    "dataset=reading_masked_noise": set(),
    "dataset=not_drawing_nan_noise": set(),
    "dataset=showing_one_noise": set(),
    "dataset=forgetting_noise": set(),
    "dataset=global_noise": {"repeatable data"},
    "dataset=numpy_noise": {"repeatable data"},
    "dataset=hashed_noise": {"repeatable data"},
    "dataset=without_render_noise": set(),
    "dataset=inverted_noise": set(),
    "dataset=careless_reader_noise": set(),
    "dataset=gathering_noise": set(),
    "dataset=ordered_noise": set(),
    "dataset=outside_noise": set(),
    "dataset=undeclared_mask_noise": set(),
    "dataset=object_state_noise": set(),
    "dataset=incomplete_state_noise": set(),
    "dataset=rendering_none_noise": set(),
    # A dataset cannot be composed without its modality, which cannot be composed.
    "dataset=unregistered_default_noise": {"composes"},
    "dataset=empty_shape": {"dataset description"},
    "optimizer=ascent": {"optimizer"},
    "config=wrong_recipes": {"recipes compose"},
    "plugin": set(),
}

# Their failure is an exception of the part, or of another part, and not of the check.
RAISING = {"loss=absent", "encoder=exploding", "config=wrong_recipes", "dataset=unregistered_default_noise"}


@pytest.fixture(scope="module")
def outcomes() -> Iterator[list[Outcome]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AEFRAME_PLUGIN_FILES", str(WRONG / "wrong_parts.py"))
        patch.setenv("AEFRAME_DISABLE", "")
        logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
        registry.reset()
        yield SuiteRunner(SuiteOptions("wrong_parts")).outcomes()
    registry.reset()


@pytest.mark.parametrize("part", FAILED_CHECKS)
def test_a_wrong_part_fails_the_check_meant_for_it_and_no_other(part: str, outcomes: list[Outcome]) -> None:
    failed = {
        outcome.check.name: outcome.message
        for outcome in outcomes
        if outcome.part == part and outcome.state == "failed"
    }
    assert failed.keys() == FAILED_CHECKS[part], failed
    if part not in RAISING:
        assert all(message.startswith(part) for message in failed.values()), failed


def test_every_part_of_the_wrong_plugin_is_expected(outcomes: list[Outcome]) -> None:
    assert {outcome.part for outcome in outcomes} == set(FAILED_CHECKS)
