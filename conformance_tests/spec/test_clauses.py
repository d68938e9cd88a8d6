"""The clause registry, and the pytest plugin that checks citations of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conformance_tests import clauses_plugin
from spec import clauses
from spec.clauses import CHAPTERS, VERSIONS, Clause, ClauseError, Source, UnknownVersion

pytest_plugins = ["pytester"]

ROOT = Path(clauses.__file__).parents[1]
FRAMEWORKS = ("jax", "flax", "torch", "tensorflow", "optax")
RULES = Source("Rules v0.6", "Scoring")


@pytest.fixture
def empty_registry(monkeypatch: pytest.MonkeyPatch) -> dict[str, Clause]:
    registry: dict[str, Clause] = {}
    monkeypatch.setattr(clauses, "_REGISTRY", registry)
    return registry


def test_the_decorator_registers_the_function_and_returns_it_unchanged(
    empty_registry: dict[str, Clause],
) -> None:
    def function() -> int:
        return 3

    decorated = clauses.clause("TIM-1", "Time  passes\n  only forwards.", source=RULES)(function)
    assert decorated is function
    assert empty_registry["TIM-1"] == Clause(
        "TIM-1",
        "Time passes only forwards.",
        (RULES,),
        VERSIONS,
        f"{__name__}.{function.__qualname__}",
    )


@pytest.mark.parametrize(
    "clause_id", ["TIM", "TIM-0", "TIM-01", "tim-1", "T-1", "TIM-1 ", "TIM--1"]
)
def test_a_malformed_id_is_an_error(clause_id: str, empty_registry: dict[str, Clause]) -> None:
    with pytest.raises(ClauseError, match="not of the form"):
        clauses.rule(clause_id, "Statement.", source=RULES, implementation="spec.x")
    assert not empty_registry


def test_an_unknown_chapter_is_an_error_that_lists_the_chapters(
    empty_registry: dict[str, Clause],
) -> None:
    with pytest.raises(ClauseError, match="unknown chapter, known: RULE, WORK"):
        clauses.rule("TIME-1", "Statement.", source=RULES, implementation="spec.x")


def test_a_clause_without_source_or_with_an_unknown_version_is_an_error(
    empty_registry: dict[str, Clause],
) -> None:
    with pytest.raises(ClauseError, match="names no source"):
        clauses.rule("TIM-1", "Statement.", source=(), implementation="spec.x")
    for versions in [("v0.7",), ("v0.6", "v1"), ()]:
        with pytest.raises(ClauseError, match="unknown ruleset versions"):
            clauses.rule(
                "TIM-1", "Statement.", source=RULES, implementation="spec.x", versions=versions
            )
    assert not empty_registry


def test_an_id_used_twice_is_an_error_that_names_both_implementations(
    empty_registry: dict[str, Clause],
) -> None:
    clauses.rule("TIM-1", "Statement.", source=RULES, implementation="spec.x")
    with pytest.raises(ClauseError, match=r"TIM-1 is used by spec\.x and by spec\.y"):
        clauses.rule("TIM-1", "Statement.", source=RULES, implementation="spec.y")
    with pytest.raises(ClauseError, match=r"declared twice in spec\.x, with different texts"):
        clauses.rule("TIM-1", "Another statement.", source=RULES, implementation="spec.x")


def test_every_clause_is_well_formed_and_its_implementation_can_be_found() -> None:
    loaded = clauses.load_all()
    assert loaded
    for clause in loaded.values():
        assert clause.statement.endswith("."), clause.id
        assert clause.statement.isascii(), clause.id
        module, _, attribute = clause.implementation.partition("spec.")[2].partition(".")
        found = sys.modules[f"spec.{module}"]
        for part in attribute.split("."):
            found = getattr(found, part)
        assert clause.chapter in CHAPTERS


def test_clauses_are_in_reading_order() -> None:
    ids = list(clauses.load_all())
    numbers = [(list(CHAPTERS).index(i.split("-")[0]), int(i.split("-")[1])) for i in ids]
    assert numbers == sorted(numbers)


def test_versions_are_checked_by_name() -> None:
    assert [clauses.check_version(version) for version in VERSIONS] == list(VERSIONS)
    with pytest.raises(UnknownVersion, match=r"'v0\.7'; known: paper2023, v0\.5, v0\.6"):
        clauses.check_version("v0.7")


def test_importing_all_of_spec_is_quick_and_pulls_in_no_framework() -> None:
    program = f"""
import json, sys, time
import numpy
before = time.process_time()
import spec
spec.clauses.load_all()
seconds = time.process_time() - before
print(json.dumps([seconds, [name for name in {FRAMEWORKS!r} if name in sys.modules]]))
"""
    runs = [json.loads(_python("-c", program).stdout) for _ in range(3)]
    assert all(imported == [] for _, imported in runs)
    assert min(seconds for seconds, _ in runs) < 0.2


def test_importing_the_submission_api_alone_pulls_in_no_framework() -> None:
    program = f"""
import sys
import spec.submission
print([name for name in {FRAMEWORKS!r} if name in sys.modules])
"""
    assert _python("-c", program).stdout.strip() == "[]"


def test_the_package_offers_its_modules_and_nothing_else() -> None:
    import spec

    assert dir(spec) == sorted(spec.__all__)
    for name in spec.__all__:
        assert getattr(spec, name) is sys.modules[f"spec.{name}"]
    with pytest.raises(AttributeError, match="no attribute 'timming'"):
        spec.__getattr__("timming")


def _python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )


# The plugin, run on a small rule book of its own.

ONE_RULE = """
from spec.clauses import Source, clause

