"""The adversarial objective: a discriminator matches the distribution of the codes to the prior."""

from __future__ import annotations

from torch.nn import functional as F

from aeframe.parts.objectives.base import Objective, is_computed, reconstruction_terms
from aeframe.parts.schedules import Schedule, fixed
from aeframe.types import ForwardOutput, LossTerms, Model, TrainingProgress


class Adversarial(Objective):
    """Minimise reconstruction + weight * -log D(z), with a discriminator D of codes and draws from the prior (Makhzani
    et al. 2016, arXiv 1511.05644).

    This is the non-saturating form (Goodfellow et al. 2014, arXiv 1406.2661). Both loss terms are minimised in one
    step of the optimizer; the paper alternates two steps.

    Args:
        weight: Weight of -log D(z); a number or a schedule.
        critic: Label of the discriminator in ``critics:``.
    """

    def __init__(self, *, weight: Schedule = fixed(1.0), critic: str = "discriminator_z") -> None:
        super().__init__()
        self.weight, self.critic = weight, critic
        self.used_critics = {critic: ("logit",)}

    def forward(self, model: Model, out: ForwardOutput, progress: TrainingProgress) -> LossTerms:
        terms = reconstruction_terms(model, out, progress)
        critic = model.critics[self.critic]
        weight = self.weight(progress) if critic.has_started(progress) else 0.0
        if is_computed(model, weight):
            terms.add("adversarial", F.softplus(-critic.logit(out.latent.z)), weight)
        return terms
