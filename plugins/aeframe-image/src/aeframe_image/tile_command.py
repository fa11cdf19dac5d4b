"""The command ``aeframe image-tiles RUN IMAGE -o OUT.png``: reconstruct an image of any size in tiles."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from aeframe.cli.model_command import ModelCommand, add_output, check_output, positive
from aeframe.errors import AeframeError


class ImageTiles(ModelCommand):
    """Write the reconstruction of an image of any size, computed tile by tile.

    It equals the reconstruction of the full image. Models that combine all positions of an image are refused.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        super().arguments(parser)
        parser.add_argument("file", metavar="IMAGE", type=Path, help="an image file, read at its full size")
        parser.add_argument("--tile", type=positive, default=256, help="side of a tile in pixels (256)")
        add_output(parser, "a new .png file, or .npz")

    def run(self, args: Namespace) -> int:
        check_output(args.output)
        if args.output.suffix.lower() not in (".png", ".npz"):
            raise AeframeError(
                f"an image is written as .png or .npz, found '{args.output}'; end the path in one of these"
            )
        from aeframe_image.modality import Image
        from aeframe_image.tiles import Tiles

        model = self.open(args)
        if not isinstance(model.modality, Image):
            raise AeframeError(f"'{args.model}' is not a model of images; image-tiles is for modality image")
        x = Tiles(model, tile=args.tile).reconstruct(model.modality.read_full_size(args.file))
        for path in model.modality.write(x.unsqueeze(0), args.output):
            print(path)
        return 0
