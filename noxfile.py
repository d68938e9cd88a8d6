"""Sessions: ``python3 -m nox -l`` lists them. Each installs what it needs.

The sessions share one environment, ``.nox/shared``, with JAX, PyTorch and everything else at the
versions of ``constraints/v0.6.txt``, so that a full run installs them once. It is filled anew when
``pyproject.toml`` or the constraints change.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nox

CONSTRAINTS = "constraints/v0.6.txt"
QUICK = "not slow and not browser"
ROOT = Path(__file__).parent

nox.options.sessions = ["lint", "clauses", "tests"]
nox.options.default_venv_backend = "none"  # the sessions bring the shared environment

SHARED = ROOT / ".nox" / "shared"
PYTHON = SHARED / ("Scripts" if sys.platform == "win32" else "bin") / "python"

TEST_ENVIRONMENT = {
    # The tests run in two processes; frameworks that each start a thread per core would get in
    # each other's way, which costs more than the threads bring.
    "OMP_NUM_THREADS": "1",
    # JAX compiles a step once for all tests.
    "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".nox" / "jax-cache"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
}


def install(session: nox.Session) -> None:
    """Fills the shared environment, unless it already has this state of the project."""
    inputs = b"".join((ROOT / name).read_bytes() for name in ("pyproject.toml", CONSTRAINTS))
    state = hashlib.sha256(inputs + f"{ROOT} {sys.version}".encode()).hexdigest()
    stamp = SHARED / "installed.txt"
    if stamp.exists() and stamp.read_text() == state:
        session.log("the shared environment is up to date")
        return
    session.log("filling the shared environment with JAX, PyTorch and the rest; some minutes, once")
    session.run(sys.executable, "-m", "venv", "--clear", str(SHARED), external=True)
    run(session, "-m", "pip", "install", "--quiet", "-c", CONSTRAINTS, "-e", ".[all]")
    stamp.write_text(state)


def run(session: nox.Session, *arguments: str, **options: Any) -> None:
    """Runs the shared environment's Python."""
    session.run(str(PYTHON), *arguments, external=True, **options)


def pytest(session: nox.Session, *arguments: str) -> None:
    """Runs pytest; what stands after ``--`` on the command line is added."""
    install(session)
    run(session, "-m", "pytest", *arguments, *session.posargs, env=TEST_ENVIRONMENT)


def missing_chromium() -> str:
    """What to install for the browser tests; empty if they find a Chromium."""
    search = [str(PYTHON), "-m", "conformance_tests.support.browser"]
    found = subprocess.run(search, cwd=ROOT, capture_output=True, text=True, check=False)
    return found.stderr.strip().removeprefix("error: ") if found.returncode else ""


def require_chromium(session: nox.Session) -> None:
    """Installs Chromium by ``apt-get`` where that is possible and none is found."""
    missing = missing_chromium()
    if not missing:
        return
    root = os.name == "posix" and os.geteuid() == 0
    prefix = [] if root else ["sudo", "-n"]  # a sudo that asks for a password is not used
    allowed = root or (
        shutil.which("sudo") is not None
        and subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0
    )
    if not allowed or shutil.which("apt-get") is None or os.environ.get("CHROMIUM"):
        session.error(missing)
    session.run(*prefix, "apt-get", "update", external=True)
    session.run(
        *prefix, "apt-get", "install", "-y", "--no-install-recommends", "chromium", external=True
    )
    if missing := missing_chromium():
        session.error(missing)


@nox.session
def quickstart(session: nox.Session) -> None:
    """Prepare the molecules, train NadamW to the mini target, score it (about 3 minutes)."""
    install(session)
    run(session, "-m", "algoperf_ref.quickstart", *session.posargs)


@nox.session
def leaderboard(session: nox.Session) -> None:
    """Reference submissions on all mini workloads, run and scored (an hour on two cores)."""
    install(session)
    run(session, "-m", "algoperf_ref.leaderboard", *session.posargs)


@nox.session
def score_demo(session: nox.Session) -> None:
    """Score the six self-tuning submissions of the first competition (v0.5)."""
    install(session)
    logs = "algoperf_ref/score/data/v05_self_tuning.tar.xz"
    arguments = ("--rules", "v0.5", "--ruleset", "self", "--output", ".nox/score_demo")
    run(session, "-m", "algoperf_ref.score", logs, *arguments, *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """All tests but the long ones."""
    pytest(session, "-m", QUICK, "-n", "2", "conformance_tests", "property_tests")


@nox.session
def conformance(session: nox.Session) -> None:
    """Do the harness, the workloads and the reference submissions satisfy the spec?"""
    pytest(session, "-m", QUICK, "-n", "2", "conformance_tests")


@nox.session
def property(session: nox.Session) -> None:
    """The Hypothesis tests, with many more examples than in ``tests``."""
    pytest(session, "-n", "2", "property_tests", "--hypothesis-profile=thorough")


@nox.session
def perf(session: nox.Session) -> None:
    """The performance tests: ratios of our code to a twin, measured in one run."""
    pytest(session, "-s", "perf_tests", "--benchmark-columns=median,rounds")


@nox.session
def long(session: nox.Session) -> None:
    """The tests marked slow: training to the mini targets, preparing the whole mini data set."""
    pytest(session, "-m", "slow and not browser", "conformance_tests", "property_tests")


@nox.session
def browser(session: nox.Session) -> None:
    """The rule book and the score report in headless Chromium."""
    install(session)
    require_chromium(session)
    pytest(session, "-m", "browser", "conformance_tests/browser")


@nox.session
def lint(session: nox.Session) -> None:
    """Format, lint, strict types, and the import contracts of the house."""
    install(session)
    run(session, "-m", "ruff", "format", "--check", ".")
    run(session, "-m", "ruff", "check", ".")
    run(session, "-m", "mypy")
    session.run(str(PYTHON.with_name("lint-imports")), external=True)


@nox.session
def mutation(session: nox.Session) -> None:
    """Do the tests of spec/ notice each small change? (Linux, macOS; modules after ``--``.)"""
    install(session)
    run(session, "-m", "pip", "install", "--quiet", "-c", CONSTRAINTS, "-e", ".[mutation]")
    run(session, "-m", "pytest", "-q", "conformance_tests/mutation", env=TEST_ENVIRONMENT)
    run(session, "-m", "conformance_tests.mutation", *session.posargs, env=TEST_ENVIRONMENT)


@nox.session
def clauses(session: nox.Session) -> None:
    """Every clause has a test, every cited clause exists, no id is used twice."""
    pytest(session, "--clauses", "-q", "conformance_tests", "property_tests")
