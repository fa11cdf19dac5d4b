"""Parts around a caller's own objects: a module as the encoder or decoder, a function as the loss.

Their name in a config is ``own``. `aeframe.fit` and `aeframe.load` receive the objects, since a saved model has their
weights, but no code.
"""

from __future__ import annotations

import copy
import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from aeframe.errors import AeframeError
from aeframe.parts.losses.base import Loss, split_outputs
from aeframe.parts.networks.base import Decoder, Encoder
from aeframe.tensors import at_least_float32, broadcast_mask, per_sample
from aeframe.types import Batch, Domain, Shape

OWN = "own"
"""The name of these parts."""
OWN_KINDS = ("encoder", "decoder", "loss")
"""The kinds that have a part of this name."""
_TRIED = 2
"""Samples in the batch with which a module's shapes are determined."""


class OwnEncoder(Encoder):
    """A copy of a caller's module as the encoder; it receives x ``(B, *shape)``, with 0 where x is masked.

    The shape of the features is that of the module's output for two samples of zeros. An `aeframe.parts.Encoder`
    receives the whole batch.

    Args:
        shape: Shape of one sample.
        domain: The set of values that x can take.
        module: The module, which `aeframe.fit` or `aeframe.load` received.
        code: The class of the module, for error messages; set by `aeframe.fit`.

    Raises:
        AeframeError: The module fails for such samples, or returns no tensor ``(B, C, *positions)``.
    """

    def __init__(self, shape: Shape, domain: Domain, module: Any, *, code: str = "") -> None:
        super().__init__()
        self.module = _module_copy("encoder", module, code)
        x = torch.zeros(_TRIED, *shape, dtype=torch.long if domain.kind == "category" else None, device="cpu")
        features = _tried("encoder", self.module, f"x of shape {tuple(x.shape)}", Batch(x) if self._takes_batch else x)
        if features.ndim < 2 or len(features) != _TRIED:
            raise AeframeError(
                f"encoder {_class_name(module)} returns shape {tuple(features.shape)} for x of shape {tuple(x.shape)}, "
                "expected features (B, C) or (B, C, *positions)"
            )
        self.out_shape = tuple(features.shape[1:])

    @property
    def _takes_batch(self) -> bool:
        return isinstance(self.module, Encoder)

    def forward(self, batch: Batch) -> Tensor:
        features: Tensor = self.module(batch if self._takes_batch else batch.masked_x())
        return features


class OwnDecoder(Decoder):
    """A copy of a caller's module as the decoder; it receives z ``(B, *z_shape)``, with the condition appended.

    It returns ``(B, *shape)`` for a loss with one number for each element of x, ``(B, outputs, *shape)`` otherwise; any
    output with as many numbers is reshaped. An `aeframe.parts.Decoder` is used as it is. The activation of a loss such
    as ``mse`` is the identity unless it is stated, since the module may end in an activation.

    Args:
        z_shape: Shape of the decoder's input for one sample.
        out_shape: ``(outputs, *shape)``.
        module: The module, which `aeframe.fit` or `aeframe.load` received.
        code: The class of the module, for error messages; set by `aeframe.fit`.

    Raises:
        AeframeError: The module fails for such z, or returns another number of values.
    """

    returns_x = True

    def __init__(self, z_shape: Shape, out_shape: Shape, module: Any, *, code: str = "") -> None:
        super().__init__()
        self.module = _module_copy("decoder", module, code)
        self.out_shape = out_shape
        z = torch.zeros(_TRIED, *z_shape, device="cpu")
        output = _tried("decoder", self.module, f"z of shape {tuple(z.shape)}", z)
        expected = (_TRIED, *out_shape)
        if output.numel() != torch.Size(expected).numel() or len(output) != _TRIED:
            shape = expected if out_shape[0] > 1 else (_TRIED, *out_shape[1:])
            raise AeframeError(
                f"decoder {_class_name(module)} returns shape {tuple(output.shape)} for z of shape {tuple(z.shape)}, "
                f"expected {shape}: {out_shape[0]} number{'s' * (out_shape[0] > 1)} for each element of x, as the loss "
                "requires"
            )

    def forward(self, z: Tensor, batch: Batch | None = None) -> Tensor:
        output: Tensor = self.module(z, batch) if isinstance(self.module, Decoder) else self.module(z)
        return output.reshape(z.shape[0], *self.out_shape)

    def generate(self, z: Tensor, *, draw: bool = False) -> Tensor:
        if isinstance(self.module, Decoder):
            return self.module.generate(z, draw=draw).reshape(z.shape[0], *self.out_shape)
        return super().generate(z, draw=draw)


