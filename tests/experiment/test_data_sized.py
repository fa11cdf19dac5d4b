"""Settings that are chosen from the number of training samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import aeframe
from aeframe.experiment.data_sized import default_epochs, with_chosen

UNSET: dict[str, Any] = {"batch_size": None, "default_batch_size": None, "max_epochs": None, "max_batches": None}


@pytest.mark.parametrize(
    ("batches_per_epoch", "max_batches", "epochs"),
    [
        (1, None, 1000),
        (8, None, 125),
        (20, None, 50),
        (1000, None, 50),
        (2000, None, 25),
        (49_999, None, 1),
        (10**6, None, 1),
        (8, 1, 1),
        (8, 4000, 500),
        (8, 4001, 501),
    ],
)
def test_epochs_that_are_not_set_are_1000_to_50000_batches(
    batches_per_epoch: int, max_batches: int | None, epochs: int
) -> None:
    assert default_epochs(batches_per_epoch, max_batches) == epochs


def test_what_is_set_is_left_alone() -> None:
    config = {"batch_size": 7, "default_batch_size": None, "max_epochs": 3, "max_batches": None}
    assert with_chosen(config, 10, 1) == (config, [])


@pytest.mark.parametrize(
    ("num_samples", "batch_size", "epochs", "notes"),
    [
        (50, 16, 250, ["batch_size=16, because there are 50 training samples",
                       "max_epochs=250, because 50 training samples are 4 batches an epoch"]),
        (2000, 64, 50, []),
        (455, 64, 125, ["max_epochs=125, because 455 training samples are 8 batches an epoch"]),
        (5_000_000, 1024, 10, ["batch_size=1024, because there are 5,000,000 training samples",
                               "max_epochs=10, because 5,000,000 training samples are 4883 batches an epoch"]),
    ],
)  # fmt: skip
def test_few_and_many_samples_have_a_note(num_samples: int, batch_size: int, epochs: int, notes: list[str]) -> None:
    config, found = with_chosen(UNSET, num_samples, 1)
    assert (config["batch_size"], config["max_epochs"], found) == (batch_size, epochs, notes)


def test_the_batch_of_a_recipe_is_reduced_to_the_samples() -> None:
    config, found = with_chosen({**UNSET, "default_batch_size": 500, "max_epochs": 300}, 499, 1)
    assert (config["batch_size"], found) == (499, ["batch_size=499, because there are 499 training samples"])
    config, found = with_chosen({**UNSET, "default_batch_size": 500, "max_epochs": 300}, 500, 1)
    assert (config["batch_size"], found) == (500, [])


def test_a_limit_of_batches_is_reached_without_a_number_of_epochs() -> None:
    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    run = aeframe.fit(x, max_batches=151, encoder={"hidden": [4]}, pictures=False, verbose=False)
    assert run.model.progress.batch == 151
    assert run.model.config["max_epochs"] == 76
