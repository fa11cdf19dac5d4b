"""The aeframe plugin for single-cell counts. It registers names and import paths; objects are imported on first use."""

from aeframe import hookimpl
from aeframe.hooks import Register


@hookimpl
def register_modalities(register: Register) -> None:
    register("omics", "aeframe_omics.modality:Omics", summary="single-cell counts of molecules per gene")


@hookimpl
def register_datasets(register: Register) -> None:
    register("h5ad", "aeframe_omics.h5ad:H5AD", summary="cells in a file of AnnData or 10x Genomics")
    register("omics_in_memory", "aeframe_omics.in_memory:OmicsInMemory", summary="cells that aeframe.fit received")
    register("cells_simulated", "aeframe_omics.simulated:CellsSimulated", summary="simulated cells, no download")


@hookimpl
def register_encoders(register: Register) -> None:
    register("counts_mlp", "aeframe_omics.networks:CountsMLP", summary="dense layers on log(1 + count)")


@hookimpl
def register_losses(register: Register) -> None:
    register("views", "aeframe_omics.losses:Views", summary="the sum of one loss for each view")


@hookimpl
def register_metrics(register: Register) -> None:
    register(
        "poisson_deviance",
        "aeframe_omics.metrics:PoissonDeviance",
        summary="Poisson deviance of the counts, mean over cells",
    )
    register(
        "cell_clusters", "aeframe_omics.clusters:CellClusters", summary="ARI, NMI and silhouettes of codes and of PCA"
    )


@hookimpl
def register_feature_spaces(register: Register) -> None:
    register(
        "log_normalised",
        "aeframe_omics.log_normalised:LogNormalised",
        summary="components of log-normalised counts",
    )


@hookimpl
def register_configs(register: Register) -> None:
    register("omics", "aeframe_omics.conf", summary="experiments")


@hookimpl
def register_commands(register: Register) -> None:
    register("annotate", "aeframe_omics.annotate:Annotate", summary="write a .h5ad with codes and denoised counts")
    register("cell_map", "aeframe_omics.cell_map:CellMap", summary="plot codes by UMAP, coloured by label and batch")
