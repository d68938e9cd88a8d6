"""What stands beside a clause: the tests that cite it, its cases, the sentences it comes from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from spec import cases, deviations
from spec.cases import Case
from spec.citations import citing_tests
from spec.deviations import Deviation
from spec.sentences_table import Sentence, load_sentences


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything known beside the clauses themselves.

    Attributes:
      tests: names of tests by clause id; None if there is no checkout to look them up in.
      cases: by clause id.
      sentences: of all documents.
      deviations: of the official code, and what is done here.
    """

    tests: Mapping[str, Sequence[str]] | None = None
    cases: Mapping[str, Sequence[Case]] = field(default_factory=dict)
    sentences: Sequence[Sentence] = ()
    deviations: Sequence[Deviation] = ()

    def sentences_of(self, clause_id: str) -> list[Sentence]:
        """The sentences that lead to a clause."""
        return [sentence for sentence in self.sentences if clause_id in sentence.clauses]

    def deviations_of(self, clause_id: str) -> list[Deviation]:
        """The deviations that cite a clause."""
        return [deviation for deviation in self.deviations if clause_id in deviation.clauses]


def gather() -> Evidence:
    """Collects the evidence of this package, and that of its tests when run from a checkout."""
    by_clause: defaultdict[str, list[Case]] = defaultdict(list)
    for case in cases.load_all():
        for clause_id in case.clauses:
            by_clause[clause_id].append(case)
    return Evidence(citing_tests(), by_clause, load_sentences(), deviations.load())
