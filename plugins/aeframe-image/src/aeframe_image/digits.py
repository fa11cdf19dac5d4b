"""The dataset ``digits``, part of scikit-learn; it needs no download."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from aeframe.data import Dataset
from aeframe.data.random_split import RandomSplit
from aeframe_image.pictures import RawSplits, Stack


class Digits(Dataset):
    """1,797 handwritten digits of 8 x 8 pixels with 17 grey levels (Alpaydin & Kaynak 1998, UCI), from scikit-learn.

    A fixed random split has 1,437 training, 180 validation and 180 test images. ``extras["label"]`` is the digit. Grey
    level k of 0 to 16 is the float k / 16, which uint8 could not represent.
    """

    modality = "image"

    def describe(self) -> Mapping[str, Any]:
        return {"shape": (1, 8, 8)}

    def load(self) -> RawSplits:
        from sklearn.datasets import load_digits

        bunch = load_digits()
        pixels = torch.from_numpy(bunch.images).float().div(16).unsqueeze(1)
        stack = Stack(pixels, torch.from_numpy(bunch.target).long())
        splitter = RandomSplit("dataset 'digits'", "images", validation=0.1, test=0.1, seed=0)
        # `split_record` is inherited; it stores the drawn split, so that a resumed run uses the same one.
        return splitter.complete({"train": stack}, self.split_record)
