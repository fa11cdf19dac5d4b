"""``aeframe codec-report RUN``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from aeframe.cli.model_command import ModelCommand, add_data, check_output
from aeframe.errors import AeframeError


class CodecReport(ModelCommand):
    """Measure a codec by how many of its codebooks are used, and print a table.

    Below it stands the SI-SDR of principal components of frames as long as the codec's, as many as its vectors have
    numbers: the same floats per second, which a linear model would not round.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        super().arguments(parser)
        add_data(parser)
        parser.add_argument("--split", choices=("train", "validation", "test"), default="test", help="default: test")
        parser.add_argument("-o", "--output", metavar="JSON", type=Path, help="write the numbers here too")

    def run(self, args: Namespace) -> int:
        if args.output is not None:
            check_output(args.output)
        import json

        import torch

        from aeframe.noise import EVALUATION, noise_of
        from aeframe_audio.codebooks import by_codebooks, num_codebooks, principal_components
        from aeframe_audio.modality import Audio

        model = self.open(args)
        if not isinstance(model.modality, Audio):
            raise AeframeError(f"'{args.model}' is no model of sounds; codec-report is for modality audio")
        num_codebooks(model.model)
        splits, size = self.splits(model, args), self.batch_size(args, model)
        source = getattr(splits, args.split)
        rows = by_codebooks(model.model, source, size)
        dim, *frames = model.model.latent.shape
        found = {"split": args.split, "rows": rows}
        if frames:
            frame = -(-model.spec.shape[-1] // frames[0])
            count = min(dim, frame)
            with noise_of(torch.device("cpu"), 0, EVALUATION):
                found["pca_si_sdr"] = principal_components(
                    splits.train, source, frame=frame, count=count, batch_size=size
                )
            found["pca"] = {"frame": frame, "components": count}
        _print(f"{model.name}, {args.split} split", rows)
        if frames:
            print(f"SI-SDR of {count} principal components of {frame} samples: {found['pca_si_sdr']:.2f} dB")
        if args.output is not None:
            args.output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
            print(args.output)
        return 0


def _print(title: str, rows: list[dict[str, float]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title)
    for name in rows[0]:
        table.add_column(name.replace("_", " "), justify="right")
    for row in rows:
        table.add_row(
            *(f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.3f}" for value in row.values())
        )
    Console().print(table)
