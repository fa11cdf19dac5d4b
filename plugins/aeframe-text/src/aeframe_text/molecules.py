"""Metrics of molecules written as SMILES, with rdkit: validity, uniqueness, novelty and reconstruction."""

from __future__ import annotations

from collections.abc import Sequence

from aeframe.errors import AeframeError


def canonical(smiles: Sequence[str]) -> list[str | None]:
    """Return the canonical SMILES of each molecule, None for invalid SMILES.

    Raises:
        AeframeError: rdkit is not installed.
    """
    try:
        from rdkit import Chem, rdBase
    except ImportError as error:
        raise AeframeError(
            "reading molecules requires rdkit, which is not installed; install it with pip install "
            "'aeframe-text[molecules]'"
        ) from error
    # rdkit logs several lines for each invalid SMILES.
    with rdBase.BlockLogs():
        molecules = [Chem.MolFromSmiles(text) if text else None for text in smiles]
        return [None if molecule is None else Chem.MolToSmiles(molecule) for molecule in molecules]


def generation_metrics(generated: Sequence[str], training: Sequence[str]) -> dict[str, float]:
    """Return validity, uniqueness and novelty of molecules (MOSES: Polykovskiy et al. 2020, arXiv 1811.12823).

    Args:
        generated: SMILES that a model has generated.
        training: The SMILES of its training split.

    Returns:
        ``validity``: the fraction of valid SMILES; ``uniqueness``: the fraction of distinct molecules among the valid
        ones; ``novelty``: the fraction of the distinct molecules that are not in the training split. A fraction of
        zero molecules is 0.
    """
    valid = [molecule for molecule in canonical(generated) if molecule is not None]
    unique = set(valid)
    novel = unique.difference(canonical(training))
    return {
        "validity": len(valid) / max(len(generated), 1),
        "uniqueness": len(unique) / max(len(valid), 1),
        "novelty": len(novel) / max(len(unique), 1),
    }


def reconstruction_metrics(originals: Sequence[str], reconstructions: Sequence[str]) -> dict[str, float]:
    """Return ``reconstruction_validity``, the fraction of reconstructions that are valid SMILES, and
    ``reconstruction_accuracy``, the fraction that are the original molecule, in any notation.
    """
    pairs = list(zip(canonical(originals), canonical(reconstructions), strict=True))
    same = sum(before is not None and before == after for before, after in pairs)
    return {
        "reconstruction_validity": sum(after is not None for _, after in pairs) / max(len(pairs), 1),
        "reconstruction_accuracy": same / max(len(pairs), 1),
    }
