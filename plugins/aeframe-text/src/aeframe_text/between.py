"""``aeframe between RUN "one sentence" "another one"``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from aeframe.cli.model_command import ModelCommand, positive
from aeframe.errors import AeframeError


class Between(ModelCommand):
    """Print the sentences on the straight line between the codes of two sentences, both ends included."""

    def arguments(self, parser: ArgumentParser) -> None:
        super().arguments(parser)
        parser.add_argument("first", metavar="FROM", help="a sentence")
        parser.add_argument("last", metavar="TO", help="another one")
        parser.add_argument("-n", "--steps", type=positive, default=7, help="how many sentences (default: 7)")
        parser.add_argument("--beams", type=positive, help="beginnings that are followed (those of the run)")

    def run(self, args: Namespace) -> int:
        from aeframe_text.autoregressive import Autoregressive
        from aeframe_text.modality import Text

        model = self.open(args)
        if not isinstance(model.modality, Text):
            raise AeframeError(f"'{args.model}' is no model of sentences; between is for modality text")
        if args.beams is not None:
            if not isinstance(model.model.decoder, Autoregressive):
                raise AeframeError(f"'{args.model}' has a decoder without beams; leave --beams out")
            model.model.decoder.beams = args.beams
        ends = model.modality.encode([args.first, args.last])
        way = model.interpolate(ends.rows(slice(0, 1)), ends.rows(slice(1, 2)), args.steps)
        for text in model.modality.decode(way[0]):
            print(text)
        return 0
