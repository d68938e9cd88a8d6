"""What is mutated, which tests have to notice it, and which survivors are accepted.

Tables, docstrings, declarations, the command line and the rule book are left out: a mutant of
them says something about a text or a number, and the texts and numbers have tests of their own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

ROOT = Path(__file__).resolve().parents[2]
SURVIVORS_FILE = Path(__file__).with_name("survivors.json")

KINDS = ("equivalent", "error text only", "performance only")
"""Why a surviving mutant may stay: no input tells it apart, or only one that no rule is about."""


def _both(name: str, *more: str) -> tuple[str, ...]:
    return (f"conformance_tests/spec/test_{name}.py", *more, f"property_tests/test_{name}.py")


LEADERBOARD = "property_tests/test_scoring_leaderboard.py"

TESTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "timing": _both("timing"),
        "evaluation": _both("evaluation"),
        "goals": _both("evaluation"),
        "hits": ("conformance_tests/spec/test_hits.py", LEADERBOARD),
        "scoring": _both("scoring", "conformance_tests/spec/test_credit.py"),
        "profiles": _both("scoring", "conformance_tests/spec/test_credit.py"),
        "speedup": ("conformance_tests/spec/test_speedup.py", LEADERBOARD),
        "leaderboard": ("conformance_tests/spec/test_leaderboard.py", LEADERBOARD),
        "credit": ("conformance_tests/spec/test_credit.py", *_both("heldout")),
        "heldout": _both("heldout"),
        "target_setting": _both("target_setting"),
        "target_budget": _both("target_setting"),
        "variant_testing": (
            "conformance_tests/spec/test_variant_testing.py",
            "property_tests/test_target_setting.py",
        ),
        "halton": _both("tuning"),
        "search_space": _both("tuning"),
        "tuning": _both("tuning"),
        "rulesets": _both("rulesets"),
        "schedules": _both("schedules"),
        "dropout": _both("dropout"),
        "data_order": _both("data_order"),
        "costs": _both("costs"),
        "hardware": _both("hardware"),
        "versions": _both("versions"),
        "records": _both("records"),
        "validity": _both("validity"),
        "requirements_file": _both("validity"),
        "calls": ("conformance_tests/spec/test_calls.py",),
        "workloads": _both("workloads"),
        "tiers": ("conformance_tests/spec/test_tiers.py", "property_tests/test_workloads.py"),
        "clauses": _both("clauses"),
        "submission_functions": ("conformance_tests/spec/test_calls.py", *_both("submission")),
    }
)
"""The modules of ``spec/`` that are mutated, and the tests that run on each mutant."""


def path_of(module: str) -> Path:
    """The file of a module of ``spec/``."""
    return ROOT / "spec" / f"{module}.py"


@dataclass(frozen=True, slots=True)
class Place:
    """What identifies a mutant while lines move and neighbours change.

    Attributes:
      module: a key of :data:`TESTS`.
      function: qualified name of the function or class that it is in; empty at module level.
      diff: the lines that it changes, without indentation: ``- before``, ``+ after``.
    """

    module: str
    function: str
    diff: tuple[str, ...]

    def __str__(self) -> str:
        return "\n  ".join([f"spec.{self.module}: {self.function or 'module level'}", *self.diff])


@dataclass(frozen=True, slots=True)
class Survivor:
    """A mutant that no test can or need tell from the original.

    Attributes:
      place: the mutant.
      kind: one of :data:`KINDS`.
      reason: why that is so.
    """

    place: Place
    kind: str
    reason: str


def load_survivors(path: Path = SURVIVORS_FILE) -> list[Survivor]:
    """Reads the list of accepted survivors.

    Raises:
      ValueError: an entry has other fields than it must have, or one is not of its type.
    """
    survivors = []
    for row in json.loads(path.read_text(encoding="utf-8")):
        if set(row) != {"module", "function", "diff", "kind", "reason"}:
            raise ValueError(f"{path.name}: an entry has the fields {sorted(row)}")
        texts = [row["module"], row["function"], row["kind"], row["reason"], *row["diff"]]
        if not isinstance(row["diff"], list) or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"{path.name}: an entry holds something else than text: {row}")
        place = Place(row["module"], row["function"], tuple(row["diff"]))
        survivors.append(Survivor(place, row["kind"], row["reason"]))
    return survivors
