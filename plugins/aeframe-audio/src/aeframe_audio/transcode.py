"""``aeframe transcode RUN FILE -o OUT``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from aeframe.cli.model_command import ModelCommand, add_output, check_output, positive
from aeframe.errors import AeframeError

_CHUNK_SECONDS = 10


class Transcode(ModelCommand):
    """Send a sound of any length through a causal model, piece by piece, and write what comes out: as long as it was,
    at the model's rate.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        super().arguments(parser)
        parser.add_argument("file", metavar="FILE", type=Path, help="a sound file")
        parser.add_argument("--codebooks", type=positive, help="use so many of a codec's codebooks (default: all)")
        add_output(parser, "a new .wav, .flac or .ogg file")

    def run(self, args: Namespace) -> int:
        check_output(args.output)
        import torch

        from aeframe.evaluation.evaluator import evaluation_mode
        from aeframe_audio.modality import Audio
        from aeframe_audio.recordings import Recording
        from aeframe_audio.streaming import resound
        from aeframe_audio.write import write_sounds

        model = self.open(args)
        if not isinstance(model.modality, Audio):
            raise AeframeError(f"'{args.model}' is no model of sounds; transcode is for modality audio")
        if not args.output.suffix:
            raise AeframeError(f"transcode writes one file, found '{args.output}'; end it in .wav, .flac or .ogg")
        reader = model.modality.reader
        wave = reader(Recording(str(args.file), args.file))
        pieces = wave[None].to(model.device).split(_CHUNK_SECONDS * reader.rate, 2)
        with evaluation_mode(model.model):
            made = torch.cat(list(resound(model.model, pieces, codebooks=args.codebooks)), 2)
        for path in write_sounds(made[..., : wave.shape[1]].cpu(), args.output, reader.rate):
            print(path)
        return 0
