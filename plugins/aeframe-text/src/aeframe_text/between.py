"""The command ``aeframe between RUN FROM TO``: interpolate between two sentences in the latent space."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from aeframe.cli.model_command import ModelCommand, positive
from aeframe.errors import AeframeError


class Between(ModelCommand):
    """Print sentences decoded from equidistant points on the line between the codes of two sentences, ends included."""

    def arguments(self, parser: ArgumentParser) -> None:
        super().arguments(parser)
        parser.add_argument("first", metavar="FROM", help="the first sentence")
        parser.add_argument("last", metavar="TO", help="the last sentence")
        parser.add_argument("-n", "--steps", type=positive, default=7, help="number of sentences (default: 7)")
        parser.add_argument("--beams", type=positive, help="beams of the beam search (default: those of the run)")

    def run(self, args: Namespace) -> int:
        from aeframe_text.autoregressive import Autoregressive
        from aeframe_text.modality import Text

        model = self.open(args)
        if not isinstance(model.modality, Text):
            raise AeframeError(f"'{args.model}' is not a model of sentences; between is for modality text")
        if args.beams is not None:
            if not isinstance(model.model.decoder, Autoregressive):
                raise AeframeError(f"'{args.model}' has a decoder without beam search; leave --beams out")
            model.model.decoder.beams = args.beams
        ends = model.modality.encode([args.first, args.last])
        interpolated = model.interpolate(ends.rows(slice(0, 1)), ends.rows(slice(1, 2)), args.steps)
        for text in model.modality.decode(interpolated[0]):
            print(text)
        return 0
