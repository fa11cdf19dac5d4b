"""`PackedStep`: one training step of many models that differ in their seeds, optimizers and numbers only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from aeframe.model.autoencoder import Autoencoder
from aeframe.noise import TRAINING, seed_noise
from aeframe.training.optimizer_groups import OptimizerGroup
from aeframe.training.packed_numbers import DifferingNumbers, UnpackableError
from aeframe.training.packed_optimizer import PackedOptimizer, clip_by_model, norms_by_model
from aeframe.training.repeated_draws import Draw, GivenDraws, RecordedDraws, UnrepeatableDrawsError
from aeframe.types import WEIGHT, Batch, LossTerms, TrainingProgress


@dataclass(frozen=True, slots=True)
class PackedMember:
    """One of the models that are trained together."""

    model: Autoencoder
    group: OptimizerGroup
    seed: int


@dataclass(frozen=True, slots=True)
class PackedTerms:
    """The loss terms of M models for a batch each."""

    names: tuple[str, ...]
    """The T names of the terms, and ``loss``."""
    weights: list[tuple[float, ...]]
    """For each model, the weight of each, 1 for the loss."""
    means: Tensor
    """``(M, T)``: the mean of each over the samples, the loss with its sample weights."""
    totals: Tensor
    """``(M, B)``: the loss of each sample."""
    gradient_norms: dict[str, Tensor] = field(default_factory=dict)
    """For each weighted term, the norms ``(M,)`` of its gradient, if they were requested."""


class _Terms(nn.Module):
    """The terms of a model as a module, for `functional_call`."""

    def __init__(self, model: Autoencoder, group: OptimizerGroup) -> None:
        super().__init__()
        self.model, self._group = model, group

    def forward(self, batch: Batch, progress: TrainingProgress) -> LossTerms:
        output = self.model(batch, num_samples=self.model.objective.num_samples)
        return self._group.terms(self.model, output, progress)


class PackedStep:
    """Train M models of one structure in one vectorized pass, each on a batch of its own.

    The parameters and buffers of each model become views of stacked ones, so that checkpoints and evaluations of each
    model see their values. The random draws of each model are those of the model alone: the sequence of draws is
    recorded once, and repeated with the seed of each model.

    Args:
        members: The models, in training mode.

    Raises:
        UnpackableError: The models differ in more than numbers.
    """

    def __init__(self, members: Sequence[PackedMember]) -> None:
        self.members = list(members)
        self._every = [_Terms(member.model, member.group) for member in members]
        self._terms = self._every[0]
        self._numbers = DifferingNumbers([member.model for member in members])
        self._own = [dict(each.named_parameters()) for each in self._every]
        self._trained = [name for name, p in self._own[0].items() if p.requires_grad]
        self._parameters = _stacked(self._own)
        self._buffers = _stacked([dict(each.named_buffers()) for each in self._every])
        self._draws: dict[object, list[Draw]] = {}
        optimizers = [member.group.optimizer for member in members]
        self._optimizer = (
            PackedOptimizer(optimizers, self._own, self._parameters) if PackedOptimizer.supports(optimizers) else None
        )

    def compute(
        self, batches: Sequence[Batch], progress: TrainingProgress, *, norms: bool = False
    ) -> tuple[PackedTerms, dict[str, Tensor | None]]:
        """Return the terms of each model for its batch, and the gradients ``(M, ...)`` by the name of the parameter.

        Args:
            batches: The batch of each model.
            progress: Their training progress.
            norms: Compute also the gradient norm of each term.

        Raises:
            UnpackableBatchError: Some of the models leave out a term at this batch.
            UnpackableError: The batches differ in their shapes, or `torch.func` cannot compute the terms.
        """
        for member in self.members:
            member.model.set_progress(progress)
        row = self._numbers.update(progress)
        tensors = [_tensors(batch) for batch in batches]
        shapes = [tuple(tensor.shape for tensor in each) for each in tensors]
        if len(set(shapes)) > 1:
            raise UnpackableError("its batches differ in shape from those of the other models")
        stacked = [torch.stack(rows) for rows in zip(*tensors, strict=True)]
        row = None if row is None else row.to(stacked[0])
        before = [value.clone() for value in self._buffers.values()]
        for attempt in range(2):
            try:
                return self._compute(shapes[0], batches, stacked, row, progress, norms)
            except UnrepeatableDrawsError as error:
                self._restore(before)
                # A schedule may have added a penalty that draws: record once more.
                self._draws.pop(shapes[0], None)
                if attempt:
                    raise UnpackableError(str(error)) from error
            except (RuntimeError, TypeError, ValueError) as error:
                self._restore(before)
                raise UnpackableError(_reason(error)) from error
        raise AssertionError("the second attempt returns or raises")

    def check(self, batches: Sequence[Batch], progress: TrainingProgress) -> None:
        """Compute the gradients of each model also alone, and compare; parameters and buffers are left as they were.

        Raises:
            UnpackableError: The results differ, or the errors of `compute`.
        """
        before = [value.clone() for value in self._buffers.values()]
        try:
            terms, gradients = self.compute(batches, progress)
            after = {name: value.clone() for name, value in self._buffers.items()}
            self._restore(before)
            for position, (member, each) in enumerate(zip(self.members, self._every, strict=True)):
                seed_noise(batches[position].x.device, member.seed, TRAINING, 0, progress.batch)
                alone = each(batches[position], progress)
                loss = _loss_of(alone, batches[position])
                names = self._trained
                expected = torch.autograd.grad(loss, [self._own[position][name] for name in names], allow_unused=True)
                found = [gradients[name] for name in names]
                pairs = [
                    (value if value is None else value[position], other)
                    for value, other in zip(found, expected, strict=True)
                ]
                is_equal = (
                    terms.names == (*alone.raw, "loss")
                    and _close(terms.means[position, -1], loss.detach())
                    and all(_close(*pair) for pair in pairs)
                    and all(_close(value[position], self._buffers[name][position]) for name, value in after.items())
                )
                if not is_equal:
                    raise UnpackableError("the vectorized step has another result than that of the model alone")
        finally:
            self._restore(before)

    def step(self, gradients: dict[str, Tensor | None], limits: Sequence[float | None]) -> None:
        """Step the optimizer of each model.

        Args:
            gradients: The gradients ``(M, ...)``, as `compute` returned them; they may be changed.
            limits: The largest norm of each model's gradient; None for no clipping.
        """
        if any(limit is not None for limit in limits) and any(value is not None for value in gradients.values()):
            norms = clip_by_model(gradients, limits)
            for member, limit, norm in zip(self.members, limits, norms, strict=True):
                member.group.gradient_norm = None if limit is None else norm
        if self._optimizer is not None:
            self._optimizer.step(gradients)
            return
        for position, (member, own) in enumerate(zip(self.members, self._own, strict=True)):
            for name, gradient in gradients.items():
                own[name].grad = None if gradient is None else gradient[position]
            member.group.optimizer.step()
            member.group.optimizer.zero_grad(set_to_none=True)

    def release(self) -> None:
        """Give each model and optimizer tensors of its own again."""
        for each in self._every:
            for value in (*each.parameters(), *each.buffers()):
                value.data = value.data.clone()
        if self._optimizer is not None:
            self._optimizer.unlink()

    def _compute(
        self,
        shapes: object,
        batches: Sequence[Batch],
        stacked: list[Tensor],
        row: Tensor | None,
        progress: TrainingProgress,
        norms: bool,
    ) -> tuple[PackedTerms, dict[str, Tensor | None]]:
        draws = self._draws.get(shapes)
        if draws is None:
            draws = self._draws[shapes] = self._record(batches[0], progress)
        values = self._repeat(draws, batches[0].x.device, progress)
        names: tuple[str, ...] = ()
        weights: tuple[float, ...] = ()

        def of_one(
            parameters: dict[str, Tensor],
            buffers: dict[str, Tensor],
            batch: list[Tensor],
            given: list[Tensor],
            numbers: Tensor | None,
        ) -> tuple[Tensor, Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
            nonlocal names, weights
            one = _batch_of(batches[0], batch)
            with self._numbers.given(numbers), GivenDraws(draws, given) as mode:
                terms: LossTerms = functional_call(self._terms, (parameters, buffers), (one, progress))
            mode.check_used()
            names, weights = (*terms.raw, "loss"), (*terms.weights.values(), 1.0)
            loss = _loss_of(terms, one)
            differ = any(isinstance(weight, Tensor) for weight in weights)
            of_model = tuple(torch.as_tensor(weight).to(loss) for weight in weights) if differ else ()
            return loss, terms.total(), tuple(value.mean() for value in terms.raw.values()), of_model

        parameters = {
            name: value.detach().requires_grad_(self._own[0][name].requires_grad)
            for name, value in self._parameters.items()
        }
        in_dims = (0, 0, 0, 0, None if row is None else 0)
        loss, totals, means, of_models = vmap(of_one, in_dims)(parameters, self._buffers, stacked, values, row)
        trained = [parameters[name] for name in self._trained]
        by_term: dict[str, Tensor] = {}
        for position, (name, mean) in enumerate(zip(names[:-1], means, strict=True)):
            weight = of_models[position] if of_models else weights[position]
            if norms and mean.requires_grad and (isinstance(weight, Tensor) or weight != 0):
                of_term = torch.autograd.grad((weight * mean).sum(), trained, retain_graph=True, allow_unused=True)
                if any(gradient is not None for gradient in of_term):
                    by_term[name] = norms_by_model(of_term)
        found = torch.autograd.grad(loss.sum(), trained, allow_unused=True)
        # Fused optimizers of torch read a gradient in the order of the weight's memory, whatever its strides.
        gradients: dict[str, Tensor | None] = {
            name: None if gradient is None else gradient.contiguous()
            for name, gradient in zip(self._trained, found, strict=True)
        }
        by_model = [weights] * len(batches)
        if of_models:
            by_model = [tuple(each) for each in torch.stack(of_models, 1).tolist()]
        table = torch.stack([*means, loss], 1).detach()
        return PackedTerms(names, by_model, table, totals.detach(), by_term), gradients

    def _restore(self, before: Sequence[Tensor]) -> None:
        """Set the buffers of all models to earlier values."""
        for value, earlier in zip(self._buffers.values(), before, strict=True):
            value.copy_(earlier)

    def _record(self, batch: Batch, progress: TrainingProgress) -> list[Draw]:
        """Return the draws of the first model; its buffers are restored.

        Raises:
            UnpackableError: It has draws that cannot be repeated, or depend on its values.
        """
        seed, device = self.members[0].seed, batch.x.device
        before = [value.clone() for value in self._buffers.values()]
        seed_noise(device, seed, TRAINING, 0, progress.batch)
        with RecordedDraws() as recorded:
            self._terms(batch, progress)
        after = _generator_state(device)
        self._restore(before)
        seed_noise(device, seed, TRAINING, 0, progress.batch)
        for draw in recorded.draws:
            draw.draw()
        if not torch.equal(after, _generator_state(device)):
            raise UnpackableError("it has random draws that depend on its values")
        return recorded.draws

    def _repeat(self, draws: list[Draw], device: torch.device, progress: TrainingProgress) -> list[Tensor]:
        """Return each draw for all models, ``(M, ...)``."""
        rows = []
        for member in self.members:
            seed_noise(device, member.seed, TRAINING, 0, progress.batch)
            rows.append([draw.draw() for draw in draws])
        return [torch.stack(values) for values in zip(*rows, strict=True)]


def _stacked(tensors: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return stacks of the tensors of all models by name, and make the tensors views of them."""
    first = {name: value.shape for name, value in tensors[0].items()}
    if any({name: value.shape for name, value in each.items()} != first for each in tensors):
        raise UnpackableError("its weights differ in shape from those of the other models")
    stacks = {name: torch.stack([each[name].detach() for each in tensors]) for name in first}
    for position, each in enumerate(tensors):
        for name, value in each.items():
            value.data = stacks[name][position]
    return stacks


