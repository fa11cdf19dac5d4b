"""Fill missing values with a trained model: `impute` for samples in memory, `impute_batch` for one batch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from aeframe.data.filled_samples import FilledBatch
from aeframe.data.samples import Samples
from aeframe.errors import AeframeError
from aeframe.evaluation.step import evaluation_mode
from aeframe.model_store.inputs import Condition, check_batch_size
from aeframe.model_store.modality_state import with_options
from aeframe.model_store.trained_model import TrainedModel
from aeframe.noise import PICTURES, mix
from aeframe.row_noise import RowNoise, padded_rows
from aeframe.types import Batch


@dataclass(frozen=True, slots=True)
class Imputation:
    """How missing values are filled: by pseudo-Gibbs sampling, or its deterministic counterpart.

    Each iteration encodes the sample, decodes z, and fills the missing elements, which the next one encodes too
    (Rezende, Mohamed & Wierstra 2014, arXiv 1401.4082, appendix F; Mattei & Frellsen 2018, arXiv 1802.04826). In the
    first iteration they are masked. Observed elements and conditions are kept.

    With `draw`, z is drawn from the posterior, and the values from the likelihood: after many iterations they are draws
    from about p(missing | observed). It is exact if the encoder is the exact posterior. Without, both are means; the
    values converge to the conditional mean of a linear Gaussian model.

    Raises:
        AeframeError: `iterations` is below 1.
    """

    iterations: int = 10
    """Number of iterations."""
    draw: bool = False
    """Whether values are drawn; otherwise they are means, or the most probable classes."""
    seed: int = 0
    """The seed of the draws. The noise of a sample depends on it and on the row number of the sample only."""

    def __post_init__(self) -> None:
        if not isinstance(self.iterations, int) or self.iterations < 1:
            raise AeframeError(f"imputation needs at least 1 iteration, found {self.iterations!r}")


def accepting_missing(model: TrainedModel) -> TrainedModel:
    """Return the model with a modality that accepts missing values, see `Modality.imputation_options`."""
    options = type(model.modality).imputation_options
    if not options:
        return model
    return replace(model, modality=with_options(model.modality, model.config["modality"], options))


@torch.no_grad()
def impute_batch(
    model: TrainedModel, batch: Batch, rows: Tensor, imputation: Imputation, *, condition: Condition | None = None
) -> FilledBatch:
    """Return a batch with filled values, on the CPU. The result of a sample does not depend on the others.

    Args:
        model: The model; see `accepting_missing`.
        batch: The samples with missing values, as a modality prepares them.
        rows: ``(B,)``, the row number of each sample.
        imputation: How values are filled.
        condition: The condition of the samples: ``(B, C)``, or labels; None for that of the batch.

    Raises:
        AeframeError: The modality has no missing values, or the condition is missing.
    """
    batch = model.batch_of(batch, condition).to(torch.device("cpu"))
    missing = model.modality.missing_elements(batch)
    has_missing = missing.flatten(1).any(1).nonzero()[:, 0]
    x = batch.nan_masked_x()
    if len(has_missing):
        filled = _impute_all(model, batch.rows(has_missing), rows[has_missing], imputation)
        x = x.index_copy(0, has_missing, filled.nan_masked_x().to(x.dtype))
    return FilledBatch(x, missing, rows)


def _impute_all(model: TrainedModel, batch: Batch, rows: Tensor, imputation: Imputation) -> Batch:
    """Return a batch, each of whose samples has missing values, with all of them filled, on the CPU."""
    original = model.on_device(batch.rows(padded_rows(len(batch))))
    rows = rows[padded_rows(len(batch))]
    sample = imputation.draw and "posterior" in model.model.latent.provides
    current = original
    with evaluation_mode(model.model):
        for iteration in range(imputation.iterations):
            with RowNoise(rows, seed=mix(imputation.seed, PICTURES, iteration)):
                z = model.model.embed(current, sample=sample).z
                output = model.model.decode(z, condition=original.condition, like=original, draw=imputation.draw)
                values = model.model.data(model.modality.without_missing(output), draw=imputation.draw)
            current = model.modality.filled(original, values)
    return current.rows(slice(len(batch))).to(torch.device("cpu"))


def impute(
    model: TrainedModel,
    x: Any,
    *,
    condition: Any = None,
    draw: bool = False,
    iterations: int = 10,
    seed: int = 0,
    batch_size: int = 256,
) -> Any:
    """Return samples in memory with their missing values filled, see `Imputation`.

    ```python
    complete = aeframe.impute(model, frame)
    several = [aeframe.impute(model, frame, draw=True, seed=seed) for seed in range(5)]
    ```

    Args:
        model: The model.
        x: Samples as `TrainedModel.prepare` takes them, missing values as NaN.
        condition: Their condition, for a model with one.
        draw: Draw z and the values instead of taking means.
        iterations: Number of iterations.
        seed: The seed of the draws; another one returns independent draws.
        batch_size: Samples that are filled at a time.

    Returns:
        The samples in the form of `TrainedModel.restore`. In a data frame whose columns a modality matches by name,
        everything but the missing cells of these columns is unchanged.

    Raises:
        AeframeError: The modality has no missing values, or a sample is refused as in training.
    """
    imputation = Imputation(iterations, draw, seed)
    check_batch_size(f"model '{model.name}'", batch_size)
    model = accepting_missing(model)
    batch = model.prepare(x, condition=condition)
    rows = torch.arange(len(batch))
    parts = [impute_batch(model, batch.rows(part), part, imputation) for part in rows.split(batch_size)]
    filled = FilledBatch(torch.cat([part.x for part in parts]), torch.cat([part.missing for part in parts]), rows)
    return model.modality.restore_filled(filled, Samples.of(x).x)
