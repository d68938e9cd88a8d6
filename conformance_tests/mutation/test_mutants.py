"""The mutants themselves. ``nox -s mutation`` installs what these tests need and runs them."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("cosmic_ray", reason="the extra `mutation` is not installed")

from conformance_tests.mutation.modules import ROOT
from conformance_tests.mutation.mutants import mutants, operators

SOURCE = '''"""Text with 1 < 2."""


@clause("TIM-1", "At most 1.", versions=VERSIONS[1:])
def check(value: int | None, *, names: tuple[str, ...] = ()) -> int:
    if value not in names:
        raise Unknown(f"{value + 1} is none of {names}")
    return max(names)


rule("TIM-2", "Statement.", source=SOURCES[0])
'''


def _diffs(source: str) -> set[tuple[str, ...]]:
    return {mutant.place.diff for mutant in mutants("timing", source)}


def test_only_what_computes_is_mutated() -> None:
    assert _diffs(SOURCE) == {
        ("- if value not in names:", "+ if not value not in names:"),
        ("- if value not in names:", "+ if value in names:"),
        ("- return max(names)", "+ return min(names)"),
    }


def test_every_mutant_comes_once_and_differs_from_the_original() -> None:
    source = "def f(a, b):\n    return a < b and a + 1 < b\n"
    found = [mutant.source for mutant in mutants("timing", source)]
    assert len(set(found)) == len(found)
    assert source not in found
    assert "def f(a, b):\n    return a <= b and a + 1 < b\n" in found
    assert "def f(a, b):\n    return a < b or a + 1 < b\n" in found
    assert len({operator.__class__.__name__ for operator in operators()}) == len(operators())


# In a process of its own: pytest has imported parts of spec/ here, which hides a changed text.
TRY = """
import sys
from conformance_tests.mutation.__main__ import run_tests
from conformance_tests.mutation.modules import path_of
source = path_of("goals").read_text(encoding="utf-8")
assert sys.argv[1] in source
outcome = run_tests("goals", source.replace(sys.argv[1], sys.argv[2]), 30.0)
print(outcome.output)
sys.exit(0 if outcome.passed else 3)
"""
COMPARED = "return value <= target if"


@pytest.mark.parametrize(
    ("replacement", "code", "printed"),
    [
        (COMPARED, 0, " passed"),
        ("return value < target if", 3, "FAILED conformance_tests/spec/test_evaluation.py::"),
        ("return unknown if", 3, "NameError"),
    ],
)
def test_the_tests_see_the_changed_text_and_not_the_file(
    replacement: str, code: int, printed: str
) -> None:
    tried = subprocess.run(
        [sys.executable, "-c", TRY, COMPARED, replacement],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert tried.returncode == code, tried.stderr
    assert printed in tried.stdout


def test_a_mutant_that_never_ends_counts_as_noticed() -> None:
    endless = TRY.replace("source.replace(sys.argv[1], sys.argv[2]), 30.0", '"while True: pass", 1')
    command = [sys.executable, "-c", endless, COMPARED, ""]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 3
