"""`SeededSampler`: Optuna's TPE with random numbers that depend on the seed and the number of the trial only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState


class SeededSampler(BaseSampler):
    """The tree-structured Parzen estimator (Bergstra et al. 2011, NeurIPS; Watanabe 2023, arXiv 2304.11127).

    Optuna's sampler draws from one stream of random numbers for each process, so that a second process with the same
    seed, or one that continues a study, would try the first points again. Here trial n has a stream of its own. The
    point of trial n is therefore a function of the seed, n, and the trials that are in the study when it begins.

    Args:
        seed: At least 0.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._number = -1
        self._tpe = TPESampler(seed=seed)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Select the stream of random numbers of the trial."""
        self._of(trial).before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the parameters that are sampled together: all of them."""
        return self._of(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the parameters of the trial."""
        return dict(self._of(trial).sample_relative(study, trial, search_space))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return one parameter, in the first trials, which are drawn at random."""
        return self._of(trial).sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Complete the trial."""
        self._tpe.after_trial(study, trial, state, values)

    def _of(self, trial: FrozenTrial) -> TPESampler:
        if trial.number != self._number:
            self._number = trial.number
            self._tpe = TPESampler(seed=int(np.random.SeedSequence([self._seed, trial.number]).generate_state(1)[0]))
        return self._tpe
