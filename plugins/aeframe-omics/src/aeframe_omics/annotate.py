"""The command ``aeframe annotate RUN FILE -o OUT.h5ad``: add codes and denoised counts to a file of cells."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from aeframe.cli.model_command import ModelCommand, add_on_error, add_output, check_output, print_read
from aeframe.errors import AeframeError


class Annotate(ModelCommand):
    """Copy a file of cells and add codes (``obsm["X_aeframe"]``) and denoised counts (``layers["aeframe"]``).

    Denoised counts are the mean of the likelihood, with the library size and covariates of each cell. Genes that are
    not part of the model, and cells that are left out, get NaN.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        super().arguments(parser)
        parser.add_argument("file", metavar="FILE", type=Path, help="cells: .h5ad, .zarr, or a file or folder of 10x")
        parser.add_argument("--codes-only", action="store_true", help="write no denoised counts")
        add_on_error(parser)
        add_output(parser, "a new .h5ad file")

    def run(self, args: Namespace) -> int:
        check_output(args.output)
        from aeframe_omics.modality import Omics
        from aeframe_omics.write import Annotations, check_suffix

        check_suffix(args.output)
        model = self.open(args)
        modality = model.modality
        if not isinstance(modality, Omics):
            raise AeframeError(f"'{args.model}' is not a model of cells; annotate is for modality omics")
        samples = modality.open(args.file, args.on_error or modality.on_error)
        genes = None if args.codes_only else modality.genes
        annotations = Annotations(args.file, args.output, genes=genes, model=model.name)
        if annotations.num_left_out:
            modality.notes.add(
                f"'{args.file}' lacks {annotations.num_left_out} of {len(modality.genes)} genes of the model in var; "
                "their denoised counts are not written"
            )
        print_read(modality.notes, samples.skipped)
        with annotations:
            for batch in samples.batches(self.batch_size(args, model)):
                assert batch.index is not None
                codes = model.encode(batch, batch_size=len(batch)).flatten(1).numpy()
                denoised = None
                if genes is not None:
                    x = model.reconstruct(batch, batch_size=len(batch))
                    denoised = modality.as_counts(x, batch.extras.get("library"))
                annotations.write(batch.index.numpy(), codes, denoised)
        print(args.output)
        return 0
