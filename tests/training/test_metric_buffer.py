"""The metric buffer: means over windows and epochs, its state, and numbers that are not finite."""

from __future__ import annotations

import io
import math

import pytest
import torch

from aeframe.training.metric_buffer import MetricBuffer, NonFiniteLossError
from aeframe.types import LossTerms, TrainingProgress

CPU = torch.device("cpu")
Reports = list[tuple[dict[str, float], str]]


def make_buffer() -> tuple[MetricBuffer, Reports]:
    reports: Reports = []
    return MetricBuffer(lambda numbers, split: reports.append((numbers, split))), reports


def feed(buffer: MetricBuffer, progress: TrainingProgress, *values: float, weight: float = 1.0) -> None:
    for value in values:
        terms = LossTerms().add("reconstruction", torch.full((4,), value)).add("kl", torch.ones(4), weight)
        buffer.add("", "autoencoder", terms, progress)
        progress.advance()


def test_a_flush_reports_the_means_of_its_window_and_the_readings() -> None:
    buffer, reports = make_buffer()
    progress = TrainingProgress()
    feed(buffer, progress, 1.0, 3.0, weight=0.5)
    assert reports == []
    buffer.flush({"lr/autoencoder": 0.5})
    expected = {"reconstruction": 2.0, "kl": 1.0, "kl_weighted": 0.5, "loss": 2.5, "lr/autoencoder": 0.5}
    assert reports == [(expected, "train")]
    assert buffer.latest == {name: value for name, value in expected.items() if name != "lr/autoencoder"}
    feed(buffer, progress, 5.0, weight=0.5)
    buffer.flush()
    assert reports[1:] == [({"reconstruction": 5.0, "kl": 1.0, "kl_weighted": 0.5, "loss": 5.5}, "train")]


def test_nothing_buffered_reports_nothing() -> None:
    buffer, reports = make_buffer()
    buffer.flush({"lr/autoencoder": 0.5})
    assert buffer.end_epoch({"lr/autoencoder": 0.5}) == {}
    assert reports == []


def test_a_weight_that_changes_within_a_window_is_applied_batch_by_batch() -> None:
    buffer, reports = make_buffer()
    progress = TrainingProgress()
    feed(buffer, progress, 1.0, weight=0.25)
    feed(buffer, progress, 1.0, weight=1.0)
    buffer.flush()
    assert reports == [({"reconstruction": 1.0, "kl": 1.0, "kl_weighted": 0.625, "loss": 1.625}, "train")]


def test_an_epoch_ends_with_the_mean_of_all_its_batches() -> None:
    buffer, reports = make_buffer()
    progress = TrainingProgress()
    feed(buffer, progress, 1.0, 3.0)
    buffer.flush()
    feed(buffer, progress, 8.0)
    assert buffer.end_epoch({"lr/autoencoder": 0.5})["reconstruction"] == pytest.approx(4.0)
    assert [split for _, split in reports] == ["train", "train", "train_epoch"]
    assert ["lr/autoencoder" in numbers for numbers, _ in reports] == [False, True, False]
    feed(buffer, progress, 10.0)
    assert buffer.end_epoch()["reconstruction"] == pytest.approx(10.0)


def test_the_loss_returned_is_the_weighted_mean_and_keeps_its_graph() -> None:
    buffer, _ = make_buffer()
    parameter = torch.tensor([1.0, 2.0], requires_grad=True)
    loss = buffer.add(
        "", "autoencoder", LossTerms().add("a", parameter).add("b", parameter**2, 3.0), TrainingProgress()
    )
    loss.backward()
    assert loss.item() == pytest.approx((1 + 3 + 2 + 12) / 2)
    torch.testing.assert_close(parameter.grad, torch.tensor([3.5, 6.5]))


def test_a_term_that_appears_later_is_logged_from_then_on() -> None:
    buffer, reports = make_buffer()
    progress = TrainingProgress()
    buffer.add("", "autoencoder", LossTerms().add("a", torch.ones(2)), progress)
    progress.advance()
    buffer.add("", "autoencoder", LossTerms().add("a", torch.ones(2)).add("b", torch.full((2,), 4.0)), progress)
    buffer.flush()
    assert [sorted(numbers) for numbers, _ in reports] == [["a", "loss"], ["a", "b", "loss"]]


def test_groups_have_windows_of_their_own() -> None:
    buffer, reports = make_buffer()
    progress = TrainingProgress()
    feed(buffer, progress, 1.0)
    buffer.add("discriminator/", "discriminator", LossTerms().add("real", torch.ones(2), 2.0), progress)
    feed(buffer, progress, 3.0)
    buffer.flush()
    expected = {
        "reconstruction": 2.0,
        "kl": 1.0,
        "loss": 3.0,
        "discriminator/real": 1.0,
        "discriminator/real_weighted": 2.0,
        "discriminator/loss": 2.0,
    }
    assert reports == [(expected, "train")]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_number_that_is_not_finite_names_batch_term_and_group(value: float) -> None:
    buffer, reports = make_buffer()
    progress = TrainingProgress(batch=120)
    feed(buffer, progress, 1.0, 2.0, value)
    with pytest.raises(NonFiniteLossError) as caught:
        buffer.flush()
    assert str(caught.value) == (
        f"training stopped: term 'reconstruction' of optimizer group 'autoencoder' is {value} at batch 122; "
        "lower optimizer.lr, set clip=1.0, or look at the data of that batch"
    )
    # The report has the value, so that the measurements of the run show why it ended.
    ((means, split),) = reports
    assert split == "train"
    assert not math.isfinite(means["reconstruction"])


@pytest.mark.parametrize("flushed", [0, 1, 2, 3])
def test_a_restored_buffer_reports_exactly_what_the_first_would_have(flushed: int) -> None:
    # Thirds have no exact float, so that sums in another order would differ.
    values = [1 / 3, 2 / 3, 5 / 7]
    buffer, reports = make_buffer()
    progress = TrainingProgress()
    feed(buffer, progress, *values[:flushed], weight=0.3)
    buffer.flush()
    feed(buffer, progress, *values[flushed:], weight=0.3)
    buffer.add("d/", "d", LossTerms().add("real", torch.tensor([1 / 3, 1 / 7])), progress)
    stored = io.BytesIO()
    torch.save(buffer.state_dict(), stored)
    stored.seek(0)
    restored, later = make_buffer()
    restored.load_state_dict(torch.load(stored, weights_only=True), CPU)
    before = len(reports)
    for each in (buffer, restored):
        feed(each, TrainingProgress(batch=3), 1 / 9, weight=0.3)
        each.end_epoch()
    assert later == reports[before:]
    assert [split for _, split in later] == ["train", "train_epoch"]


def test_a_restored_buffer_names_the_batch_that_was_not_finite() -> None:
    buffer, _ = make_buffer()
    feed(buffer, TrainingProgress(batch=40), 1.0, math.nan)
    restored, _ = make_buffer()
    restored.load_state_dict(buffer.state_dict(), CPU)
    with pytest.raises(NonFiniteLossError, match="at batch 41;"):
        restored.flush()
