"""The command ``aeframe codec-report RUN``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from aeframe.cli.model_command import ModelCommand, add_data, check_output
from aeframe.errors import AeframeError


class CodecReport(ModelCommand):
    """Evaluate a codec with each number of its codebooks, and print a table.

    The line below the table is the SI-SDR (scale-invariant signal-to-distortion ratio) of a linear baseline: principal
    components of frames as long as those of the codec. There are as many components as the latent has dimensions per
    frame, and they are not quantised.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        super().arguments(parser)
        add_data(parser)
        parser.add_argument("--split", choices=("train", "validation", "test"), default="test", help="default: test")
        parser.add_argument("-o", "--output", metavar="JSON", type=Path, help="also write the results to this file")

    def run(self, args: Namespace) -> int:
        if args.output is not None:
            check_output(args.output)
        import json

        import torch

        from aeframe.noise import EVALUATION, noise_of
        from aeframe_audio.codebooks import num_codebooks
        from aeframe_audio.codec_evaluation import evaluate_by_codebooks, pca_si_sdr
        from aeframe_audio.modality import Audio

        model = self.open(args)
        if not isinstance(model.modality, Audio):
            raise AeframeError(f"'{args.model}' is not a model of sounds; codec-report requires modality audio")
        num_codebooks(model.model)  # Raises an error for a latent without codebooks, before the data are loaded.
        splits, batch_size = self.splits(model, args), self.batch_size(args, model)
        source = getattr(splits, args.split)
        rows = evaluate_by_codebooks(model.model, source, batch_size)
        # `frames` is empty for a latent without a time axis, which has no baseline.
        dim, *frames = model.model.latent.shape
        report = {"split": args.split, "rows": rows}
        if frames:
            frame = -(-model.spec.shape[-1] // frames[0])
            count = min(dim, frame)
            # A seed, since training segments are drawn at random.
            with noise_of(torch.device("cpu"), 0, EVALUATION):
                report["pca_si_sdr"] = pca_si_sdr(splits.train, source, frame=frame, count=count, batch_size=batch_size)
            report["pca"] = {"frame": frame, "components": count}
        _print_table(f"{model.name}, {args.split} split", rows)
        if frames:
            print(f"SI-SDR of {count} principal components of {frame} samples: {report['pca_si_sdr']:.2f} dB")
        if args.output is not None:
            args.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
            print(args.output)
        return 0


def _print_table(title: str, rows: list[dict[str, float]]) -> None:
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
