"""The command ``aeframe transcode RUN FILE -o OUT``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from aeframe.cli.model_command import ModelCommand, add_output, check_output, positive
from aeframe.errors import AeframeError

_CHUNK_SECONDS = 10
"""Length of the pieces that are processed one after another, which bounds the memory."""


class Transcode(ModelCommand):
    """Encode and decode a sound file of any length as a stream with a causal model, and write the reconstruction.

    The output is as long as the input, at the sampling rate of the model.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        super().arguments(parser)
        parser.add_argument("file", metavar="FILE", type=Path, help="a sound file")
        parser.add_argument("--codebooks", type=positive, help="number of codebooks to use (default: all)")
        add_output(parser, "a new .wav, .flac or .ogg file")

    def run(self, args: Namespace) -> int:
        check_output(args.output)
        import torch

        from aeframe.evaluation.evaluator import evaluation_mode
        from aeframe_audio.modality import Audio
        from aeframe_audio.recordings import Recording
        from aeframe_audio.streaming import stream_reconstruction

        model = self.open(args)
        if not isinstance(model.modality, Audio):
            raise AeframeError(f"'{args.model}' is not a model of sounds; transcode requires modality audio")
        if not args.output.suffix:
            raise AeframeError(f"transcode writes one file, found '{args.output}'; use the suffix .wav, .flac or .ogg")
        reader = model.modality.converting_reader
        wave = reader(Recording(str(args.file), args.file))
        chunks = wave[None].to(model.device).split(_CHUNK_SECONDS * reader.rate, 2)
        with evaluation_mode(model.model):
            x_hat = torch.cat(list(stream_reconstruction(model.model, chunks, codebooks=args.codebooks)), 2)
        for path in model.modality.write(x_hat[..., : wave.shape[1]], args.output):
            print(path)
        return 0
