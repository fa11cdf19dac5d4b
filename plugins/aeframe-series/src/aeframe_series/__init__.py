"""Plugin for multivariate time series: registers names with import paths and imports nothing heavy."""

from aeframe import hookimpl
from aeframe.hooks import Register


@hookimpl
def register_modalities(register: Register) -> None:
    register("series", "aeframe_series.modality:Series", summary="windows of multivariate time series")


@hookimpl
def register_datasets(register: Register) -> None:
    register(
        "series_file", "aeframe_series.series_file:SeriesFile", summary="a series in a CSV, NPY, NPZ or Parquet file"
    )
    register("series_in_memory", "aeframe_series.in_memory:SeriesInMemory", summary="series that aeframe.fit received")
    register(
        "series_simulated",
        "aeframe_series.simulated:SeriesSimulated",
        summary="simulated sine waves with noise and known anomalies",
    )
    register("ett", "aeframe_series.ett:ETT", summary="two years of hourly load and oil temperature of a transformer")


@hookimpl
def register_encoders(register: Register) -> None:
    register(
        "shortcut_conv",
        "aeframe_series.shortcut_conv:ShortcutConvEncoder",
        summary="strided convolutions with linear shortcuts",
    )


@hookimpl
def register_decoders(register: Register) -> None:
    register(
        "shortcut_conv",
        "aeframe_series.shortcut_conv:ShortcutConvDecoder",
        summary="upsampling convolutions with linear shortcuts",
    )


@hookimpl
def register_metrics(register: Register) -> None:
    register("anomaly_ranking", "aeframe_series.metrics:AnomalyRanking", summary="AUROC and AP of errors per time step")
    register(
        "neighbour_ranking",
        "aeframe_series.metrics:NeighbourRanking",
        summary="AUROC and AP of distances to training windows, a baseline of anomaly_ranking",
    )


@hookimpl
def register_configs(register: Register) -> None:
    register("series", "aeframe_series.conf", summary="experiments")
