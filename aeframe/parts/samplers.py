"""Samplers: densities of z, fitted after training, that new codes are drawn from."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor, nn

from aeframe.errors import AeframeError

if TYPE_CHECKING:
    from aeframe.autoencoder import Autoencoder


class Sampler(nn.Module):
    """A way to draw new codes from a trained model; what `fit` learns is kept in buffers, so it is saved with it.

    A constructor is given `model` when it names it. `needs` is what the latent must give. Buffers have their final
    shape from the constructor on.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    fitted: ClassVar[bool] = False
    """Whether `fit` must be called before `sample`."""

    def fit(self, z: Tensor, codes: Tensor | None) -> None:
        """Learn from the training codes: z ``(N, *z_shape)``, and their integers for a quantiser."""

    def sample(self, model: Autoencoder, num: int) -> Tensor:
        """Draw ``(num, *z_shape)``."""
        raise NotImplementedError


class PriorSampler(Sampler):
    """Draw from the model's own prior."""

    def sample(self, model: Autoencoder, num: int) -> Tensor:
        drawn: Tensor = model.prior.sample(num)
        return drawn


# Ten such covariances are 168 MB, and fitting one takes minutes.
_MOST_FOR_FULL = 2048


class GaussianMixtureSampler(Sampler):
    """Draw from a Gaussian mixture fitted to the training codes (Ghosh et al. 2020, arXiv 1903.12436).

    Args:
        model: Says the shape of z, which is flattened.
        components: How many Gaussians at most; codes that are fewer, or fewer that differ, get one each.
        covariance: ``full`` has D^2 numbers in each component for a z of D numbers, ``diag`` has D.
    """

    fitted = True
    weights: Tensor
    means: Tensor
    scales: Tensor
    """``(components, D, D)`` lower triangles L with covariance L L^T, or ``(components, D)`` standard deviations."""

    def __init__(
        self, model: Autoencoder, *, components: int = 10, covariance: Literal["full", "diag"] = "full"
    ) -> None:
        super().__init__()
        dim = math.prod(model.latent.shape)
        if components < 1:
            raise AeframeError(f"sampler gmm needs components of at least 1, found {components}")
        if covariance == "full" and dim > _MOST_FOR_FULL:
            raise AeframeError(
                f"sampler gmm fits full covariances of at most {_MOST_FOR_FULL} numbers, z has {dim}; "
                "set sampler.covariance=diag"
            )
        self.components, self.covariance = components, covariance
        self.register_buffer("weights", torch.zeros(components))
        self.register_buffer("means", torch.zeros(components, dim))
        self.register_buffer("scales", torch.zeros(components, dim, *[dim] * (covariance == "full")))

    def fit(self, z: Tensor, codes: Tensor | None) -> None:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        rows = z.flatten(1).double().cpu()
        if len(rows) < 2:
            raise AeframeError(f"sampler gmm needs at least 2 codes to fit, found {len(rows)}")
        used = min(self.components, len(rows.unique(dim=0)))
        # The seed comes from torch, so that a run's seed decides it.
        seed = int(torch.randint(2**31, ()))
        mixture = GaussianMixture(used, covariance_type=self.covariance, max_iter=300, random_state=seed)
        with warnings.catch_warnings():
            # A fit that would go on improving a little is a density all the same.
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.fit(rows.numpy())
        covariances = torch.from_numpy(mixture.covariances_)
        scales = torch.linalg.cholesky(covariances) if self.covariance == "full" else covariances.sqrt()
        for buffer, learned in (
            (self.weights, torch.from_numpy(mixture.weights_)),
            (self.means, torch.from_numpy(mixture.means_)),
            (self.scales, scales),
        ):
            buffer.zero_()
            buffer[:used] = learned.to(buffer)

    def sample(self, model: Autoencoder, num: int) -> Tensor:
        _check_fitted("gmm", self.weights)
        which = torch.multinomial(self.weights, num, replacement=True)
        z = torch.randn(num, self.means.shape[1], device=which.device)
        if self.covariance == "diag":
            z = z * self.scales[which]
        else:
            # One component at a time: a matrix for each draw would not fit.
            for component in which.unique():
                z[which == component] = z[which == component] @ self.scales[component].T
        return (self.means[which] + z).reshape(num, *model.latent.shape)


class CodeSampler(Sampler):
    """Draw each position's code by its frequency among the training codes, independently of the other positions.

    Args:
        model: A quantiser's; its latent says how many codes and positions there are.
    """

    needs = frozenset({"codes"})
    fitted = True
    frequencies: Tensor
    """``(positions, num_codes)``."""

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        positions = math.prod(model.latent.shape[1:])
        self.register_buffer("frequencies", torch.zeros(positions, _num_codes(model)))

    def fit(self, z: Tensor, codes: Tensor | None) -> None:
        if codes is None:
            raise AeframeError("sampler codes needs the integer codes of a quantiser, found a latent that gives none")
        if not len(codes):
            raise AeframeError("sampler codes needs at least 1 sample to fit, found 0")
        flat = codes.flatten(1).to(self.frequencies.device)
        num_positions, num_codes = self.frequencies.shape
        cells = flat + num_codes * torch.arange(num_positions, device=flat.device)
        counts = cells.flatten().bincount(minlength=num_positions * num_codes)
        self.frequencies.copy_(counts.reshape(num_positions, num_codes) / len(flat))

    def sample(self, model: Autoencoder, num: int) -> Tensor:
        _check_fitted("codes", self.frequencies)
        codes = torch.multinomial(self.frequencies, num, replacement=True).T
        return model.latent.from_codes(codes.reshape(num, *model.latent.shape[1:], 1))


def _num_codes(model: Autoencoder) -> int:
    count = model.latent.num_codes
    if not count:
        raise AeframeError(
            f"sampler codes needs a latent with num_codes, such as vq or fsq, found {type(model.latent).__name__}; "
            "choose sampler=prior or sampler=gmm"
        )
    return count


def _check_fitted(name: str, learned: Tensor) -> None:
    if not learned.any():
        raise AeframeError(
            f"sampler {name} was asked for new codes before it was fitted; fit it to training codes first"
        )
