"""Use only the first codebooks of a codec, which lowers its bitrate."""

from __future__ import annotations

from torch import Tensor

from aeframe.errors import AeframeError
from aeframe.model.autoencoder import Autoencoder


def num_codebooks(model: Autoencoder) -> int:
    """Return the number of codebooks of a model: the number of its residual levels.

    If vectors are divided into groups that are quantised separately, the groups of one level count as one codebook.

    Raises:
        AeframeError: A latent without integer codes.
    """
    if "codes" not in model.latent.provides or model.latent.num_codes == 0:
        raise AeframeError("only a latent with integer codes has codebooks; train one with model=codec, or latent=rvq")
    return model.latent.num_levels // getattr(model.latent, "num_groups", 1)


def z_from_first_codebooks(model: Autoencoder, codes: Tensor, count: int) -> Tensor:
    """Return z from the first `count` codebooks of codes ``(B, frames, levels)``.

    Raises:
        AeframeError: A count that is not between 1 and `num_codebooks`.
    """
    num_books = num_codebooks(model)
    if not 1 <= count <= num_books:
        raise AeframeError(f"the codec has {num_books} codebooks per frame, found {count}; choose 1 to {num_books}")
    # `from_codes` treats -1 as an unused level. The last axis has one code per level and group, level by level.
    truncated = codes.clone()
    truncated[..., count * (codes.shape[-1] // num_books) :] = -1
    return model.latent.from_codes(truncated)
