"""Trace a function of a model as a program, and write, read and run programs in each format.

The formats are ``torch-export``, read by `torch.export.load`, and ``onnx``, read by ONNX Runtime.
"""

from __future__ import annotations

import json
import logging
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from aeframe.errors import AeframeError
from aeframe.model_store.export.functions import ExportedFunction
from aeframe.model_store.export.inputs import Inputs, flat_inputs
from aeframe.model_store.export.metadata import FILE, KEY

BATCH, LENGTH = "batch", "length"
"""The names of the sizes that may vary."""


def trace(function: ExportedFunction, inputs: Inputs, length_dims: Mapping[str, int]) -> ExportedProgram:
    """Return the program of a function, for any batch size.

    Args:
        function: The function.
        inputs: Inputs with which it is traced; their batch size must not be 1.
        length_dims: For some inputs, a dimension that may vary too.

    Raises:
        Exception: A part does what no program can, or fixes one of these sizes.
    """

    def sizes(name: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: sizes(key, item) for key, item in value.items()}
        length = {length_dims[name]: Dim(LENGTH)} if name in length_dims else {}
        return {0: Dim(BATCH), **length}

    with _quiet(), torch.no_grad():
        return torch.export.export(
            function, (), inputs, dynamic_shapes={name: sizes(name, value) for name, value in inputs.items()}
        )


class Format(ABC):
    """A format of programs on disk."""

    suffix: str

    def check_installed(self) -> None:
        """Raise an error if a library is missing."""

    @abstractmethod
    def write(
        self, program: ExportedProgram, path: Path, inputs: Inputs, outputs: Sequence[str], metadata: Mapping[str, Any]
    ) -> None:
        """Write a program with its metadata to one file.

        Args:
            program: What `trace` returned.
            path: The new file.
            inputs: Inputs of the program, for their names.
            outputs: The names of the results.
            metadata: Values that JSON can represent.
        """

    @abstractmethod
    def run(self, path: Path, inputs: Sequence[Inputs]) -> list[tuple[Tensor, ...]]:
        """Read a file, and return the results of its program for each of some inputs."""


class TorchExport(Format):
    """Programs of `torch.export`, with the metadata as a file inside."""

    suffix = ".pt2"

    def write(
        self, program: ExportedProgram, path: Path, inputs: Inputs, outputs: Sequence[str], metadata: Mapping[str, Any]
    ) -> None:
        with _quiet():
            torch.export.save(program, path, extra_files={FILE: json.dumps(metadata)})

    def run(self, path: Path, inputs: Sequence[Inputs]) -> list[tuple[Tensor, ...]]:
        with _quiet(), torch.no_grad():
            function = torch.export.load(path).module()
            return [function(**each) for each in inputs]


class Onnx(Format):
    """Programs of ONNX, with the metadata as JSON in ``metadata_props``."""

    suffix = ".onnx"

    def check_installed(self) -> None:
        try:
            import onnx  # noqa: F401
            import onnxruntime  # noqa: F401
            import onnxscript  # noqa: F401
        except ImportError as error:
            raise AeframeError(
                f"format onnx requires the package '{error.name}', which is not installed; "
                "run pip install 'aeframe[onnx]'"
            ) from error

    def write(
        self, program: ExportedProgram, path: Path, inputs: Inputs, outputs: Sequence[str], metadata: Mapping[str, Any]
    ) -> None:
        with _quiet():
            if any(node.target in _DECOMPOSITIONS for node in program.graph.nodes):
                program = program.run_decompositions(_DECOMPOSITIONS)
            exported = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                input_names=[name for name, _ in flat_inputs(inputs)],
                output_names=list(outputs),
            )
        assert exported is not None
        exported.model.metadata_props[KEY] = json.dumps(metadata)
        exported.model.doc_string = f"{metadata['function']} of an autoencoder, made with aeframe"
        exported.save(path)

    def run(self, path: Path, inputs: Sequence[Inputs]) -> list[tuple[Tensor, ...]]:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        # Nothing is printed: errors are raised too.
        options.log_severity_level = 4
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        names = [each.name for each in session.get_inputs()]
        return [
            tuple(
                torch.from_numpy(result)
                for result in session.run(
                    None, {name: value.numpy() for name, value in flat_inputs(each) if name in names}
                )
            )
            for each in inputs
        ]


FORMATS: dict[str, Format] = {"torch-export": TorchExport(), "onnx": Onnx()}
"""The formats by name."""


def _cross_entropy(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: int = 1,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Any:
    """Return the cross-entropy of each row: torch 2.13 translates that of ``reduction="none"`` as a mean."""
    if weight is not None or reduction != 0 or label_smoothing:
        return NotImplemented
    return -logits.log_softmax(1).gather(1, target.unsqueeze(1)).squeeze(1)


def _lgamma(x: Tensor) -> Tensor:
    """Return log Gamma of positive numbers by Stirling's series at x + 8; ONNX has no operator for it.

    In double precision the error is below 1e-10, so that differences of large values stay accurate.
    """
    value = x.double()
    product = value
    for number in range(1, 8):
        product = product * (value + number)
    shifted = value + 8
    inverse = 1 / shifted
    square = inverse * inverse
    series = inverse * (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square / 1680)))
    result = (shifted - 0.5) * shifted.log() - shifted + 0.5 * math.log(2 * math.pi) + series - product.log()
    return result.to(x.dtype)


_DECOMPOSITIONS = {
    torch.ops.aten.cross_entropy_loss.default: _cross_entropy,
    torch.ops.aten.lgamma.default: _lgamma,
}


@contextmanager
def _quiet() -> Iterator[None]:
    """Context in which the exporters of torch print nothing: they warn of packages that no model here uses."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
