"""`export_model`: write the functions of a trained model as programs that run without aeframe.

A part is one named component of the model, such as the decoder.
"""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from aeframe.entrances import user_errors
from aeframe.errors import AeframeError, did_you_mean
from aeframe.evaluation.step import evaluation_mode
from aeframe.kinds import SAVED
from aeframe.model_store.export.functions import FUNCTIONS, ExportedFunction, make_function
from aeframe.model_store.export.inputs import Inputs, RandomInputs, flat_inputs, only
from aeframe.model_store.export.metadata import FILE, describe_tensors, model_metadata, score_metadata
from aeframe.model_store.export.programs import BATCH, FORMATS, LENGTH, Format, trace
from aeframe.model_store.files import write_text
from aeframe.model_store.layout import resolved, sibling
from aeframe.model_store.trained_model import TrainedModel

TOLERANCE = 1e-5
"""Largest difference d of a result from the value v of the model: d <= TOLERANCE * (1 + |v|)."""
_TRACED, _COMPARED = 3, (1, 5)
"""Batch sizes of the traced inputs, and of those with which programs are compared with the model."""


@dataclass(frozen=True)
class _Refusal:
    """Why a function cannot be exported: the end of a sentence that begins with the function."""

    function: str
    reason: str


@user_errors()
def export_model(
    model: TrainedModel, folder: str | Path, *, format: str, functions: Sequence[str] = FUNCTIONS
) -> list[Path]:
    """Write functions of a model as programs that run without aeframe, and return the files.

    ```python
    aeframe.export_model(model, "exported", format="onnx")
    ```

    Each function is one file, ``encode.onnx`` or ``encode.pt2``, for batches of any size. The file has metadata that
    make it usable alone: the state of the modality (scaling, vocabulary, columns), label names, thresholds of scores,
    shapes and versions. ``metadata.json`` has those of all functions. ``score`` is the anomaly score by reconstruction,
    which has no random draws.

    Before anything is written, each program is run on random samples, one and five at a time, and compared with the
    model: the difference from a value v may be 1e-5 (1 + abs(v)).

    Args:
        model: The model; it is exported for the CPU, and remains as it is.
        folder: The new folder.
        format: ``torch-export``, or ``onnx``, which requires ``aeframe[onnx]``.
        functions: ``encode``, ``decode`` and ``score``, or some of these.

    Raises:
        AeframeError: The folder exists, a function or format is unknown, a package is missing, or a part of the model
            cannot be exported.
    """
    folder = resolved(Path(folder))
    who = f"model '{model.name}'"
    if format not in FORMATS:
        raise AeframeError(
            f"export has the formats {', '.join(FORMATS)}, found '{format}'{did_you_mean(format, FORMATS)}"
        )
    names = list(dict.fromkeys(functions))
    for name in names:
        if name not in FUNCTIONS:
            raise AeframeError(
                f"export has the functions {', '.join(FUNCTIONS)}, found '{name}'{did_you_mean(name, FUNCTIONS)}"
            )
    if not names:
        raise AeframeError(f"export writes at least one function, found none; choose of {', '.join(FUNCTIONS)}")
    if folder.exists():
        raise AeframeError(f"'{folder}' exists already; choose another folder")
    if not folder.parent.is_dir():
        raise AeframeError(f"there is no folder '{folder.parent}' for '{folder.name}'; create it first")
    FORMATS[format].check_installed()
    partial = sibling(folder, "partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        on_cpu = _on_cpu(model)
        metadata, refusals = model_metadata(model), []
        described: dict[str, Any] = {}
        for name in names:
            with evaluation_mode(on_cpu.model):
                done = _export(on_cpu, name, FORMATS[format], partial, {**metadata, "file_format": format})
            if isinstance(done, _Refusal):
                refusals.append(done)
            else:
                described[name] = done
        if refusals:
            raise AeframeError(_sentence(who, format, refusals, list(described)))
        text = json.dumps({**metadata, "file_format": format, "functions": described}, indent=2, ensure_ascii=False)
        write_text(partial / FILE, text + "\n")
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return sorted(folder.iterdir())


def _on_cpu(model: TrainedModel) -> TrainedModel:
    """Return a copy of a model on the CPU, in single precision and without gradients."""
    module = copy.deepcopy(model.model).cpu().float().requires_grad_(False)
    return replace(model, model=module, device=torch.device("cpu"))


def _export(
    model: TrainedModel, name: str, format: Format, folder: Path, metadata: dict[str, Any]
) -> dict[str, Any] | _Refusal:
    """Write one function, and return its description in the metadata, or why it cannot be exported."""
    function, random = make_function(name, model.model), RandomInputs(model)
    inputs = random.make(name, _TRACED, 0)
    extras = random.used(function, inputs)
    inputs = only(inputs, extras)
    axis = random.length_axis if name != "decode" else None
    length_dims = {} if axis is None else dict.fromkeys(("x", "mask"), axis + 1)
    path = folder / f"{name}{format.suffix}"
    refusal = _Refusal(name, "")
    # Most networks are for one length of samples.
    for dims in [length_dims, {}] if length_dims else [{}]:
        try:
            program = trace(function, inputs, dims)
        except Exception as error:  # noqa: BLE001 - anything that a part does may be impossible in a program
            refusal = _Refusal(name, _why_not_traced(function, error))
            continue
        described = _description(function, name, model, inputs, dims, axis)
        compared = [only(random.make(name, num, 1 + num), extras) for num in _COMPARED]
        if dims:
            size = model.spec.shape[axis or 0]
            compared += [only(random.make(name, 2, 9, length=max(1, size - 1)), extras)]
        try:
            format.write(program, path, inputs, function.outputs, {**metadata, "function": name, **described})
            results = format.run(path, compared)
        except Exception as error:  # noqa: BLE001
            refusal = _Refusal(name, _why_not_written(program, error))
            continue
        with torch.no_grad():
            difference = _largest_difference(results, [function(**each) for each in compared])
        if difference <= TOLERANCE:
            return described
        refusal = _Refusal(
            name, f"because its results differ from those of the model by {difference:.2g} (1 + |value|)"
        )
    return refusal


def _description(
    function: ExportedFunction,
    name: str,
    model: TrainedModel,
    inputs: Inputs,
    length_dims: dict[str, int],
    axis: int | None,
) -> dict[str, Any]:
    """Return inputs, outputs and tolerance of a function, and for ``score`` its kind and thresholds."""
    with torch.no_grad():
        outputs = dict(zip(function.outputs, function(**inputs), strict=True))

    def sizes(key: str, value: Tensor) -> list[str | int]:
        shape: list[str | int] = [BATCH, *value.shape[1:]]
        if key in length_dims:
            shape[length_dims[key]] = LENGTH
        return shape

    flat = dict(flat_inputs(inputs))
    described = {
        "inputs": describe_tensors(flat, {key: sizes(key, value) for key, value in flat.items()}),
        "outputs": describe_tensors(outputs, {key: sizes("", value) for key, value in outputs.items()}),
        "extras": sorted(inputs.get("extras", {})),
        "tolerance": f"{TOLERANCE:g} * (1 + |value|)",
    }
    return {**described, "score": score_metadata(model)} if name == "score" else described


def _largest_difference(results: Sequence[tuple[Tensor, ...]], expected: Sequence[tuple[Tensor, ...]]) -> float:
    """Return the largest difference of results from expected values v, divided by 1 + |v|; NaN equals NaN."""
    largest = 0.0
    for found, values in zip(results, expected, strict=True):
        for result, value in zip(found, values, strict=True):
            if result.shape != value.shape:
                return float("inf")
            same = (result == value) | (result.isnan() & value.isnan())
            difference = (result.double() - value.double()).abs() / (1 + value.double().abs())
            largest = max(largest, float(torch.where(same, 0.0, difference).nan_to_num(nan=torch.inf).max()))
    return largest


def _sentence(who: str, format: str, refusals: Sequence[_Refusal], possible: Sequence[str]) -> str:
    reasons = ", and ".join(f"{refusal.function} {refusal.reason}" for refusal in refusals)
    if possible:
        way_out = f"export the rest with functions {','.join(possible)}"
    else:
        way_out = "try format torch-export" if format != "torch-export" else "use it with aeframe.load"
    return f"{who} cannot export {reasons}; {way_out}"


def _why_not_traced(function: ExportedFunction, error: Exception) -> str:
    """Return why a function cannot be traced, with the part where it failed."""
    part = _failing_part(function, error.__traceback__)
    message = str(error)
    if "data-dependent" in message or "DataDependent" in type(error).__name__:
        reason = "has control flow that depends on values"
    elif "Constraints violated" in message or "specialized" in message:
        reason = "computes for one batch size only"
    else:
        reason = f"cannot be traced ({_first_line(message)})"
    return f"because {part or 'a part'} {reason}"


def _why_not_written(program: ExportedProgram, error: Exception) -> str:
    """Return why a program cannot be written or run, with the operation and the part that has it."""
    message = str(error)
    found = re.search(r"target=torch\.ops\.([\w.]+)", message)
    if found is None:
        return f"because the program cannot be written or run ({_first_line(message)})"
    operation = found.group(1)
    for node in program.graph.nodes:
        if str(node.target) == operation:
            for path, _ in reversed(list(node.meta.get("nn_module_stack", {}).values())):
                if part := _part_of(path.removeprefix("model.")):
                    return f"because {part} uses {operation}, which this format has no operator for"
    return f"because it uses {operation}, which this format has no operator for"


def _failing_part(function: ExportedFunction, traceback: TracebackType | None) -> str | None:
    """Return kind and class of the innermost part whose code raised an error, or None."""
    names = {id(module): name for name, module in function.model.named_modules()}
    part = None
    while traceback is not None:
        module: Any = traceback.tb_frame.f_locals.get("self")
        if isinstance(module, nn.Module) and (found := _part_of(names.get(id(module), ""))):
            kind = found.removeprefix("its ")
            part = f"its {kind} ({type(getattr(function.model, kind)).__name__})"
        traceback = traceback.tb_next
    return part


def _part_of(path: str) -> str | None:
    """Return ``its decoder`` for the path ``decoder.layers.0`` of a module, None for what is no part."""
    kind = path.partition(".")[0]
    return f"its {kind}" if kind in {kind.name for kind in SAVED} else None


def _first_line(message: str) -> str:
    return next((line.strip() for line in message.splitlines() if line.strip()), "no reason given")[:160]
