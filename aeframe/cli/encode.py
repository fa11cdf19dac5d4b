"""``aeframe encode RUN FILE -o OUT.npz`` encodes the samples in a file or in a split of the run's data."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from aeframe.cli.codes_file import check_suffix, write_codes
from aeframe.cli.model_command import ModelCommand, add_condition, add_output, add_samples, check_output

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aeframe.data.file_samples import FileSamples
    from aeframe.model_store.trained_model import TrainedModel


class Encode(ModelCommand):
    """Encode the samples in a file, or in a split of the run's data, and write an NPZ or Parquet file.

    Its array z has the code of each sample, and codes the integers of a quantised latent. index is the number of the
    sample in the file. Where samples have them: name (file, cell or row id), label, time and further columns of the
    modality. Samples are read and encoded by batch.
    """

    def arguments(self, parser: ArgumentParser) -> None:
        super().arguments(parser)
        add_samples(parser)
        add_condition(parser)
        add_output(parser, "a new .npz or .parquet file")

    def run(self, args: Namespace) -> int:
        check_suffix(args.output)
        check_output(args.output)
        model = self.open(args)
        samples = self.samples(args, model)
        write_codes(args.output, self._encoded(model, samples, args), len(samples))
        print(args.output)
        return 0

    def _encoded(self, model: TrainedModel, samples: FileSamples, args: Namespace) -> Iterator[dict[str, NDArray[Any]]]:
        """Yield the codes of each batch, and what identifies its samples."""
        batch_size = self.batch_size(args, model)
        for batch, identity in self.batches(samples, model, args):
            condition = self.condition(args, model, len(batch))
            columns = {"z": model.encode(batch, condition=condition, batch_size=batch_size).numpy()}
            if "codes" in model.model.latent.provides:
                columns["codes"] = model.codes(batch, condition=condition, batch_size=batch_size).numpy()
            yield columns | self.identity(model, batch, identity)
