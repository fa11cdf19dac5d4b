"""The command ``aeframe molecules RUN``: metrics of the molecules of a model of SMILES."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from aeframe.cli.model_command import ModelCommand, add_data, check_output, positive
from aeframe.errors import AeframeError


class MoleculeReport(ModelCommand):
    """Generate molecules with a model of SMILES and print validity, uniqueness and novelty, and the fraction of a split
    that is reconstructed as the same molecule. Requires rdkit.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        super().arguments(parser)
        parser.add_argument("-n", "--number", type=positive, default=1000, help="molecules to generate (1000)")
        parser.add_argument(
            "--rows", type=positive, default=1000, help="random rows of the split to reconstruct (1000)"
        )
        add_data(parser)
        parser.add_argument("--split", choices=("train", "validation", "test"), default="test", help="default: test")
        parser.add_argument("--seed", type=int, default=0, help="seed of the generated molecules and the rows (0)")
        parser.add_argument("--draw", action="store_true", help="sample each token instead of taking the most likely")
        parser.add_argument("-o", "--output", metavar="JSON", type=Path, help="also write the metrics to this file")

    def run(self, args: Namespace) -> int:
        if args.output is not None:
            check_output(args.output)
        import json

        import torch

        from aeframe.noise import random_rows
        from aeframe_text.modality import Text
        from aeframe_text.molecules import generation_metrics, reconstruction_metrics

        model = self.open(args)
        modality = model.modality
        if not isinstance(modality, Text) or modality.tokeniser != "smiles":
            raise AeframeError(f"'{args.model}' is not a model of SMILES; molecules is for modality.tokeniser=smiles")
        splits, size = self.splits(model, args), self.batch_size(args, model)
        generated = modality.decode(model.sample(args.number, seed=args.seed, batch_size=size, draw=args.draw).cpu())
        train = splits.train
        batches = (train.batch(rows) for rows in torch.arange(len(train)).split(size))
        training = [smiles for batch in batches for smiles in modality.decode(batch.x)]
        source = getattr(splits, args.split)
        originals = modality.decode(source.batch(random_rows(len(source), args.rows, args.seed)).x)
        # `encode` pads to the full width; with modality.buckets, batches of the source are trimmed.
        reconstructions = modality.decode(model.reconstruct(modality.encode(originals), batch_size=size).cpu())
        metrics = generation_metrics(generated, training) | reconstruction_metrics(originals, reconstructions)
        for name, value in metrics.items():
            print(f"{name:<26}{value:.3f}")
        if args.output is not None:
            args.output.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
            print(args.output)
        return 0
