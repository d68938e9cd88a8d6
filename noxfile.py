"""Sessions: ``python3 -m nox -l`` lists them. Each installs what it needs.

The sessions share one environment, ``.nox/shared``, with JAX, PyTorch and everything else at the
versions of ``constraints/v0.6.txt``, so that a full run installs them once. It is filled anew when
``pyproject.toml`` or the constraints change.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import nox

CONSTRAINTS = "constraints/v0.6.txt"
ROOT = Path(__file__).parent

nox.options.sessions = ["lint", "clauses", "tests"]
nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True

shared = nox.session(venv_location=".nox/shared", reuse_venv=True)


def install(session: nox.Session) -> None:
    """Installs the project with all extras, unless the environment already has this state."""
    inputs = b"".join((ROOT / name).read_bytes() for name in ("pyproject.toml", CONSTRAINTS))
    state = hashlib.sha256(inputs + str(ROOT).encode()).hexdigest()
    stamp = Path(session.virtualenv.location) / "installed.txt"
    if stamp.exists() and stamp.read_text() == state:
        session.log("the shared environment is up to date")
        return
    session.install("--upgrade", "pip")
    session.install("-c", CONSTRAINTS, "-e", ".[all]")
    stamp.write_text(state)


def pytest(session: nox.Session, *arguments: str) -> None:
    """Runs pytest on both cores; arguments after ``--`` replace the paths."""
    session.run("python", "-m", "pytest", *arguments, *session.posargs)


@shared
def quickstart(session: nox.Session) -> None:
    """Prepare the molecules, train NadamW to the mini target, score it (about 3 minutes)."""
    install(session)
    session.run("python", "-m", "algoperf_ref.quickstart", *session.posargs)


@shared
def tests(session: nox.Session) -> None:
    """All tests but the long ones."""
    install(session)
    pytest(session, "-m", "not slow", "-n", "2", "conformance_tests", "property_tests")


@shared
def conformance(session: nox.Session) -> None:
    """Do the harness, the workloads and the reference submissions satisfy the spec?"""
    install(session)
    pytest(session, "-m", "not slow", "-n", "2", "conformance_tests")


@shared
def property(session: nox.Session) -> None:
    """The Hypothesis tests, with many more examples than in ``tests``."""
    install(session)
    pytest(session, "-n", "2", "property_tests", "--hypothesis-profile=thorough")


@shared
def perf(session: nox.Session) -> None:
    """The performance tests: ratios of our code to a twin, measured in one run."""
    install(session)
    pytest(session, "perf_tests", "--benchmark-columns=median,iqr,rounds")


@shared
def long(session: nox.Session) -> None:
    """The tests marked slow: training to the mini targets, preparing the whole mini data set."""
    install(session)
    pytest(session, "-m", "slow", "conformance_tests", "property_tests")


@shared
def lint(session: nox.Session) -> None:
    """Format, lint, strict types, and the import contracts of the house."""
    install(session)
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("mypy")
    session.run("lint-imports")


@shared
def clauses(session: nox.Session) -> None:
    """Every clause has a test, every cited clause exists, no id is used twice."""
    install(session)
    session.run("python", "-m", "pytest", "--clauses", "-q", "conformance_tests", "property_tests")
