"""What SMILES mean: the molecules that rdkit reads in them."""

from __future__ import annotations

from collections.abc import Sequence

from aeframe.errors import AeframeError


def canonical(smiles: Sequence[str]) -> list[str | None]:
    """Return each as the one way to write its molecule, None where it is no molecule that can be.

    Raises:
        AeframeError: rdkit is not installed.
    """
    try:
        from rdkit import Chem, rdBase
    except ImportError as error:
        raise AeframeError(
            "molecules are read by rdkit, which is not installed; get it with pip install 'aeframe-text[molecules]'"
        ) from error
    # It would print its reasons, many lines each.
    with rdBase.BlockLogs():
        found = [Chem.MolFromSmiles(each) if each else None for each in smiles]
        return [None if molecule is None else Chem.MolToSmiles(molecule) for molecule in found]


def judged(new: Sequence[str], known: Sequence[str]) -> dict[str, float]:
    """Measure new molecules as the field does (MOSES: Polykovskiy et al. 2020, arXiv 1811.12823).

    Args:
        new: SMILES that a model has drawn.
        known: Those it was trained on.

    Returns:
        ``validity``, the share that are molecules; ``uniqueness``, the share of different ones among these; and
        ``novelty``, the share of the different ones that training lacks. 0 where there are none to count.
    """
    valid = [each for each in canonical(new) if each is not None]
    unique = set(valid)
    novel = unique.difference(canonical(known))
    return {
        "validity": len(valid) / max(len(new), 1),
        "uniqueness": len(unique) / max(len(valid), 1),
        "novelty": len(novel) / max(len(unique), 1),
    }


def returned(before: Sequence[str], after: Sequence[str]) -> dict[str, float]:
    """Measure SMILES that were encoded and decoded: how many are molecules again, ``returned_valid``, and how many are
    the same one however written, ``returned_same``.
    """
    pairs = list(zip(canonical(before), canonical(after), strict=True))
    return {
        "returned_valid": sum(each is not None for _, each in pairs) / max(len(pairs), 1),
        "returned_same": sum(a is not None and a == b for a, b in pairs) / max(len(pairs), 1),
    }
