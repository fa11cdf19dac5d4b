"""The command ``aeframe annotate RUN FILE.h5ad -o OUT.h5ad``: add codes and denoised counts to a file of cells."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from aeframe.cli.model_command import ModelCommand, add_output, check_output
from aeframe.errors import AeframeError


class Annotate(ModelCommand):
    """Copy a file of cells and add codes (``obsm["X_aeframe"]``) and denoised counts (``layers["aeframe"]``).

    Denoised counts are the mean of the likelihood, with the library size and covariates of each cell. Genes that are
    not part of the model get NaN.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        super().arguments(parser)
        parser.add_argument("file", metavar="FILE", type=Path, help="cells, as .h5ad")
        parser.add_argument("--codes-only", action="store_true", help="write no denoised counts")
        add_output(parser, "a new .h5ad file")

    def run(self, args: Namespace) -> int:
        check_output(args.output)
        from aeframe_omics.modality import Omics
        from aeframe_omics.write import annotate, check_new

        check_new(args.output)
        model = self.open(args)
        if not isinstance(model.modality, Omics):
            raise AeframeError(f"'{args.model}' is not a model of cells; annotate is for modality omics")
        batch, batch_size = model.modality.read(args.file), self.batch_size(args, model)
        codes = model.encode(batch, batch_size=batch_size).flatten(1).numpy()
        genes, denoised = model.modality.genes, None
        if not args.codes_only:
            x = model.reconstruct(batch, batch_size=batch_size)
            denoised = model.modality.as_counts(x, batch.extras["library"])
        for path in annotate(args.file, args.output, codes, denoised, genes, model.name):
            print(path)
        return 0
