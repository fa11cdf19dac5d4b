"""`compare_new_samples`: how new samples of a finished run compare with its test samples."""

from __future__ import annotations

from collections.abc import Callable

from aeframe.data.modality import Splits
from aeframe.data.sample_comparison import SampleComparison
from aeframe.errors import AeframeError
from aeframe.evaluation.sample_quality import compare_by_modality, has_own_measures
from aeframe.model_store.trained_model import TrainedModel
from aeframe.runs.folder import RunFolder

_NUM_COMPARED = 2_000
"""The most new samples of a run that are compared, with as many test samples."""


def compare_new_samples(
    trained: TrainedModel, splits: Splits, folder: RunFolder, print_note: Callable[[str], None]
) -> SampleComparison | None:
    """Return the comparison by the measures of the modality, and write it to the run folder.

    None for a modality without measures, and for a comparison that fails, which is no reason to lose a trained model.

    Args:
        trained: The model, with its fitted sampler. The seed of its config determines everything random.
        splits: Its data.
        folder: The run folder.
        print_note: Prints why a comparison failed.
    """
    if not has_own_measures(trained.modality):
        return None
    seed = trained.config["seed"]
    try:
        comparison = compare_by_modality(
            trained.modality,
            lambda num, condition: trained.sample(num, seed=seed, condition=condition).cpu(),
            lambda batch: trained.reconstruct(batch).cpu(),
            splits.train,
            splits.test,
            num=_NUM_COMPARED,
            seed=seed,
        )
    except AeframeError as error:
        print_note(f"new samples are not compared with test samples: {error}")
        return None
    folder.write_comparison(comparison)
    return comparison
