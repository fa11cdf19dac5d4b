"""Sparse dictionaries against codes computed by hand, the papers' formulas and finite differences."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.types import Shape, TrainingProgress

KINDS = ["topk", "batch_topk", "gated", "jumprelu", "matryoshka"]
SMALL: dict[str, dict[str, Any]] = {
    "topk": {"k": 3},
    "batch_topk": {"k": 3},
    "gated": {"target_l0": 3},
    "jumprelu": {"target_l0": 3},
    "matryoshka": {"k": 3, "prefixes": [0.25, 0.5]},
}
EXPLICIT = {"target_l0": None, "sparsity": 0.2}
"""A sparsity weight instead of a target."""


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def make(name: str, feature_shape: Shape = (6,), **options: Any) -> Any:
    """Return a dictionary for x of mean 0 and unit 1, which it does not measure."""
    latent = new(name, feature_shape, **options)
    size = len(latent.input_scale.mean)
    measured = {"mean": torch.zeros(size), "squares": torch.tensor(1000.0 * size), "count": torch.tensor(1000)}
    latent.input_scale.load_state_dict(measured)
    return latent


def new(name: str, feature_shape: Shape = (6,), **options: Any) -> Any:
    return build("latent", {"name": name, "dim": 12, **SMALL[name], **options}, feature_shape=feature_shape)


def by_hand(name: str, weight: list[list[float]], **options: Any) -> Any:
    """Return a dictionary whose encoder and decoder weights are these rows; the decoder normalises them."""
    rows = torch.tensor(weight)
    latent = make(name, (rows.shape[1],), dim=len(rows), **options)
    latent.scale = 1.0
    with torch.no_grad():
        latent.encode_bias.zero_()
        latent.encode_weight.copy_(rows)
        latent.decode_weight.copy_(rows)
    return latent


def gradient(value: Tensor, of: Tensor) -> Tensor | None:
    (found,) = torch.autograd.grad(value, of, retain_graph=True, allow_unused=True)
    return found


def slope(function: Callable[[], Tensor], at: Tensor, step: float = 1e-5) -> Tensor:
    """Return the central finite differences of a function by a parameter."""
    # Through .data, so that autograd does not record the changes.
    values, found = at.data.view(-1), []
    for index in range(len(values)):
        before = float(values[index])
        ends = []
        for moved in (before + step, before - step):
            values[index] = moved
            ends.append(float(function().detach()))
        values[index] = before
        found.append((ends[0] - ends[1]) / (2 * step))
    return torch.tensor(found, dtype=at.dtype).reshape(at.shape)


# -- every dictionary --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("feature_shape", [(6,), (2, 3, 4)])
@pytest.mark.parametrize("name", KINDS)
def test_shapes(name: str, feature_shape: Shape) -> None:
    latent = make(name, feature_shape, auxk=0.1)
    features = torch.randn(5, *feature_shape)
    for mode in (True, False):
        latent.train(mode)
        one = latent(features, sample=mode)
        assert one.z.shape == one.mean.shape == (5, 12) == (5, *latent.shape)
        assert one.decoder_input.shape == (5, *feature_shape) == (5, *latent.decoder_shape)
        torch.testing.assert_close(one.decoder_input, latent.decoder_input(one.z))
        assert all(term.shape == (5,) for term in one.terms.values())
        assert set(latent.weights) <= set(one.terms)


@pytest.mark.parametrize("name", KINDS)
def test_directions_keep_length_one_in_training(name: str) -> None:
    latent = make(name, auxk=0.1, dead_after=1)
    optimizer = torch.optim.Adam(latent.parameters(), lr=0.3)
    before = latent.directions.detach().clone()
    for _ in range(5):
        optimizer.zero_grad()
        found = latent(torch.randn(8, 6), sample=True)
        (found.decoder_input.square().sum() + sum(term.sum() for term in found.terms.values())).backward()
        optimizer.step()
    assert not torch.allclose(latent.directions, before, atol=1e-2)
    torch.testing.assert_close(latent.directions.norm(dim=1), torch.ones(12))


@pytest.mark.parametrize("name", KINDS)
def test_the_encoder_is_initialised_to_the_transposed_decoder(name: str) -> None:
    latent = make(name)
    torch.testing.assert_close(latent.encode_weight, latent.directions)
    # Gates start at a threshold for 3 of 12 features, the upper quartile of a normal variable.
    bias = -0.6745 * latent.scale if name == "gated" else 0.0
    torch.testing.assert_close(latent.encode_bias, torch.full((12,), bias), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("name", "dim"), [("topk", 1024), ("batch_topk", 1024), ("gated", 1024), ("gated", 40)])
def test_the_initial_reconstruction_is_as_long_as_x(name: str, dim: int) -> None:
    latent = make(name, (30,), dim=dim, **({"k": 64} if name != "gated" else EXPLICIT))
    x = torch.randn(200, 30)
    along = (latent(x, sample=True).decoder_input * x).sum(1) / x.square().sum(1)
    # 40 directions of 30: half of them make 2/3 of x, which is not made larger.
    assert along.mean().item() == pytest.approx(1.0 if dim > 60 else 2 / 3, abs=0.06)


@pytest.mark.parametrize("name", KINDS)
def test_in_half_precision_the_terms_are_single(name: str) -> None:
    latent = make(name, auxk=0.1, dead_after=1)
    latent(torch.randn(4, 6), sample=True)
    with torch.autocast("cpu", torch.bfloat16):
        found = latent(torch.randn(4, 6), sample=True)
    assert found.z.dtype == torch.float32
    assert all(term.dtype == torch.float32 and bool(term.isfinite().all()) for term in found.terms.values())


# -- dead features and their revival -----------------------------------------------------------------------------


def test_inactivity_is_counted_in_training_samples() -> None:
    latent = by_hand("topk", [[1.0, 0.0], [0.0, 1.0]], k=1)
    first, second = torch.tensor([[2.0, 1.0]] * 3), torch.tensor([[1.0, 2.0]] * 4)
    latent(first, sample=True)
    assert latent.steps_since_active.tolist() == [0, 3]
    latent(first, sample=True)
    assert latent.steps_since_active.tolist() == [0, 6]
    latent(torch.cat([first, second]), sample=True)
    assert latent.steps_since_active.tolist() == [0, 0]
    latent(second, sample=True)
    assert latent.steps_since_active.tolist() == [4, 0]
    # Passes without gradients, or in evaluation, are not counted.
    with torch.no_grad():
        latent(second, sample=True)
    latent.eval()(second, sample=False)
    assert latent.steps_since_active.tolist() == [4, 0]
    resumed = make("topk", (2,), dim=2, k=1)
    resumed.load_state_dict(latent.state_dict())
    resumed(second[:1], sample=True)
    assert resumed.steps_since_active.tolist() == [5, 0]


def test_a_dead_feature_explains_the_error_of_the_others() -> None:
    latent = by_hand("topk", [[1.0, 0.0], [0.0, 1.0]], k=1, auxk=0.5, dead_after=2)
    with torch.no_grad():
        latent.encode_weight[1] = torch.tensor([0.0, 0.5])
    assert latent.weights["auxk"](TrainingProgress()) == 0.5
    x = torch.tensor([[3.0, 1.0], [2.0, -1.0]])
    # No feature has been inactive for two samples.
    found = latent(x, sample=True)
    assert found.z.tolist() == [[3.0, 0.0], [2.0, 0.0]]
    assert found.terms["auxk"].tolist() == [0.0, 0.0]
    assert not any(each.any() for name in names(latent) if (each := aux_gradient(found, latent, name)) is not None)
    # Now the second one is dead. It explains half of (0, 1), and nothing of (0, -1): its pre-activation is negative.
    found = latent(x, sample=True)
    assert found.terms["auxk"].tolist() == [0.25, 1.0]
    # d/dw (1 - w x)^2 = -2 (1 - 0.5) x; the active feature is detached.
    torch.testing.assert_close(aux_gradient(found, latent, "encode_weight"), torch.tensor([[0.0, 0.0], [-3.0, -1.0]]))
    torch.testing.assert_close(aux_gradient(found, latent, "encode_bias"), torch.tensor([0.0, -1.0]))
    # -2 * 0.5 (0, 0.5) is along the direction; its normalisation removes this component.
    torch.testing.assert_close(aux_gradient(found, latent, "decode_weight"), torch.zeros(2, 2))


def test_a_dead_feature_with_a_negative_pre_activation_explains_nothing() -> None:
    latent = by_hand("topk", [[1.0, 0.0], [0.0, 1.0]], k=1, dead_after=1)
    latent.steps_since_active.fill_(1)
    found = latent(torch.tensor([[-3.0, -1.0]]), sample=True)
    assert found.z.tolist() == [[0.0, 0.0]]
    assert found.terms["auxk"].tolist() == [10.0]


def test_a_closed_gate_is_opened_by_the_error_of_the_others() -> None:
    latent = by_hand("gated", [[1.0, 0.0], [0.0, 1.0]], dead_after=1, **EXPLICIT)
    latent.steps_since_active[1] = 1
    with torch.no_grad():
        latent.encode_bias.copy_(torch.tensor([0.0, -5.0]))
        latent.encode_weight[1] = torch.tensor([0.0, 0.5])
    found = latent(torch.tensor([[3.0, 1.0]]), sample=True)
    assert found.z.tolist() == [[3.0, 0.0]]
    # Without the bias of its gate, the second feature explains half of (0, 1); a higher bias would explain more.
    assert found.terms["auxk"].tolist() == [0.25]
    torch.testing.assert_close(aux_gradient(found, latent, "encode_bias"), torch.tensor([0.0, -1.0]))
    torch.testing.assert_close(aux_gradient(found, latent, "encode_weight"), torch.tensor([[0.0, 0.0], [-3.0, -1.0]]))


@pytest.mark.parametrize("name", ["topk", "gated", "matryoshka"])
def test_the_terms_have_no_gradient_to_the_input_features(name: str) -> None:
    latent = make(name, dead_after=1)
    latent.steps_since_active.fill_(1)
    with torch.no_grad():
        # Every feature is active, for any input.
        latent.encode_weight.zero_()
        latent.encode_bias.fill_(1.0)
    features = torch.randn(4, 6, requires_grad=True)
    terms = latent(features, sample=True).terms
    total = torch.stack([term.sum() for term in terms.values()]).sum()
    assert total > 0
    found = gradient(total, features)
    assert found is None or not found.any()


def names(latent: Any) -> list[str]:
    return [name for name, _ in latent.named_parameters()]


def aux_gradient(found: Any, latent: Any, name: str) -> Tensor | None:
    return gradient(found.terms["auxk"].sum(), getattr(latent, name))


def test_auxk_uses_as_many_dead_features_as_half_the_size_of_x() -> None:
    latent = make("topk", (4,), dim=12, k=1, dead_after=1)
    latent.steps_since_active.fill_(5)
    x = torch.randn(3, 4)
    found = latent(x, sample=True)
    before = latent.scale * x @ latent.encode_weight.T
    largest = torch.zeros(3, 12)
    for row in range(3):
        for feature in before[row].argsort(descending=True)[:2]:
            largest[row, feature] = before[row, feature].clamp(min=0)
    expected = (x - latent.decoder_input(found.z) - largest @ latent.directions).square().sum(1)
    torch.testing.assert_close(found.terms["auxk"], expected)


def test_without_a_weight_there_is_no_auxk_term() -> None:
    assert "auxk" not in make("topk", auxk=0)(torch.randn(2, 6), sample=True).terms
    assert "auxk" not in make("gated", auxk=0)(torch.randn(2, 6), sample=True).terms
    assert "auxk" in make("gated", auxk={"name": "linear"})(torch.randn(2, 6), sample=True).terms


# -- top-k -------------------------------------------------------------------------------------------------------


def test_topk_by_hand() -> None:
    latent = by_hand("topk", [[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [-1.0, 0.0]], k=2)
    with torch.no_grad():
        latent.decode_bias.copy_(torch.tensor([1.0, 0.0]))
        latent.encode_bias.copy_(torch.tensor([0.0, 0.5, 0.0, 0.0]))
    # Less the bias: (2, 1), (-1, -2) and (0, 0).
    found = latent(torch.tensor([[3.0, 1.0], [0.0, -2.0], [1.0, 0.0]]), sample=True)
    # Pre-activations 2, 1.5, 2, -2; then -1, -1.5, -2.2, 1; then 0, 0.5, 0, 0.
    torch.testing.assert_close(
        found.z, torch.tensor([[2.0, 0.0, 2.0, 0.0], [0.0, 0.0, 0.0, 1.0], [0.0, 0.5, 0.0, 0.0]])
    )
    torch.testing.assert_close(found.decoder_input, torch.tensor([[4.2, 1.6], [0.0, 0.0], [1.0, 0.5]]))


def test_batch_topk_by_hand() -> None:
    latent = by_hand("batch_topk", [[1.0, 0.0], [0.0, 1.0]], k=1, decay=0.75)
    x = torch.tensor([[5.0, 4.0], [2.0, 3.0]])
    assert latent.eval()(x, sample=False).z.tolist() == x.tolist()
    assert latent.train()(x, sample=True).z.tolist() == [[5.0, 4.0], [0.0, 0.0]]
    assert latent.threshold.item() == 4.0
    assert latent(0.5 * x, sample=True).z.tolist() == [[2.5, 2.0], [0.0, 0.0]]
    # 3/4 of 4 and 1/4 of 2.
    assert latent.threshold.item() == 3.5
    with torch.no_grad():
        latent(x, sample=True)
    assert latent.threshold.item() == 3.5
    assert latent.eval()(x, sample=False).z.tolist() == [[5.0, 4.0], [0.0, 0.0]]
    assert latent(torch.tensor([[0.0, 3.6]]), sample=False).z.tolist() == [[0.0, pytest.approx(3.6)]]
    assert latent.threshold.item() == 3.5


def test_batch_topk_has_k_active_features_in_evaluation_too() -> None:
    latent = make("batch_topk", (16,), dim=64, k=5)
    for _ in range(50):
        # Some samples have larger values, and more active features.
        samples = torch.randn(64, 16) * torch.rand(64, 1) * 3
        assert mean_active(latent, samples) == 5.0
    latent.eval()
    assert mean_active(latent, torch.randn(4000, 16) * torch.rand(4000, 1) * 3) == pytest.approx(5.0, rel=0.05)
    by_sample = (latent(samples, sample=False).z > 0).sum(1)
    assert by_sample.min() < 3 < 8 < by_sample.max()


def mean_active(latent: Any, x: Tensor) -> float:
    return float((latent(x, sample=latent.training).z > 0).sum(1).float().mean())


# -- gates -------------------------------------------------------------------------------------------------------


def test_gated_by_hand() -> None:
    latent = by_hand("gated", [[1.0, 0.0], [0.0, 1.0]], auxk=0, **EXPLICIT)
    with torch.no_grad():
        latent.encode_bias.copy_(torch.tensor([-1.0, 0.5]))
        latent.log_factor.copy_(torch.tensor([math.log(2.0), 0.0]))
        latent.magnitude_bias.copy_(torch.tensor([0.5, -1.0]))
    assert latent.weights["sparsity"](TrainingProgress()) == 0.2
    found = latent(torch.tensor([[3.0, 2.0], [0.5, 0.25]]), sample=True)
    # Gates 2, 2.5 and -0.5, 0.75; magnitudes 6.5, 1 and 1.5, 0 (of -0.75).
    torch.testing.assert_close(found.z, torch.tensor([[6.5, 1.0], [0.0, 0.0]]))
    # Times the root of two dimensions.
    torch.testing.assert_close(found.terms["sparsity"], 2**0.5 * torch.tensor([4.5, 0.75]))
    # (3, 2) less (2, 2.5), and (0.5, 0.25) less (0, 0.75).
    torch.testing.assert_close(found.terms["gate_reconstruction"], torch.tensor([1.25, 0.5]))


def test_the_gradients_of_gates_are_those_of_what_can_be_differentiated() -> None:
    latent = make("gated", auxk=0, **EXPLICIT).double()
    x = torch.randn(8, 6, dtype=torch.double)
    parameters = dict(latent.named_parameters())
    with torch.no_grad():
        for name in set(parameters) - {"decode_weight"}:
            parameters[name].add_(0.1 * torch.randn_like(parameters[name]))

    def value(term: str) -> Tensor:
        found = latent(x, sample=True)
        error: Tensor = (x - found.decoder_input).square() if term == "main" else found.terms[term]
        return error.sum()

    gates, rest = {"encode_weight", "encode_bias"}, {"log_factor", "magnitude_bias", "decode_weight"}
    for term, reached in (
        # The bias of a gate only selects active features, and has no gradient.
        ("main", rest | {"encode_weight", "decode_bias"}),
        ("sparsity", gates | {"decode_bias"}),
        ("gate_reconstruction", gates),
    ):
        now = value(term)
        for name in reached:
            found = gradient(now, parameters[name])
            assert found is not None
            assert found.any(), (term, name)
            torch.testing.assert_close(found, finite(value, term, parameters[name]), atol=1e-6, rtol=1e-5)
        for name in set(parameters) - reached - {"decode_bias"}:
            none = gradient(now, parameters[name])
            assert none is None or not none.any(), (term, name)
    # decode_bias has a gradient through the input of the gates; in the decoded gates it is detached.
    now = value("gate_reconstruction")
    seen = latent.scale * gradient(now, latent.encode_bias) @ latent.encode_weight
    torch.testing.assert_close(gradient(now, latent.decode_bias), -seen)


def finite(value: Callable[[str], Tensor], term: str, parameter: Tensor) -> Tensor:
    return slope(lambda: value(term), parameter)


# -- thresholds --------------------------------------------------------------------------------------------------


def test_jumprelu_by_hand() -> None:
    latent = by_hand("jumprelu", [[1.0, 0.0], [0.0, 1.0]], threshold=0.5, bandwidth=0.2, auxk=0, **EXPLICIT)
    x = torch.tensor([[3.0, 0.45], [0.55, -1.0], [0.65, 0.5]])
    found = latent(x, sample=True)
    assert found.z.tolist() == [[3.0, 0.0], [pytest.approx(0.55), 0.0], [pytest.approx(0.65), 0.0]]
    # Of two dimensions of variance 1.
    assert found.terms["sparsity"].tolist() == [2.0, 2.0, 2.0]
    # Within 0.1 of the threshold are 0.55 of the first, and 0.45 and 0.5 of the second. By the threshold, -1 / 0.2 for
    # each in the number, -0.5 / 0.2 in z; by its logarithm, 0.5 times that.
    torch.testing.assert_close(
        gradient(found.terms["sparsity"].sum(), latent.log_threshold), 2 * torch.tensor([-2.5, -5.0])
    )
    weights = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    torch.testing.assert_close(
        gradient((weights * found.z).sum(), latent.log_threshold), -1.25 * torch.tensor([3.0, 2.0 + 6.0])
    )
    # With respect to the pre-activations, the number has no gradient, and z that of its active features.
    assert gradient(found.terms["sparsity"].sum(), latent.encode_bias) is None
    torch.testing.assert_close(gradient((weights * found.z).sum(), latent.encode_bias), torch.tensor([9.0, 0.0]))


def test_the_slope_by_thresholds_is_that_of_the_smoothed_step() -> None:
    latent = make("jumprelu", bandwidth=0.3, threshold=0.4, auxk=0, **EXPLICIT).double()
    x = torch.randn(30, 6, dtype=torch.double)
    weights = torch.randn(30, 12, dtype=torch.double)
    fixed = latent.log_threshold.detach().exp()

    def smoothed() -> tuple[Tensor, Tensor]:
        """Return the step integrated over the kernel; the jump of z has the height of the detached threshold."""
        before = latent.scale * x @ latent.encode_weight.T
        steps = ((before - latent.log_threshold.exp()) / 0.3 + 0.5).clamp(0, 1)
        return 6 * steps.sum(), (weights * fixed * steps).sum()

    found = latent(x, sample=True)
    number, z = found.terms["sparsity"].sum(), (weights * found.z).sum()
    by_threshold = slope(lambda: smoothed()[0], latent.log_threshold)
    assert by_threshold.any()
    torch.testing.assert_close(gradient(number, latent.log_threshold), by_threshold, atol=1e-6, rtol=1e-5)
    by_threshold = slope(lambda: smoothed()[1], latent.log_threshold)
    torch.testing.assert_close(gradient(z, latent.log_threshold), by_threshold, atol=1e-6, rtol=1e-5)
    # With respect to the encoder, the gradient of z is exact.
    by_encoder = slope(lambda: (weights * latent(x, sample=True).z).sum(), latent.encode_weight, step=1e-7)
    torch.testing.assert_close(gradient(z, latent.encode_weight), by_encoder, atol=1e-5, rtol=0)


# -- nested dictionaries -----------------------------------------------------------------------------------------


def test_a_prefix_is_a_dictionary_of_its_own() -> None:
    latent = make("matryoshka", (6,), dim=12, prefixes=[0.25, 0.5])
    with torch.no_grad():
        latent.decode_bias.copy_(torch.randn(6))
    x = torch.randn(7, 6)
    found = latent(x, sample=True)
    assert set(found.terms) == {"prefix_3", "prefix_6", "auxk"}
    for size in (3, 6):
        z = found.z.clone()
        z[:, size:] = 0
        torch.testing.assert_close(found.terms[f"prefix_{size}"], (x - latent.decoder_input(z)).square().sum(1))
    by_row = gradient(found.terms["prefix_3"].sum(), latent.decode_weight)
    assert by_row is not None
    assert by_row[:3].any()
    assert not by_row[3:].any()


# -- invalid options ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("gated", {"dim": 0, **EXPLICIT}, "latent gated needs dim and dead_after of at least 1, found 0 and 10000"),
        ("jumprelu", {"dead_after": 0}, "latent jumprelu needs dim and dead_after of at least 1, found 12 and 0"),
        ("topk", {"k": 0}, "latent topk needs k from 1 to dim=12, found 0; set latent.k or latent.dim"),
        ("matryoshka", {"k": 13}, "latent matryoshka needs k from 1 to dim=12, found 13; set latent.k or latent.dim"),
        ("batch_topk", {"decay": 1.0}, "latent batch_topk needs decay in [0, 1), found 1.0"),
        (
            "gated",
            {"target_l0": 12},
            "latent gated needs target_l0 above 0 and below dim=12, found 12; set latent.target_l0 or latent.dim",
        ),
        (
            "jumprelu",
            {"target_l0": None},
            "latent jumprelu needs target_l0 or sparsity, found neither; set latent.target_l0=32",
        ),
        (
            "jumprelu",
            {"sparsity": 0.1},
            "latent jumprelu has target_l0=3, which sets the weight of its term sparsity, and also the option "
            "sparsity; set latent.target_l0=null to use latent.sparsity",
        ),
        (
            "jumprelu",
            {"bandwidth": 0},
            "latent jumprelu needs bandwidth and threshold > 0, found 0 and None",
        ),
        (
            "matryoshka",
            {"prefixes": [0.5, 0.25]},
            "latent matryoshka needs prefixes as increasing fractions of dim=12 between 0 and 1, each at least "
            "one feature longer than the one before, found [0.5, 0.25]",
        ),
        (
            "matryoshka",
            {"prefixes": [0.01, 1.0]},
            "latent matryoshka needs prefixes as increasing fractions of dim=12 between 0 and 1, each at least "
            "one feature longer than the one before, found [0.01, 1.0]",
        ),
    ],
)
def test_invalid_options_are_rejected(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(AeframeError) as error:
        make(name, **options)
    assert str(error.value) == message
