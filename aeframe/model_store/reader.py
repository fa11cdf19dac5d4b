"""The saved model: a folder of names, plain values and tensors that is safe to open."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from aeframe.data.fingerprint import DataRecord
from aeframe.data.modality import Modality
from aeframe.devices import check_device
from aeframe.errors import AeframeError
from aeframe.evaluation.report.interpolation import interpolate_codes, interpolate_condition
from aeframe.evaluation.step import evaluation_mode
from aeframe.factory import build
from aeframe.model.autoencoder import Autoencoder
from aeframe.model.density import fit_sampler
from aeframe.model_store.inputs import Data, as_batch, as_codes, as_condition, check_batch_size
from aeframe.model_store.writer import open_model, save_model
from aeframe.noise import EVALUATION, PICTURES, noise_of
from aeframe.parts.samplers.base import Sampler
from aeframe.registry import registry
from aeframe.types import Batch, DataSpec, ForwardOutput, Latent, TrainingProgress

Array: TypeAlias = "Tensor | np.ndarray[Any, Any]"


def load(path: str | Path, device: str = "cpu") -> TrainedModel:
    """Open a saved model, from a run's folder or its own; no code of the folder is run.

    ```python
    model = aeframe.load("runs/vae")
    z = model.encode(x)
    ```

    Args:
        path: The folder of a run, or of a saved model.
        device: Where it computes: ``cpu``, ``cuda``, ``cuda:1``.

    Raises:
        AeframeError: No model there, a plugin that is missing, a newer format, an unknown part, other tensors, a
            device that cannot be used.
    """
    check_device(device, "device=")
    opened = open_model(Path(path))
    opened.model.to(device)
    opened.sampler.to(device)
    return TrainedModel(
        opened.model,
        opened.modality,
        opened.sampler,
        opened.config,
        opened.spec,
        opened.progress,
        torch.device(device),
        opened.data,
    )


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A trained model and its modality, ready for use: in evaluation, without gradients, the same at each call.

    Samples are given as a tensor or an array ``(N, *shape)`` in the values the model was trained on, or as the batch
    that ``modality.read(path)`` gives; any N, taken `batch_size` at a time. Results stand on the device that the
    argument was on. A model that was trained with a condition needs ``condition`` ``(N, C)``.
    """

    model: Autoencoder
    modality: Modality
    sampler: Sampler
    config: dict[str, Any]
    """The parts by name, in plain values."""
    spec: DataSpec
    progress: TrainingProgress
    """Where the run stood when the model was saved."""
    device: torch.device
    data: DataRecord = field(default_factory=DataRecord)
    """Fingerprint and split of the data it was trained on."""

    @property
    def name(self) -> str:
        """The name of the model's recipe."""
        name: str = self.config["model"]["name"]
        return name

    def encode(self, x: Data, *, condition: Array | None = None, batch_size: int = 256) -> Tensor:
        """Return the codes ``(N, *z_shape)``: the posterior's mean where there is one, so each call gives the same."""
        batch = self._batch(x, condition)
        return torch.cat([latent.mean.to(batch.x.device) for latent in self._latents(batch, batch_size)])

    def posterior(self, x: Data, *, condition: Array | None = None) -> Distribution:
        """Return q(z|x) with batch shape ``(N, *z_shape)``, on the model's device and all at once.

        Raises:
            AeframeError: The latent gives no posterior.
        """
        batch = self._batch(x, condition)
        (latent,) = self._latents(batch, len(batch))
        if latent.posterior is None:
            raise AeframeError(f"{self._who()} has a latent without a posterior; use encode")
        return latent.posterior

    def codes(self, x: Data, *, condition: Array | None = None, batch_size: int = 256) -> Tensor:
        """Return the integer codes ``(N, *positions, levels)`` of a quantiser.

        Raises:
            AeframeError: The latent gives no codes.
        """
        batch = self._batch(x, condition)
        found = [latent.codes for latent in self._latents(batch, batch_size) if latent.codes is not None]
        if not found:
            raise AeframeError(f"{self._who()} has a latent without integer codes; use encode")
        return torch.cat([codes.to(batch.x.device) for codes in found])

    @torch.no_grad()
    def decode(self, z: Array, *, condition: Array | None = None, batch_size: int = 256, draw: bool = False) -> Tensor:
        """Return data ``(N, *shape)`` of codes ``(N, *z_shape)``: the mean of the likelihood, or with `draw` a draw."""
        check_batch_size(self._who(), batch_size)
        codes = as_codes(self._who(), z, self.model.latent.shape)
        given = as_condition(self._who(), condition, self.spec, len(codes))
        decoded = []
        with evaluation_mode(self.model):
            for start in range(0, len(codes), batch_size):
                rows = slice(start, start + batch_size)
                like = None if given is None else given[rows].to(self.device)
                x = self.model.generate(codes[rows].to(self.device), condition=like, draw=draw)
                decoded.append(x.to(codes.device))
        return torch.cat(decoded)

    @torch.no_grad()
    def reconstruct(self, x: Data, *, condition: Array | None = None, batch_size: int = 256) -> Tensor:
        """Return ``(N, *shape)``: what is left of x after encoding and decoding, with nothing drawn."""
        batch, made = self._batch(x, condition), []
        with evaluation_mode(self.model):
            for rows in self._chunks(batch, batch_size):
                z = self.model.embed(rows).mean
                made.append(self.model.generate(z, condition=rows.condition, like=rows).to(batch.x.device))
        return torch.cat(made)

    @torch.no_grad()
    def sample(
        self,
        num: int,
        *,
        seed: int | None = None,
        condition: Array | None = None,
        batch_size: int = 256,
        draw: bool = False,
    ) -> Tensor:
        """Return `num` new samples ``(num, *shape)`` on the model's device.

        Args:
            num: How many.
            seed: The same seed gives the same samples; without one they come from torch's own generator.
            condition: ``(num, C)``, for a model that was trained with one.
            batch_size: How many are decoded at a time.
            draw: Draw from the likelihood instead of taking its mean.
        """
        if num < 1:
            raise AeframeError(f"{self._who()} makes at least one sample, found num {num}")
        noise: AbstractContextManager[None] = nullcontext()
        if seed is not None:
            noise = noise_of(self.device, seed, PICTURES)
        with noise, evaluation_mode(self.model):
            z = self.sampler.sample(self.model, num)
            return self.decode(z, condition=condition, batch_size=batch_size, draw=draw)

    def with_sampler(
        self,
        sampler: str | Mapping[str, Any],
        x: Data | Iterable[Batch] | None = None,
        *,
        condition: Array | None = None,
        seed: int = 0,
    ) -> TrainedModel:
        """Return the same model with another way to draw new codes.

        ```python
        model.with_sampler("gmm", x_train).sample(16)
        ```

        Args:
            sampler: A name, or ``{name: ..., options}``.
            x: Samples whose codes it is fitted to, those of the training as a rule, or batches of them; ``prior``
                needs none.
            condition: Of these samples, ``(N, C)``.
            seed: What is drawn while it is fitted is a function of it.

        Raises:
            AeframeError: A sampler that asks for what the latent does not give, or for samples that are not there.
        """
        config = {"name": sampler} if isinstance(sampler, str) else dict(sampler)
        part, space = registry().load("sampler", config["name"]), self.model.latent.space
        requires: frozenset[str] = part.requires
        if part.spaces is not None and space not in part.spaces:
            raise AeframeError(
                f"sampler '{config['name']}' draws codes of {' or '.join(sorted(part.spaces))} space, and those of "
                f"{self._who()} live in {space} space"
            )
        if not requires <= self.model.latent.provides:
            raise AeframeError(
                f"sampler '{config['name']}' requires a latent that provides {' and '.join(sorted(requires))}, "
                f"which the one of {self._who()} does not"
            )
        made: Sampler = build("sampler", config, model=self.model)
        if made.requires_fit:
            if x is None:
                raise AeframeError(f"sampler '{config['name']}' is fitted to codes; give samples to take them from, x")
            batches = self._chunks(self._batch(x, condition), 256) if isinstance(x, (Batch, Tensor, np.ndarray)) else x
            with evaluation_mode(self.model):
                fit_sampler(made, self.model, batches, seed)
        return replace(self, sampler=made.to(self.device).eval(), config={**self.config, "sampler": config})

    def interpolate(
        self, a: Data, b: Data, steps: int = 10, *, condition: Array | None = None, batch_size: int = 256
    ) -> Tensor:
        """Return samples between a and b, ``(N, *shape)`` each, as ``(N, steps, *shape)``.

        The codes follow the shortest path of the latent space: a great circle of the hypersphere, a geodesic of the
        Poincaré ball, a straight line elsewhere. Conditions follow a straight line. The first and last steps are the
        reconstructions of a and b, by a likelihood that takes nothing else from the sample (such as a library size).

        Args:
            a: The first samples; as a batch with the condition of each, where the model has one.
            b: The last samples, as many, likewise.
            steps: How many samples, with both ends.
            condition: ``(N, C)``, of a and b both.
            batch_size: How many go through the model at a time.
        """
        start, end = self._batch(a, condition), self._batch(b, condition)
        if len(start) != len(end):
            raise AeframeError(f"{self._who()} interpolates between pairs, found {len(start)} and {len(end)} samples")
        if steps < 2:
            raise AeframeError(f"{self._who()} interpolates in at least 2 steps, found {steps}")
        end = end.to(start.x.device)
        codes = [self.encode(batch, batch_size=batch_size) for batch in (start, end)]
        path = interpolate_codes(self.model.latent, codes[0], codes[1], steps).flatten(0, 1)
        between = interpolate_condition(start.condition, end.condition, steps)
        between = None if between is None else between.flatten(0, 1)
        decoded = self.decode(path, condition=between, batch_size=batch_size)
        return decoded.unflatten(0, (len(start), steps))

    @torch.no_grad()
    def score(self, x: Data, *, condition: Array | None = None, batch_size: int = 256, seed: int = 0) -> Tensor:
        """Return ``(N,)``: the bound of each sample, lower for what the model knows better.

        For a VAE it is minus the evidence lower bound, in nats, with one draw of z that is a function of `seed` and
        of the sample's place; for a deterministic model it is the reconstruction loss.

        Raises:
            AeframeError: The objective has no bound.
        """
        batch = self._batch(x, condition)
        draw, scores = "posterior" in self.model.latent.provides, []
        with evaluation_mode(self.model):
            for number, rows in enumerate(self._chunks(batch, batch_size)):
                with noise_of(self.device, seed, EVALUATION, number):
                    p: ForwardOutput = self.model(rows, sample=draw, num_samples=self.model.objective.num_samples)
                    bound = self.model.terms(p, self.progress).bound
                if bound is None:
                    raise AeframeError(f"{self._who()} has an objective without a bound, so nothing can be scored")
                scores.append(bound.to(batch.x.device))
        return torch.cat(scores)

    def _who(self) -> str:
        return f"model '{self.name}'"

    def _batch(self, x: Data, condition: Array | None) -> Batch:
        return as_batch(self._who(), x, condition, self.spec)

    def _chunks(self, batch: Batch, batch_size: int) -> Iterator[Batch]:
        check_batch_size(self._who(), batch_size)
        for start in range(0, len(batch), batch_size):
            yield batch.rows(slice(start, start + batch_size)).to(self.device)

    @torch.no_grad()
    def _latents(self, batch: Batch, batch_size: int) -> list[Latent]:
        with evaluation_mode(self.model):
            return [self.model.embed(rows) for rows in self._chunks(batch, batch_size)]


__all__ = ["TrainedModel", "load", "save_model"]
