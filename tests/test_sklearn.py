"""The estimators for scikit-learn."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from aeframe.errors import AeframeError
from aeframe.sklearn import AutoencoderOutlierDetector, AutoencoderTransformer

SMALL = {"encoder": {"name": "mlp", "hidden": [8]}}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def rows(num: int = 60) -> np.ndarray:
    random = np.random.default_rng(0)
    return random.normal(size=(num, 2)) @ random.normal(size=(2, 5)) * 7 + 3


@parametrize_with_checks(
    [
        estimator(model, max_epochs=1, settings=SMALL, random_state=0)
        for estimator in (AutoencoderTransformer, AutoencoderOutlierDetector)
        for model in ("ae", "vae", "vqvae")
    ]
)
def test_scikit_learn_accepts_the_estimators(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("model", ["ae", "vae", "vqvae"])
def test_codes_and_samples_have_the_unit_of_x(model: str) -> None:
    x = rows()
    settings = {"encoder": {"name": "mlp", "hidden": [32]}, "optimizer": {"lr": 0.01}}
    estimator = AutoencoderTransformer(model, n_components=3, max_epochs=40, settings=settings, random_state=0)
    codes = estimator.fit_transform(x)
    assert codes.shape == (60, len(estimator.get_feature_names_out()))
    assert np.array_equal(codes, copy.deepcopy(estimator).transform(x))
    assert np.array_equal(codes, clone(estimator).fit(x).transform(x))
    restored = estimator.inverse_transform(codes)
    expected = estimator.model_.restore(estimator.model_.decode(estimator.model_.encode(estimator.model_.prepare(x))))
    assert np.allclose(restored, expected, atol=1e-5)
    if model == "ae":
        assert np.square(restored - x).mean() < 0.3 * x.var()
    samples = estimator.sample(500, random_state=0)
    assert np.array_equal(samples, estimator.sample(500, random_state=0))
    assert np.abs(samples.mean(0) - x.mean(0)).max() < 2 * x.std()
    assert estimator.score(x) == pytest.approx(estimator.score_samples(x).mean())


def test_a_frame_has_names() -> None:
    frame = pd.DataFrame(rows(), columns=list("abcde"))
    estimator = AutoencoderTransformer(n_components=2, max_epochs=1, settings=SMALL)
    codes = estimator.set_output(transform="pandas").fit_transform(frame)
    assert codes.columns.tolist() == ["autoencodertransformer0", "autoencodertransformer1"]
    assert estimator.feature_names_in_.tolist() == list("abcde")


@pytest.mark.parametrize("method", ["mahalanobis", "reconstruction", "bound"])
def test_outliers_have_the_lowest_scores(method: Any) -> None:
    x = rows(200)
    detector = AutoencoderOutlierDetector(
        n_components=2, contamination=0.1, method=method, max_epochs=60, settings=SMALL, random_state=0
    ).fit(x)
    assert (detector.predict(x) == -1).sum() == 20
    # Far from the plane of the training samples.
    normal = np.linalg.svd(x - x.mean(0))[2][-1]
    assert (detector.predict(x[:20] + 20 * normal) == -1).all()


def test_outliers_that_the_model_has_learnt_are_found_by_their_distance() -> None:
    x = rows(300)
    # In the plane of the training samples, far from its centre.
    outliers = x[:20] * 0.2 + 8 * (x[20] - x.mean(0))
    is_outlier = np.repeat([False, True], [300, 20])
    ranked = {}
    for method in ("mahalanobis", "reconstruction"):
        detector = AutoencoderOutlierDetector(
            n_components=2, method=method, max_epochs=100, settings={**SMALL, "activation": "identity"}, random_state=0
        ).fit(np.r_[x, outliers])
        ranked[method] = roc_auc_score(is_outlier, -detector.score_samples(np.r_[x, outliers]))
    assert ranked["mahalanobis"] > 0.99 > ranked["reconstruction"]


def test_errors_of_parameters() -> None:
    x = rows()
    for wrong, message in (
        (AutoencoderOutlierDetector(contamination=0.7), "contamination expects a number in"),
        (AutoencoderOutlierDetector(method="nll"), "method expects one of mahalanobis, .* found 'nll'"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ValueError, match=message):
            wrong.fit(x)
    with pytest.raises(AeframeError, match="unknown model 'vea', did you mean 'vae'"):
        AutoencoderTransformer("vea").fit(x)
    with pytest.raises(ValueError, match="n_samples expects an integer of at least 1, found 0"):
        AutoencoderTransformer(max_epochs=1, settings=SMALL).fit(x).sample(0)
