"""Molecules as graphs: the atom and bond features of the Open Graph Benchmark, with rdkit.

Source: feature tables of the Open Graph Benchmark's molecule data sets; known answers are tested.
"""

from __future__ import annotations

import csv
import importlib.metadata
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from algoperf_ref.data.tfds_store import INSTALL_HINT
from algoperf_ref.errors import UserError

# Values of every feature, in order; where a list is followed by a catch-all, it is the next number.
_CHIRALITIES = (
    "CHI_UNSPECIFIED",
    "CHI_TETRAHEDRAL_CW",
    "CHI_TETRAHEDRAL_CCW",
    "CHI_OTHER",
)
_HYBRIDIZATIONS = ("SP", "SP2", "SP3", "SP3D", "SP3D2")
_BOND_TYPES = ("SINGLE", "DOUBLE", "TRIPLE", "AROMATIC")
_STEREO = ("STEREONONE", "STEREOZ", "STEREOE", "STEREOCIS", "STEREOTRANS", "STEREOANY")
_ELEMENTS = 118
_MAX_DEGREE = 10
_MAX_CHARGE = 5
_MAX_HYDROGENS = 8
_MAX_RADICALS = 4

# Number of values of every column, catch-alls included.
ATOM_FEATURE_SIZES = (119, 5, 12, 12, 10, 6, 6, 2, 2)
BOND_FEATURE_SIZES = (5, 6, 2)

# SMILES files that the rdkit package carries, under its data directory.
_NCI_FILE = Path("NCI") / "first_5K.smi"
_WEHI_FILE = Path("Pains") / "test_data" / "wehi_mols.csv"


def import_rdkit() -> Any:
    """The rdkit.Chem module, with rdkit's own messages silenced in this process.

    Raises:
      UserError: if rdkit is not installed.
    """
    try:
        from rdkit import Chem, RDLogger
    except ImportError as error:
        raise UserError(f"making mini molecules needs rdkit ({error}): {INSTALL_HINT}") from error
    RDLogger.DisableLog("rdApp.*")  # type: ignore[attr-defined]
    return Chem


def rdkit_version() -> str:
    """Version of the installed rdkit package."""
    return importlib.metadata.version("rdkit")


@cache
def _index(values: tuple[str, ...], value: Any) -> int:
    text = str(value)
    return values.index(text) if text in values else len(values)


def atom_features(atom: Any) -> list[int]:
    """Nine categories of an atom, see `ATOM_FEATURE_SIZES`.

    Element, chirality, degree, charge, hydrogens, radicals, hybridization, aromatic, in a ring.
    """
    number, charge = atom.GetAtomicNum(), atom.GetFormalCharge()
    return [
        number - 1 if 1 <= number <= _ELEMENTS else _ELEMENTS,
        _index(_CHIRALITIES, atom.GetChiralTag()),
        min(atom.GetTotalDegree(), _MAX_DEGREE + 1),
        charge + _MAX_CHARGE if abs(charge) <= _MAX_CHARGE else 2 * _MAX_CHARGE + 1,
        min(atom.GetTotalNumHs(), _MAX_HYDROGENS + 1),
        min(atom.GetNumRadicalElectrons(), _MAX_RADICALS + 1),
        _index(_HYBRIDIZATIONS, atom.GetHybridization()),
        int(atom.GetIsAromatic()),
        int(atom.IsInRing()),
    ]


def bond_features(bond: Any) -> list[int]:
    """Three categories: type, stereo configuration, conjugated."""
    return [
        _index(_BOND_TYPES, bond.GetBondType()),
        _index(_STEREO, bond.GetStereo()),
        int(bond.GetIsConjugated()),
    ]


def graph(molecule: Any) -> dict[str, NDArray[Any]]:
    """A molecule with the tfds features (without labels); every bond stands once."""
    atoms = [atom_features(atom) for atom in molecule.GetAtoms()]
    bonds = list(molecule.GetBonds())
    ends = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in bonds]
    return {
        "num_nodes": np.array([len(atoms)], np.int64),
        "num_edges": np.array([len(bonds)], np.int64),
        "node_feat": np.array(atoms, np.float32).reshape(-1, len(ATOM_FEATURE_SIZES)),
        "edge_feat": np.array([bond_features(bond) for bond in bonds], np.float32).reshape(
            -1, len(BOND_FEATURE_SIZES)
        ),
        "edge_index": np.array(ends, np.int64).reshape(-1, 2),
    }


def shipped_smiles() -> Iterator[str]:
    """SMILES of the real molecules in the rdkit package: NCI compounds, then a screening library.

    Raises:
      UserError: if the package lacks the files.
    """
    import_rdkit()
    from rdkit import RDConfig

    base = Path(RDConfig.RDDataDir)
    for name in (_NCI_FILE, _WEHI_FILE):
        if not (base / name).is_file():
            raise UserError(
                f"rdkit {rdkit_version()} does not carry {name}; reinstall it: {INSTALL_HINT}"
            )
    with (base / _NCI_FILE).open(encoding="utf-8") as file:
        for line in file:
            if line.strip():
                yield line.split()[0]
    with (base / _WEHI_FILE).open(encoding="utf-8", newline="") as file:
        for row in csv.reader(file):
            if row:
                yield row[0]


def distinct_smiles(smiles: Iterator[str]) -> list[str]:
    """The SMILES that parse, have a bond and name a molecule not seen before, in order."""
    chem = import_rdkit()
    seen: set[str] = set()
    kept = []
    for text in smiles:
        molecule = chem.MolFromSmiles(text)
        if molecule is None or molecule.GetNumBonds() == 0:
            continue
        canonical = chem.MolToSmiles(molecule)
        if canonical not in seen:
            seen.add(canonical)
            kept.append(text)
    return kept