def _loss_of(terms: LossTerms, batch: Batch) -> Tensor:
    """Return the scalar loss, as `MetricBuffer.add` does."""
    weight = batch.extras.get(WEIGHT)
    total = terms.total()
    return total.mean() if weight is None else (total * weight).mean()


def _close(value: Tensor | None, expected: Tensor | None) -> bool:
    """Return whether two results are equal up to the rounding errors of a sum in another order."""
    if value is None or expected is None:
        # A vectorized pass has a gradient of 0 for what one model leaves out.
        present = expected if value is None else value
        return present is None or not bool(present.count_nonzero())
    if not value.is_floating_point():
        return torch.equal(value, expected)
    size = float(expected.norm())
    return float((value - expected).norm()) <= 1e-3 * size + 1e-7 * math.sqrt(value.numel())


def _tensors(batch: Batch) -> list[Tensor]:
    tensors: list[Tensor] = []

    def collect(tensor: Tensor) -> Tensor:
        tensors.append(tensor)
        return tensor

    batch.map(collect)
    return tensors


def _batch_of(batch: Batch, tensors: Sequence[Tensor]) -> Batch:
    """Return a batch like `batch`, with other tensors in the order of `_tensors`."""
    left = iter(tensors)
    return batch.map(lambda _: next(left))


def _generator_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.default_generator.get_state()


def _reason(error: Exception) -> str:
    return f"torch.func cannot vectorize it: {' '.join(str(error).partition('. ')[0].split())}"
