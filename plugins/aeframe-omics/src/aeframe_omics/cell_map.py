"""``aeframe cell-map RUN -o OUT.png``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from aeframe.cli.model_command import ModelCommand, add_data, add_output, check_output
from aeframe.errors import AeframeError


class CellMap(ModelCommand):
    """Draw the codes of a split's cells on a plane, coloured by label and by batch: UMAP where umap-learn is installed,
    the first two principal components otherwise.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        super().arguments(parser)
        add_data(parser)
        parser.add_argument("--split", choices=("train", "validation", "test"), default="test", help="default: test")
        parser.add_argument("--seed", type=int, default=0, help="of UMAP (0)")
        add_output(parser, "a new .png, .pdf or .svg file")

    def run(self, args: Namespace) -> int:
        if args.output.suffix not in (".png", ".pdf", ".svg"):
            raise AeframeError(f"a picture is a .png, .pdf or .svg file, found '{args.output}'; choose such a name")
        check_output(args.output)
        import torch

        from aeframe_omics.map import draw_map
        from aeframe_omics.modality import Omics

        model = self.open(args)
        if not isinstance(model.modality, Omics):
            raise AeframeError(f"'{args.model}' is no model of cells; cell-map is for modality omics")
        source = getattr(self.splits(model, args), args.split)
        batches = [source.batch(rows) for rows in torch.arange(len(source)).split(self.batch_size(args, model))]
        codes = torch.cat([model.encode(batch, batch_size=len(batch)) for batch in batches]).flatten(1)
        colours = {
            role: (torch.cat([batch.extras[role] for batch in batches]).numpy(), names)
            for role, names in model.modality.names.items()
        }
        draw_map(codes.numpy(), colours, args.seed).savefig(args.output)
        print(args.output)
        return 0
