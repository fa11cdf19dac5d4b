"""The command ``aeframe cell-map RUN -o OUT.png``: plot the codes of cells in two dimensions."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from aeframe.cli.model_command import ModelCommand, add_data, add_output, check_output
from aeframe.errors import AeframeError


class CellMap(ModelCommand):
    """Plot the codes of a split's cells in two dimensions, coloured by label and by batch: by UMAP if umap-learn is
    installed, otherwise by PCA.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        super().arguments(parser)
        add_data(parser)
        parser.add_argument("--split", choices=("train", "validation", "test"), default="test", help="default: test")
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
        source = getattr(self.splits(model, args), args.split)
        batches = [source.batch(rows) for rows in torch.arange(len(source)).split(self.batch_size(args, model))]
        codes = torch.cat([model.encode(batch, batch_size=len(batch)) for batch in batches]).flatten(1)
        # By role (label, batch): the category code of each cell, and the names of the categories.
        colours = {
            role: (torch.cat([batch.extras[role] for batch in batches]).numpy(), names)
            for role, names in model.modality.category_names.items()
        }
        draw_map(codes.numpy(), colours, args.seed).savefig(args.output)
        print(args.output)
        return 0
