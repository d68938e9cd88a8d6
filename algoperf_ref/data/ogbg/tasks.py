"""Binary labels computed from molecules, with rdkit: the tasks of the mini tier and their choice.

Candidates are rdkit's catalogues of structural alerts, its functional-group counters, and three
thresholds on whole-molecule properties (cheap ones: drug-likeness alone would take as long as half
of all the others). The 128 rarest that are neither too rare nor near-copies of another became the
tasks (`task_names`), so that positives are scarce, as in ogbg-molpcba. These are computed
properties, not measured activities.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from algoperf_ref.data.ogbg.task_names import TASK_NAMES
from algoperf_ref.errors import UserError

# Candidates with a positive rate outside of this are dropped.
_MIN_RATE, _MAX_RATE = 0.005, 0.5
# Candidates with the same rate that agree on this share of molecules are copies of each other.
_COPY_AGREEMENT = 0.999

_CATALOGUES = (
    "BRENK",
    "PAINS_A",
    "CHEMBL_Glaxo",
    "CHEMBL_Dundee",
    "CHEMBL_LINT",
    "CHEMBL_SureChEMBL",
)


# Whole-molecule properties: a mere substructure detector does not solve them.
_THRESHOLDS: Mapping[str, Callable[[Any, Any], bool]] = {
    "TPSA>110": lambda descriptors, molecule: descriptors.CalcTPSA(molecule) > 110,
    "donors>3": lambda descriptors, molecule: descriptors.CalcNumHBD(molecule) > 3,
    "rotatable bonds>8": lambda descriptors, molecule: (
        descriptors.CalcNumRotatableBonds(molecule) > 8
    ),
}


class Candidates:
    """Computes which tasks are true of a molecule."""

    def __init__(self, names: Sequence[str] | None = TASK_NAMES) -> None:
        """
        Args:
          names: the tasks to compute; None: all candidates.

        Raises:
          UserError: if this version of rdkit does not have one of them.
        """
        from rdkit.Chem import Fragments, rdMolDescriptors
        from rdkit.Chem.FilterCatalog import FilterCatalog, FilterCatalogParams

        wanted = None if names is None else frozenset(names)
        found: set[str] = set()
        self._catalogues = []
        for catalogue_name in _CATALOGUES:
            params = FilterCatalogParams()
            params.AddCatalog(getattr(FilterCatalogParams.FilterCatalogs, catalogue_name))
            catalogue = FilterCatalog(params)
            # Backwards, because removing an alert renumbers those behind it.
            for number in reversed(range(catalogue.GetNumEntries())):
                name = f"{catalogue_name}:{catalogue.GetEntry(number).GetDescription()}"
                if wanted is None or name in wanted:
                    found.add(name)
                else:
                    catalogue.RemoveEntry(number)
            self._catalogues.append((catalogue_name, catalogue))
        self._tests: list[tuple[str, Callable[[Any], bool]]] = []
        for name in sorted(name for name in dir(Fragments) if name.startswith("fr_")):
            self._tests.append((name, partial(_counts, getattr(Fragments, name))))
        for name, holds in _THRESHOLDS.items():
            self._tests.append((name, partial(holds, rdMolDescriptors)))
        if wanted is not None:
            self._tests = [test for test in self._tests if test[0] in wanted]
            found.update(name for name, _ in self._tests)
            if missing := sorted(wanted - found):
                raise UserError(
                    f"this version of rdkit does not know the task {missing[0]!r}; install the "
                    "rdkit version of the constraints file"
                )

    def true_of(self, molecule: Any) -> set[str]:
        """Names of the tasks that are true of a molecule."""
        positives = {
            f"{name}:{entry.GetDescription()}"
            for name, catalogue in self._catalogues
            for entry in catalogue.GetMatches(molecule)
        }
        positives.update(name for name, holds in self._tests if holds(molecule))
        return positives


def _counts(counter: Callable[[Any], int], molecule: Any) -> bool:
    return counter(molecule) > 0


@cache
def mini_candidates() -> Candidates:
    """The tasks of the mini tier; made once in a process, which takes a while."""
    return Candidates()


def label_columns(positives: Sequence[set[str]], names: Sequence[str]) -> NDArray[np.bool_]:
    """Labels, bool [molecules, tasks], from the names that are true of each molecule."""
    column = {name: number for number, name in enumerate(names)}
    truth = np.zeros((len(positives), len(names)), bool)
    for row, found in enumerate(positives):
        truth[row, [column[name] for name in found]] = True
    return truth


def choose_tasks(positives: Sequence[set[str]], num_tasks: int) -> list[str]:
    """Chooses tasks, rarest first: how `TASK_NAMES` came about.

    Args:
      positives: the candidates that are true of each molecule.
      num_tasks: how many tasks to choose.

    Raises:
      ValueError: if too few candidates are usable.
    """
    names = sorted(set().union(*positives))
    truth = label_columns(positives, names)
    counts = truth.sum(axis=0)
    rates = counts / len(positives)
    usable = [number for number in range(len(names)) if _MIN_RATE <= rates[number] <= _MAX_RATE]
    kept: list[int] = []
    for number in sorted(usable, key=lambda number: (counts[number], names[number])):
        same_count = (other for other in kept if counts[other] == counts[number])
        if all(
            np.mean(truth[:, number] == truth[:, other]) < _COPY_AGREEMENT for other in same_count
        ):
            kept.append(number)
    if len(kept) < num_tasks:
        raise ValueError(f"only {len(kept)} of {num_tasks} tasks are usable")
    return [names[number] for number in kept[:num_tasks]]
