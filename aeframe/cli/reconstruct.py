"""``aeframe reconstruct RUN FILE -o OUT`` reconstructs the samples in a file or in a split of the run's data."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from aeframe.cli.model_command import ModelCommand, add_condition, add_output, add_samples, check_output


class Reconstruct(ModelCommand):
    """Reconstruct the samples in a file, or in a split of the run's data: encode them, and decode the mean of z.

    Outputs keep the names of the samples: files of a folder, cells, row ids.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        super().arguments(parser)
        add_samples(parser)
        add_condition(parser)
        add_output(parser, "a new file or folder, in a format of the model's modality")

    def run(self, args: Namespace) -> int:
        import torch

        from aeframe.data.file_samples import names_of

        check_output(args.output)
        model = self.open(args)
        samples = self.samples(args, model)
        x, start = torch.empty(0), 0
        for batch, _ in self.batches(samples, model, args):
            condition = self.condition(args, model, len(batch))
            part = model.reconstruct(batch, condition=condition, batch_size=len(batch)).cpu()
            # One tensor for all: small ones between the large ones of each batch would fragment the memory.
            x = x if start else part.new_empty(len(samples), *part.shape[1:])
            x[start : start + len(part)] = part
            start += len(part)
        for path in model.modality.write(x, args.output, names=names_of(samples.source)):
            print(path)
        return 0
