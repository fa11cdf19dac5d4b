"""`PackedStep`: one training step of many models that differ in their seeds and optimizers only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from aeframe.model.autoencoder import Autoencoder
from aeframe.noise import TRAINING, seed_noise
from aeframe.training.optimizer_groups import OptimizerGroup
from aeframe.training.repeated_draws import Draw, GivenDraws, RecordedDraws, UnrepeatableDrawsError
from aeframe.types import WEIGHT, Batch, LossTerms, TrainingProgress


class UnpackableError(Exception):
    """Models cannot be trained together; the message is the reason, for a sentence about one of them."""


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
    weights: tuple[float, ...]
    """The weight of each, 1 for the loss."""
    means: Tensor
    """``(M, T)``: the mean of each over the samples, the loss with its sample weights."""
    totals: Tensor
    """``(M, B)``: the loss of each sample."""


class _Terms(nn.Module):
    """The terms of a model as a module, for `functional_call`."""

    def __init__(self, model: Autoencoder, group: OptimizerGroup) -> None:
        super().__init__()
        self.model, self._group = model, group

    def forward(self, batch: Batch, progress: TrainingProgress) -> LossTerms:
        output = self.model(batch, num_samples=self.model.objective.num_samples)
        return self._group.terms(self.model, output, progress)


class PackedStep:
    """Compute the gradients of M models of one structure in one vectorized pass, each for a batch of its own.

    The parameters and buffers of each model become views of stacked ones, and so do its gradients. The optimizer,
    clipping and checkpoints of each model therefore work as if it were trained alone. The random draws of each model
    are those of the model alone: the sequence of draws is recorded once, and repeated with the seed of each model.

    Args:
        members: The models, in training mode, with equal configs but for their seeds and optimizers.

    Raises:
        UnpackableError: The models differ in the shapes of their weights.
    """

    def __init__(self, members: Sequence[PackedMember]) -> None:
        self.members = list(members)
        self._terms = _Terms(members[0].model, members[0].group)
        every = [_Terms(member.model, member.group) for member in members]
        self._parameters = _stacked([dict(each.named_parameters()) for each in every])
        self._trained = {name: p.requires_grad for name, p in self._terms.named_parameters()}
        self._buffers = _stacked([dict(each.named_buffers()) for each in every])
        self._own = [dict(each.named_parameters()) for each in every]
        self._draws: dict[object, list[Draw]] = {}

    def backward(self, batches: Sequence[Batch], progress: TrainingProgress) -> PackedTerms:
        """Set the gradient of each model for its batch, and return its terms.

        Raises:
            UnpackableError: The batches differ in their shapes, or `torch.func` cannot compute the terms.
        """
        for member in self.members:
            member.model.set_progress(progress)
        tensors = [_tensors(batch) for batch in batches]
        shapes = [tuple(tensor.shape for tensor in each) for each in tensors]
        if len(set(shapes)) > 1:
            raise UnpackableError("its batches differ in shape from those of the other models")
        stacked = [torch.stack(rows) for rows in zip(*tensors, strict=True)]
        try:
            return self._compute(shapes[0], batches, stacked, progress)
        except UnrepeatableDrawsError:
            # A schedule may have added a penalty that draws: record once more.
            self._draws.pop(shapes[0], None)
        except RuntimeError as error:
            raise UnpackableError(_reason(error)) from error
        try:
            return self._compute(shapes[0], batches, stacked, progress)
        except (UnrepeatableDrawsError, RuntimeError) as error:
            raise UnpackableError(_reason(error)) from error

    def _compute(
        self, shapes: object, batches: Sequence[Batch], stacked: list[Tensor], progress: TrainingProgress
    ) -> PackedTerms:
        draws = self._draws.get(shapes)
        if draws is None:
            draws = self._draws[shapes] = self._record(batches[0], progress)
        values = self._repeat(draws, batches[0].x.device, progress)
        names: tuple[str, ...] = ()
        weights: tuple[float, ...] = ()

        def of_one(
            parameters: dict[str, Tensor], buffers: dict[str, Tensor], batch: list[Tensor], given: list[Tensor]
        ) -> tuple[Tensor, Tensor, Tensor]:
            nonlocal names, weights
            with GivenDraws(draws, given) as mode:
                arguments = (_batch_of(batches[0], batch), progress)
                terms: LossTerms = functional_call(self._terms, (parameters, buffers), arguments)
            mode.check_used()
            names, weights = (*terms.raw, "loss"), (*terms.weights.values(), 1.0)
            total = terms.total()
            weight = arguments[0].extras.get(WEIGHT)
            loss = total.mean() if weight is None else (total * weight).mean()
            return loss, torch.stack([*(value.mean() for value in terms.raw.values()), loss]), total

        parameters = {
            name: value.detach().requires_grad_(self._trained[name]) for name, value in self._parameters.items()
        }
        loss, means, totals = vmap(of_one)(parameters, self._buffers, stacked, values)
        trained = [name for name, is_trained in self._trained.items() if is_trained]
        gradients = torch.autograd.grad(loss.sum(), [parameters[name] for name in trained], allow_unused=True)
        for name, gradient in zip(trained, gradients, strict=True):
            if gradient is not None:
                # Fused optimizers of torch read a gradient in the order of the weight's memory, whatever its strides.
                gradient = gradient.contiguous()
            for position, own in enumerate(self._own):
                own[name].grad = None if gradient is None else gradient[position]
        return PackedTerms(names, weights, means.detach(), totals.detach())

    def _record(self, batch: Batch, progress: TrainingProgress) -> list[Draw]:
        """Return the draws of the first model; its buffers are restored.

        Raises:
            UnpackableError: It has draws that cannot be repeated, or depend on its values.
        """
        seed, device = self.members[0].seed, batch.x.device
        before = {name: value.clone() for name, value in self._buffers.items()}
        seed_noise(device, seed, TRAINING, 0, progress.batch)
        with RecordedDraws() as recorded:
            self._terms(batch, progress)
        after = _generator_state(device)
        for name, value in self._buffers.items():
            value.copy_(before[name])
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


def _stacked(tensors: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return stacks of the tensors of all models by name, and make the tensors views of them."""
    first = {name: value.shape for name, value in tensors[0].items()}
    if any({name: value.shape for name, value in each.items()} != first for each in tensors):
        raise UnpackableError("its weights differ in shape from those of the other models")
    stacks = {name: torch.stack([each[name].detach() for each in tensors]) for name in first}
    for position, each in enumerate(tensors):
        for name, value in each.items():
            value.data = stacks[name][position]
    return stacks


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
