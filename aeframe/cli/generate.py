"""``aeframe generate RUN -n 64 -o OUT``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from aeframe.cli.model_command import ModelCommand, add_output, check_output, positive


class Generate(ModelCommand):
    """Write new samples: codes from the model's sampler, decoded."""

    def arguments(self, parser: ArgumentParser) -> None:
        super().arguments(parser)
        parser.add_argument("-n", "--num", type=positive, default=64, help="how many (default: 64)")
        parser.add_argument(
            "--seed", type=int, help="the same seed gives the same samples (default: new ones each time)"
        )
        parser.add_argument("--draw", action="store_true", help="draw from the likelihood instead of taking its mean")
        add_output(parser, "a new file or folder, in a format of the model's modality")

    def run(self, args: Namespace) -> int:
        import torch

        check_output(args.output)
        model = self.open(args)
        seed = torch.seed() if args.seed is None else args.seed
        x = model.sample(args.num, seed=seed, batch_size=self.batch_size(args, model), draw=args.draw)
        for path in model.modality.write(x.cpu(), args.output):
            print(path)
        return 0
