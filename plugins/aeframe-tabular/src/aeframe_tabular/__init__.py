"""Plugin for tables of mixed types: registers names with import paths and imports nothing heavy."""

from aeframe import hookimpl
from aeframe.hooks import Register


@hookimpl
def register_modalities(register: Register) -> None:
    register("table", "aeframe_tabular.modality:TableModality", summary="rows of numbers, categories and dates")


@hookimpl
def register_datasets(register: Register) -> None:
    register("table", "aeframe_tabular.dataset:TableFile", summary="a CSV, Parquet, Excel or SQLite file of your own")
