"""Counts of molecules by cell, for aeframe. Importing it imports nothing heavy: names, and where their objects are."""

from aeframe import hookimpl
from aeframe.hooks import Register


@hookimpl
def register_modalities(register: Register) -> None:
    register("omics", "aeframe_omics.modality:Omics", summary="counts of molecules, gene by gene, for each cell")


@hookimpl
def register_datasets(register: Register) -> None:
    register("h5ad", "aeframe_omics.h5ad:H5AD", summary="an AnnData file of your own")
    register("cells_simulated", "aeframe_omics.simulated:CellsSimulated", summary="cells of a stated model, embedded")


@hookimpl
def register_encoders(register: Register) -> None:
    register("counts_mlp", "aeframe_omics.networks:CountsMLP", summary="log(1 + count), then dense layers")


@hookimpl
def register_losses(register: Register) -> None:
    register("views", "aeframe_omics.losses:Views", summary="a loss for each view of a sample, added up")


@hookimpl
def register_metrics(register: Register) -> None:
    register("poisson_deviance", "aeframe_omics.metrics:PoissonDeviance", summary="of the counts, mean over cells")
    register("cell_clusters", "aeframe_omics.clusters:CellClusters", summary="ARI, NMI, silhouettes, beside PCA's")


@hookimpl
def register_commands(register: Register) -> None:
    register("annotate", "aeframe_omics.annotate:Annotate", summary="write a .h5ad with codes and denoised counts")
    register("cell_map", "aeframe_omics.cell_map:CellMap", summary="draw a run's cells by UMAP, with label and batch")
