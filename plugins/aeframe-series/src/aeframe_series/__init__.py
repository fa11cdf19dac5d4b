"""Long multivariate series for aeframe. Importing it imports nothing heavy: names, and where their objects are."""

from aeframe import hookimpl
from aeframe.hooks import Register


@hookimpl
def register_modalities(register: Register) -> None:
    register("series", "aeframe_series.modality:Series", summary="windows over long series of several columns")


@hookimpl
def register_datasets(register: Register) -> None:
    register("series_file", "aeframe_series.file:SeriesFile", summary="a CSV, NPY, NPZ or Parquet file of your own")
    register(
        "series_simulated", "aeframe_series.simulated:SeriesSimulated", summary="waves of a stated model, embedded"
    )
    register("ett", "aeframe_series.ett:ETT", summary="hourly load and oil temperature of a transformer, two years")


@hookimpl
def register_metrics(register: Register) -> None:
    register("anomaly_ranking", "aeframe_series.metrics:AnomalyRanking", summary="AUROC and AP of errors by point")


@hookimpl
def register_commands(register: Register) -> None:
    register("anomalies", "aeframe_series.anomalies:Anomalies", summary="score each row of a series, and flag some")
