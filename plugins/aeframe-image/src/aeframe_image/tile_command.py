"""``aeframe image-tiles RUN PICTURE -o OUT.png``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from aeframe.cli.model_command import ModelCommand, add_output, check_output, positive
from aeframe.errors import AeframeError


class ImageTiles(ModelCommand):
    """Write the reconstruction of a picture of any size, taken through the model tile by tile.

    It is what the model would make of the whole picture at once; models that look at all of a picture are refused.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        super().arguments(parser)
        parser.add_argument("file", metavar="PICTURE", type=Path, help="an image file, at its own size")
        parser.add_argument("--tile", type=positive, default=256, help="pixels on a side of a tile (256)")
        add_output(parser, "a new .png file, or .npz")

    def run(self, args: Namespace) -> int:
        check_output(args.output)
        if args.output.suffix.lower() not in (".png", ".npz"):
            raise AeframeError(f"a picture is written as .png or .npz, found '{args.output}'; choose such a name")
        from aeframe_image.modality import Image
        from aeframe_image.tiles import Tiles

        model = self.open(args)
        if not isinstance(model.modality, Image):
            raise AeframeError(f"'{args.model}' is no model of images; image-tiles is for modality image")
        x = Tiles(model, tile=args.tile).reconstruct(model.modality.read_whole(args.file))
        for path in model.modality.write(x.unsqueeze(0), args.output):
            print(path)
        return 0
