"""The command ``aeframe cell-map RUN -o OUT.png``: plot the codes of cells in two dimensions."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from aeframe.cli.model_command import ModelCommand, add_output, add_samples, check_output
from aeframe.errors import AeframeError


class CellMap(ModelCommand):
    """Plot the codes of the cells of a file, or of a split of the run's data, in two dimensions.

    They are coloured by label and by batch. The projection is UMAP if umap-learn is installed, otherwise PCA.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        super().arguments(parser)
        add_samples(parser)
        parser.add_argument("--seed", type=int, default=0, help="seed of UMAP (0)")
        add_output(parser, "a new .png, .pdf or .svg file")

    def run(self, args: Namespace) -> int:
        if args.output.suffix not in (".png", ".pdf", ".svg"):
            raise AeframeError(
                f"a plot is written as .png, .pdf or .svg, found '{args.output}'; end the path in one of these"
            )
        check_output(args.output)
        import torch

        from aeframe_omics.latent_map import draw_map
        from aeframe_omics.modality import Omics

        model = self.open(args)
        if not isinstance(model.modality, Omics):
            raise AeframeError(f"'{args.model}' is not a model of cells; cell-map is for modality omics")
        if args.file is None:
            args.split = args.split or "test"
        codes, annotations = [], []
        for batch, _ in self.batches(self.samples(args, model), model, args):
            codes.append(model.encode(batch, batch_size=len(batch)).flatten(1))
            annotations.append(batch.extras)
        # By role (label, batch): the category code of each cell, and the names of the categories.
        colours = {
            role: (torch.cat([extras[role] for extras in annotations]).numpy(), names)
            for role, names in model.modality.category_names.items()
        }
        draw_map(torch.cat(codes).numpy(), colours, args.seed).savefig(args.output)
        print(args.output)
        return 0
