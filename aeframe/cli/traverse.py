"""``aeframe traverse RUN -o OUT`` decodes codes along directions of the latent space."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from typing import TYPE_CHECKING

from aeframe.cli.decode import CodesCommand, kept
from aeframe.cli.interpolate import row_of
from aeframe.cli.model_command import (
    add_condition,
    add_picture,
    add_sample_output,
    add_samples,
    check_output,
    check_picture,
    positive,
)
from aeframe.errors import AeframeError

if TYPE_CHECKING:
    from torch import Tensor

    from aeframe.model_store.trained_model import TrainedModel

_MAX_SAMPLES = 2000


class Traverse(CodesCommand):
    """Decode codes along directions of the latent space, one row of samples for each direction.

    Directions are single numbers of the code, or its principal directions over the training split, the widest first. A
    row goes from -RANGE to RANGE standard deviations of the training codes in its direction, around their mean, or
    around the code of one sample (FILE with --sample). Names of the samples: direction, and position in standard
    deviations. The codes of all samples are in memory; samples are decoded and written by batch, and --picture keeps
    all of them.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        super().arguments(parser)
        add_samples(parser)
        parser.add_argument(
            "--sample", metavar="SAMPLE", help="go through the code of this sample: a name, or a number"
        )
        parser.add_argument(
            "--along",
            choices=("principal", "numbers"),
            default="principal",
            help="principal directions of the training codes, or single numbers of the code (default: principal)",
        )
        parser.add_argument(
            "--directions", type=_integers, metavar="0,1,...", help="which directions, from 0 (default: the first five)"
        )
        parser.add_argument("--range", type=float, default=3.0, help="standard deviations to each side (default: 3)")
        parser.add_argument("--steps", type=positive, default=9, help="samples of a direction (default: 9)")
        add_picture(parser, "also draw the samples, a row for each direction")
        add_condition(parser)
        add_sample_output(parser)

    def run(self, args: Namespace) -> int:
        import torch

        check_output(args.output)
        check_picture(args.picture)
        model = self.open(args)
        latent = model.model.latent
        if latent.space != "euclidean" or "codes" in latent.provides:
            found = "integer codes" if "codes" in latent.provides else f"{latent.space} space"
            raise AeframeError(
                f"traverse moves codes along straight lines, found the latent {type(latent).__name__} of {found}; use "
                "aeframe interpolate, whose paths stay in the space"
            )
        centre = self._centre(args, model)
        codes = self._training_codes(args, model)
        mean, directions, scales = _directions(codes.flatten(1), args.along)
        start = mean if centre is None else centre.flatten()
        chosen = args.directions if args.directions is not None else range(min(5, len(directions)))
        if unknown := [number for number in chosen if number >= len(directions)]:
            raise AeframeError(
                f"--directions: the code has the directions 0 to {len(directions) - 1}, found {unknown[0]}; choose "
                "among them"
            )
        positions = torch.linspace(-args.range, args.range, args.steps)
        rows, names = [], []
        for number in chosen:
            rows.append(start + positions.unsqueeze(1) * scales[number] * directions[number])
            names += [f"{args.along}_{number}_{position:+.2f}" for position in positions.tolist()]
        z = torch.cat(rows).reshape(-1, *latent.shape)
        decoded, drawn = self.decoded(model, z, args), list[torch.Tensor]()
        self.write(model, decoded if args.picture is None else kept(decoded, drawn), len(z), args, names)
        if args.picture is not None:
            by_direction = zip(chosen, torch.cat(drawn).split(args.steps), strict=True)
            panels = {f"{args.along} {number}, sd {float(scales[number]):.3g}": part for number, part in by_direction}
            model.modality.render(panels).savefig(args.picture)
            print(args.picture)
        return 0

    def _centre(self, args: Namespace, model: TrainedModel) -> Tensor | None:
        """Return the code of the chosen sample; None for the mean of the training codes."""
        import torch

        has_samples = args.file is not None or args.split is not None
        if (args.sample is None) != (not has_samples):
            raise AeframeError(
                "traverse takes --sample together with FILE or --split, found only one of them; add the other"
            )
        if args.sample is None:
            return None
        samples = self.samples(args, model, reads_run=True)
        batch = samples.source.batch(torch.tensor([row_of(samples, args.sample)]))
        return model.encode(batch, condition=self.condition(args, model, 1)).cpu()

    def _training_codes(self, args: Namespace, model: TrainedModel) -> Tensor:
        """Return the codes of at most 2,000 random training samples."""
        import torch

        from aeframe.data.subset import random_batches

        train, seed = self.splits(model, args).train, int(model.config.get("seed", 0))
        batches = random_batches(train, _MAX_SAMPLES, seed, self.batch_size(args, model))
        return torch.cat([model.encode(batch, batch_size=len(batch)).cpu() for batch in batches])


def _directions(codes: Tensor, along: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean ``(D,)`` of codes ``(N, D)``, unit vectors ``(K, D)``, and the sd ``(K,)`` along each."""
    import torch

    from aeframe.evaluation.principal_directions import principal_directions

    if along == "numbers":
        return codes.mean(0), torch.eye(codes.shape[1]), codes.std(0)
    found = principal_directions(codes)
    return found.mean, found.vectors, found.scales


def _integers(text: str) -> list[int]:
    if not all(part.isdecimal() for part in text.split(",")):
        raise ArgumentTypeError(f"expected integers from 0, separated by commas, found '{text}'")
    return [int(part) for part in text.split(",")]