class OwnLoss(Loss):
    """A caller's function of the reconstruction and x as the loss: one number for each element or each sample.

    The decoder has one output for each element of x, which is the reconstruction. A function with an argument
    `reduction`, such as those of `torch.nn.functional` and the losses of `torch.nn`, is called with ``"none"``.

    Args:
        shape: Shape of one sample.
        domain: The set of values that x can take.
        module: The function ``(x_hat, x) -> (B, *shape)`` or ``(B,)``, which `aeframe.fit` or `aeframe.load` received.
        code: The function, for error messages; set by `aeframe.fit`.
    """

    domains: ClassVar[frozenset[str]] = frozenset({"real", "unit", "signed", "binary", "count", "simplex"})
    unit: ClassVar[str] = "distance"

    def __init__(self, shape: Shape, domain: Domain, module: Any, *, code: str = "") -> None:
        super().__init__()
        self.ndim = len(shape)
        if isinstance(module, Loss):
            raise AeframeError(
                f"loss {_class_name(module)} is a part; register its class with @aeframe.register('loss') and choose "
                "it by its name"
            )
        _check_given("loss", module, code)
        self.function = _unreduced(_module_copy("loss", module, code) if isinstance(module, nn.Module) else module)
        self._name = _class_name(module)

    def forward(self, output: Tensor, batch: Batch) -> Tensor:
        lead = output.ndim - batch.x.ndim
        x_hat, x = self.mean(at_least_float32(output)), batch.masked_x()
        if batch.mask is not None:
            x_hat = x_hat.masked_fill(~broadcast_mask(batch.mask, x.ndim), 0)
        x = x.to(x_hat.dtype)
        if lead == 1:
            loss = self.function(x_hat, x)
        else:
            # K importance samples of each x: the function sees them as further samples.
            loss = self.function(x_hat.flatten(0, lead - 1), x.expand_as(x_hat).flatten(0, lead - 1))
            loss = loss.unflatten(0, x_hat.shape[:lead]) if isinstance(loss, Tensor) and loss.ndim else loss
        if not isinstance(loss, Tensor):
            raise AeframeError(
                f"loss {self._name} returns {type(loss).__name__}, expected a tensor with one number for each element "
                f"{tuple(x.shape)} or each sample ({len(x)},)"
            )
        if loss.shape[:lead] != output.shape[:lead]:
            raise AeframeError(
                f"loss {self._name} returns shape {tuple(loss.shape)} for x of shape {tuple(x.shape)}, expected one "
                f"number for each element {tuple(x.shape)} or each sample ({len(x)},); do not average over samples"
            )
        return per_sample(loss, lead)

    def mean(self, output: Tensor) -> Tensor:
        return split_outputs(output, self.ndim)[0]


def described_code(module: Any) -> str:
    """Return the module and name of an object's class or of a function, for a config: ``my_project.nets.Encoder``."""
    target = module if inspect.isroutine(module) or inspect.isclass(module) else type(module)
    return f"{target.__module__}.{target.__qualname__}"


def _class_name(module: Any) -> str:
    return described_code(module).rpartition(".")[2]


class OtherCodeWarning(UserWarning):
    """A saved model is opened with a module or function of another name than the one that it was trained with."""


def _check_given(kind: str, module: Any, code: str) -> None:
    """Raise an error if the object is missing, or cannot be called."""
    if module is None and not code:
        raise AeframeError(
            f"{kind} 'own' is a module or function of a program, found none; pass it: aeframe.fit({kind}=...)"
        )
    if module is None:
        article = "an" if kind == "encoder" else "a"
        raise AeframeError(
            f"this model has {article} {kind} of the class {code}, whose code is not saved with it; "
            f"pass an object of this class: aeframe.load(folder, {kind}=...)"
        )
    if inspect.isclass(module):
        raise AeframeError(
            f"{kind} expects a module, found the class {module.__qualname__}; pass an object of it, "
            f"{module.__qualname__}(...), or register the class with @aeframe.register('{kind}')"
        )
    if not callable(module):
        raise AeframeError(f"{kind} expects a module or a function, found {module!r}; pass an nn.Module")
    if code and code.rpartition(".")[2] != _class_name(module):
        warnings.warn(
            f"the model was trained with the {kind} {code}, and is opened with {described_code(module)}; its results "
            "may differ",
            OtherCodeWarning,
            stacklevel=2,
        )


def _module_copy(kind: str, module: Any, code: str) -> nn.Module:
    """Return a copy of a module, so that a run leaves the caller's module as it is."""
    _check_given(kind, module, code)
    if not isinstance(module, nn.Module):
        raise AeframeError(f"{kind} expects a torch.nn.Module, found {type(module).__name__}; write a module")
    with torch.device("cpu"):
        return copy.deepcopy(module)


def _tried(kind: str, module: nn.Module, what: str, argument: Any) -> Tensor:
    """Return a module's output for a batch of zeros, in evaluation mode, so that no statistic is updated."""
    was_training = module.training
    try:
        with torch.no_grad(), torch.device("cpu"):
            output = module.eval()(argument)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise AeframeError(
            f"{kind} {_class_name(module)} fails for {what}: {reason}; change its sizes, or the shape of the data"
        ) from error
    finally:
        module.train(was_training)
    if not isinstance(output, Tensor):
        raise AeframeError(
            f"{kind} {_class_name(module)} returns {type(output).__name__}, expected a tensor; return one from forward"
        )
    return output


def _unreduced(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return a loss function that does not average, if it has a way to say so."""
    if isinstance(function, nn.Module):
        if hasattr(function, "reduction"):
            setattr(function, "reduction", "none")  # noqa: B010 -- an attribute that not every module has
        return function
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return function
    return functools.partial(function, reduction="none") if "reduction" in parameters else function


__all__ = ["OWN", "OWN_KINDS", "OwnDecoder", "OwnEncoder", "OwnLoss", "described_code"]