@clause("TIM-1", "Time passes.", source=Source("Decisions", "3"), versions=("v0.6",))
def advance(): ...
"""

ANOTHER_RULE = """
from spec.clauses import Source, clause

@clause({id!r}, "Time is money.", source=Source("Decisions", "3"))
def charge(): ...
"""

CITING_TEST = """
import pytest

@pytest.mark.parametrize("value", [1, 2])
@pytest.mark.clause({ids})
def test_time_passes(value):
    raise AssertionError("--clauses must not run tests")
"""


@pytest.fixture
def rule_book(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A directory with a ``spec`` of one clause; it shadows the real one in subprocesses."""
    package = pytester.mkpydir("spec")
    shutil.copy(clauses.__file__, package / "clauses.py")
    (package / "first.py").write_text(ONE_RULE)
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    return pytester


def check(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess(
        "-p", "conformance_tests.clauses_plugin", "--clauses", *arguments
    )


def test_the_plugin_accepts_a_rule_book_whose_clauses_are_all_cited_and_runs_no_test(
    rule_book: pytest.Pytester,
) -> None:
    (rule_book.path / "spec" / "second.py").write_text(ANOTHER_RULE.format(id="TIM-2"))
    rule_book.makepyfile(test_time=CITING_TEST.format(ids="'TIM-1', 'TIM-2'"))
    properties = rule_book.mkdir("property_tests")
    (properties / "test_more.py").write_text(CITING_TEST.format(ids="'TIM-2'"))
    result = check(rule_book, "--import-mode=importlib", "-m", "not clause")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "clause *versions *implementation *tests",
            "TIM-1 *v0.6 *spec.first.advance *1",
            "TIM-2 *all *spec.second.charge *2",
            "2 clauses, 0 problems",
        ]
    )


def test_the_plugin_fails_on_a_clause_that_no_test_cites(rule_book: pytest.Pytester) -> None:
    rule_book.makepyfile(test_time="def test_nothing():\n    pass\n")
    result = check(rule_book)
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["error: clause TIM-1 (spec.first.advance) is not cited by any test"]
    )


def test_the_plugin_fails_on_a_test_that_cites_an_unknown_clause(
    rule_book: pytest.Pytester,
) -> None:
    rule_book.makepyfile(test_time=CITING_TEST.format(ids="'TIM-1', 'TIM-7'"))
    result = check(rule_book)
    assert result.ret == 1
    result.stdout.fnmatch_lines(
        ["error: unknown clause TIM-7 is cited by test_time.py::test_time_passes"]
    )


def test_the_plugin_fails_in_one_line_on_an_id_used_twice(rule_book: pytest.Pytester) -> None:
    (rule_book.path / "spec" / "second.py").write_text(ANOTHER_RULE.format(id="TIM-1"))
    rule_book.makepyfile(test_time=CITING_TEST.format(ids="'TIM-1'"))
    result = check(rule_book)
    assert result.ret != 0
    output = [line for line in (*result.outlines, *result.errlines) if "TIM-1" in line]
    assert output == [
        "ERROR: clause id TIM-1 is used by spec.first.advance and by spec.second.charge"
    ]


def test_the_plugin_fails_on_a_marker_without_ids(rule_book: pytest.Pytester) -> None:
    rule_book.makepyfile(test_time=CITING_TEST.format(ids="'TIM-1'") + CITING_TEST.format(ids=""))
    result = check(rule_book)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["error: test_time.py::test_time_passes has a clause marker *"])


def test_the_plugin_fails_when_tests_cannot_be_collected(rule_book: pytest.Pytester) -> None:
    rule_book.makepyfile(
        test_time=CITING_TEST.format(ids="'TIM-1'"), test_broken="import no_such_module"
    )
    assert check(rule_book).ret == pytest.ExitCode.INTERRUPTED


def test_the_plugin_asks_for_one_process(rule_book: pytest.Pytester) -> None:
    result = check(rule_book, "-p", "xdist.plugin", "-n", "1")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --clauses collects in one process; leave out -n"])


def test_without_the_option_tests_run_and_the_marker_is_known(rule_book: pytest.Pytester) -> None:
    rule_book.makepyfile(
        test_time="import pytest\n@pytest.mark.clause('TIM-9')\ndef test_it():\n    pass\n"
    )
    result = rule_book.runpytest_subprocess(
        "-p", "conformance_tests.clauses_plugin", "--strict-markers"
    )
    result.assert_outcomes(passed=1)


def test_problems_are_reported_in_the_order_of_the_rule_book() -> None:
    book = {
        clause_id: Clause(clause_id, "Statement.", (RULES,), VERSIONS, f"spec.x.{clause_id}")
        for clause_id in ("RULE-2", "TIM-1")
    }
    cited = clauses_plugin.Citations(
        {"TIM-1": frozenset({"t::b", "t::a"}), "SUB-9": frozenset("t")}
    )
    assert clauses_plugin.problems(book, cited) == [
        "clause RULE-2 (spec.x.RULE-2) is not cited by any test",
        "unknown clause SUB-9 is cited by t",
    ]
    assert [line.split()[-1] for line in clauses_plugin.table(book, cited)] == ["tests", "0", "2"]


def test_a_broken_rule_says_which() -> None:
    class Late(clauses.BrokenRule, clause="TIM-1"): ...

    class VeryLate(Late): ...

    assert str(Late("the clock stands still")) == "the clock stands still [TIM-1]"
    assert VeryLate("x").clause == "TIM-1"
    assert str(clauses.BrokenRule("base")) == "base"
