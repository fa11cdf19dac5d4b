"""Read the `Evidence` of a run from its folder, without its weights and its data."""

from __future__ import annotations

from aeframe.evaluation.advice import Evidence
from aeframe.evaluation.measurement import Measurement
from aeframe.model_store.data_record import read_data_record
from aeframe.runs.folder import RunFolder
from aeframe.runs.records import Records

_HELD_OUT = "val"


def read_evidence(folder: RunFolder) -> Evidence:
    """Return the evidence of a run, which need not be finished: without a test, its metrics are those of validation.

    Raises:
        AeframeError: A file is damaged.
    """
    measurements = Records(folder.metrics).read() if folder.metrics.is_file() else []
    metrics = folder.read_metrics().get("test") if folder.metrics_json.is_file() else None
    record = read_data_record(folder.path)
    rows = record.fingerprint.get("rows") or {}
    return Evidence(
        config=folder.read_config(),
        metrics=metrics or _newest(measurements),
        measurements=measurements,
        diagnosis=folder.read_diagnosis(),
        shape=() if record.spec is None else record.spec.shape,
        domain="" if record.spec is None else record.spec.domain.kind,
        num_test=int(rows.get("test") or 0),
    )


def _newest(measurements: list[Measurement]) -> dict[str, float]:
    """Return the metrics of the last validation by name."""
    newest = max((row.step for row in measurements if row.split == _HELD_OUT), default=0)
    return {row.name: row.value for row in measurements if row.split == _HELD_OUT and row.step == newest}
