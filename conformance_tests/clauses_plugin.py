"""Pytest plugin: tests cite clauses of the rules, and ``--clauses`` checks the citations.

``@pytest.mark.clause("TIM-3", "TIM-4")`` says that a test is evidence for these clauses. With
``--clauses`` tests are collected but not run; every clause must be cited by a test, and every
cited id must exist. Loaded with ``-p conformance_tests.clauses_plugin``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pytest

from spec.clauses import VERSIONS, Clause, ClauseError, load_all


@dataclass(frozen=True)
class Citations:
    """What the collected tests cite.

    Attributes:
      tests: node ids, without parameters, of the tests that cite a clause id.
      malformed: tests whose marker has no ids or something else than ids.
    """

    tests: Mapping[str, frozenset[str]] = field(default_factory=dict)
    malformed: frozenset[str] = frozenset()


def citations(items: Iterable[pytest.Item]) -> Citations:
    """Reads the clause markers of collected tests."""
    tests: defaultdict[str, set[str]] = defaultdict(set)
    malformed: set[str] = set()
    for item in items:
        test = item.nodeid.split("[", 1)[0]
        for marker in item.iter_markers("clause"):
            if not marker.args or marker.kwargs:
                malformed.add(test)
            for clause_id in marker.args:
                if isinstance(clause_id, str):
                    tests[clause_id].add(test)
                else:
                    malformed.add(test)
    return Citations(
        {clause_id: frozenset(cited_by) for clause_id, cited_by in tests.items()},
        frozenset(malformed),
    )


def problems(clauses: Mapping[str, Clause], cited: Citations) -> list[str]:
    """What is wrong with the citations, one sentence each; empty if nothing is."""
    untested = [
        f"clause {clause.id} ({clause.implementation}) is not cited by any test"
        for clause in clauses.values()
        if clause.id not in cited.tests
    ]
    unknown = [
        f"unknown clause {clause_id} is cited by {', '.join(sorted(cited.tests[clause_id]))}"
        for clause_id in sorted(set(cited.tests) - set(clauses))
    ]
    malformed = [
        f"{test} has a clause marker without clause ids, write @pytest.mark.clause('TIM-3')"
        for test in sorted(cited.malformed)
    ]
    return untested + unknown + malformed


def table(clauses: Mapping[str, Clause], cited: Citations) -> list[str]:
    """Lines of the table: clause, versions, implementation, number of tests."""
    rows = [("clause", "versions", "implementation", "tests")]
    for clause in clauses.values():
        versions = "all" if clause.versions == VERSIONS else " ".join(clause.versions)
        tests = str(len(cited.tests.get(clause.id, ())))
        rows.append((clause.id, versions, clause.implementation, tests))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]])
        for row in rows
    ]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("clauses").addoption(
        "--clauses",
        action="store_true",
        help="run no test; check that every clause of spec/ is cited by a test and exists",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "clause(*ids): clauses of spec/ that the test is for")
    if config.getoption("clauses"):
        config.pluginmanager.register(_Check(), "clauses-check")


class _Check:
    """Takes the place of the test run under ``--clauses``."""

    def __init__(self) -> None:
        self._clauses: Mapping[str, Clause] = {}
        self._cited = Citations()

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        if session.config.getoption("numprocesses", None):
            raise pytest.UsageError("--clauses collects in one process; leave out -n")
        try:
            self._clauses = load_all()
        except ClauseError as error:
            # Before collection: each test module that imports spec would fail on the same error.
            raise pytest.UsageError(str(error)) from None

    @pytest.hookimpl(tryfirst=True)  # Tests that -m or -k deselects still cite their clauses.
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        self._cited = citations(items)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        if session.testsfailed:
            return None  # collection errors: pytest reports them and stops
        return True

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        harmless = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
        if exitstatus in harmless:
            wrong = bool(problems(self._clauses, self._cited))
            session.exitstatus = pytest.ExitCode.TESTS_FAILED if wrong else pytest.ExitCode.OK

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        found = problems(self._clauses, self._cited)
        terminalreporter.section("clauses")
        for line in table(self._clauses, self._cited):
            terminalreporter.line(line)
        for problem in found:
            terminalreporter.line(f"error: {problem}", red=True)
        terminalreporter.line(f"{len(self._clauses)} clauses, {len(found)} problems")
