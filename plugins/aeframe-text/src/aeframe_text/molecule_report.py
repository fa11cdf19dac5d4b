"""``aeframe molecules RUN``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from aeframe.cli.model_command import ModelCommand, add_data, check_output, positive
from aeframe.errors import AeframeError


class MoleculeReport(ModelCommand):
    """Draw molecules from a model of SMILES and print how many are valid, unique and novel, and how many of a split
    come back as the same molecule. Needs rdkit.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        super().arguments(parser)
        parser.add_argument("-n", "--number", type=positive, default=1000, help="how many to draw (1000)")
        parser.add_argument("--rows", type=positive, default=1000, help="of the split, the first so many (1000)")
        add_data(parser)
        parser.add_argument("--split", choices=("train", "validation", "test"), default="test", help="default: test")
        parser.add_argument("--seed", type=int, default=0, help="of what is drawn (0)")
        parser.add_argument("--draw", action="store_true", help="draw each token, instead of saying the likeliest")
        parser.add_argument("-o", "--output", metavar="JSON", type=Path, help="write the numbers here too")

    def run(self, args: Namespace) -> int:
        if args.output is not None:
            check_output(args.output)
        import json

        import torch

        from aeframe_text.modality import Text
        from aeframe_text.molecules import judged, returned

        model = self.open(args)
        text = model.modality
        if not isinstance(text, Text) or text.tokeniser != "smiles":
            raise AeframeError(f"'{args.model}' is no model of SMILES; molecules is for modality.tokeniser=smiles")
        splits, size = self.splits(model, args), self.batch_size(args, model)
        new = text.decode(model.sample(args.number, seed=args.seed, batch_size=size, draw=args.draw).cpu())
        train = splits.train
        known = [line for rows in torch.arange(len(train)).split(size) for line in text.decode(train.batch(rows).x)]
        source = getattr(splits, args.split)
        asked = text.decode(source.batch(torch.arange(min(args.rows, len(source)))).x)
        # Encoded anew, since a batch of buckets is as wide as its own longest.
        back = text.decode(model.reconstruct(text.encode(asked), batch_size=size).cpu())
        found = {**judged(new, known), **returned(asked, back)}
        for name, value in found.items():
            print(f"{name:<16}{value:.3f}")
        if args.output is not None:
            args.output.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
            print(args.output)
        return 0
