"""Plugin for tables of mixed types: registers names with import paths and imports nothing heavy."""

from aeframe import hookimpl
from aeframe.hooks import Register


@hookimpl
def register_modalities(register: Register) -> None:
    register("table", "aeframe_tabular.modality:TableModality", summary="rows of numbers, categories and dates")


@hookimpl
def register_datasets(register: Register) -> None:
    register("table", "aeframe_tabular.dataset:TableFile", summary="a CSV, Parquet, Excel or SQLite file of your own")
    register("table_in_memory", "aeframe_tabular.in_memory:TableInMemory", summary="a frame that aeframe.fit received")
    register("table_simulated", "aeframe_tabular.simulated:TableSimulated", summary="simulated customers")


@hookimpl
def register_metrics(register: Register) -> None:
    register("cells", "aeframe_tabular.metrics:Cells", summary="accuracy of classes and error of numbers")
    register(
        "columns",
        "aeframe_tabular.column_metrics.columns:Columns",
        summary="likelihood and error of each column in the unit of the file",
    )


@hookimpl
def register_configs(register: Register) -> None:
    register("tabular", "aeframe_tabular.conf", summary="recipes for tables")


@hookimpl
def register_commands(register: Register) -> None:
    register("table", "aeframe_tabular.table_command:Table", summary="print the columns of a table and their kinds")
