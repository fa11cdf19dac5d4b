"""The first feature space that a modality names has finite features of the samples of its default data set."""

from __future__ import annotations

import pytest
import torch

from aeframe.errors import AeframeError
from aeframe.factory import build
from aeframe.registry import registry

# A classifier needs a file; principal components are the same for every modality. Tables compare samples by measures.
_SPACES = {name: registry().load("modality", name).feature_spaces for name in sorted(registry().names("modality"))}
_FIRST = {name: spaces[0] for name, spaces in _SPACES.items() if spaces}
SPACES = [(name, space) for name, space in _FIRST.items() if space not in ("classifier", "pca") or name == "vector"]


@pytest.mark.parametrize(("name", "space"), SPACES)
def test_features(name: str, space: str) -> None:
    modality = build("modality", name)
    dataset = build("dataset", modality.dataset)
    spec = modality.spec(dataset)
    splits = modality.prepare(dataset)
    x = splits.validation.batch(torch.arange(min(30, len(splits.validation)))).x
    built = build("feature_space", {"name": space, "components": 3}, modality=modality, spec=spec)
    built.fit(x)
    features = built.features(x)
    assert features.shape == (len(x), 3)
    assert features.isfinite().all()
    assert float(features.var(0).sum()) == pytest.approx(1, rel=1e-3)
    assert built.label == "3"


@pytest.mark.parametrize("space", [space for name, space in SPACES if name != "vector"])
def test_other_modalities_are_refused(space: str) -> None:
    vector = build("modality", "vector")
    spec = vector.spec(build("dataset", "breast_cancer"))
    with pytest.raises(AeframeError, match=f"feature space {space} is for modality .*, found Vector; choose another"):
        build("feature_space", space, modality=vector, spec=spec)
