"""``python -m conformance_tests.mutation timing evaluation``: do the tests notice each change?

Each mutant is tried in a forked process, in which the import of its module finds the changed text.
No file is changed, and the start of Python and the import of numpy, pytest and Hypothesis
are paid for once.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_loader
from pathlib import Path
from types import CodeType
from typing import IO

import hypothesis.stateful
import numpy as np
import pytest

from conformance_tests.mutation.modules import ROOT, TESTS, load_survivors, path_of
from conformance_tests.mutation.mutants import mutants
from conformance_tests.mutation.report import Result, problems, table

# Imported for the forked processes, which would import them again and again.
PRELOADED = (hypothesis.stateful, np)

MEMORY_LIMIT_BYTES = 8 << 30
"""A mutant that fills the memory fails instead of taking the machine with it."""

PYTEST = ("-x", "-q", "-p", "no:cacheprovider", "-p", "_hypothesis_pytestplugin")


class _Changed(SourceFileLoader):
    """Loads a module from a changed text."""

    def __init__(self, name: str, path: str, source: str) -> None:
        super().__init__(name, path)
        self._source = source

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._source, self.path, "exec", dont_inherit=True)


class _Finder:
    """Stands before the other finders and knows one module."""

    def __init__(self, name: str, path: Path, source: str) -> None:
        self._name, self._loader = name, _Changed(name, str(path), source)

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return spec_from_loader(name, self._loader) if name == self._name else None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the tests of a module went.

    Attributes:
      passed: all of them passed.
      cpu_seconds: processor time that they took.
      output: what pytest printed.
    """

    passed: bool
    cpu_seconds: float
    output: str


def run_tests(module: str, source: str, cpu_limit_seconds: float) -> Outcome:
    """Runs the tests of a module on a text of it, in a process of its own.

    The limit is one of processor time, so that a busy machine does not count as an endless loop.
    A process that waits without computing ends at twenty times the limit.
    """
    with tempfile.TemporaryFile() as output:
        pid = os.fork()
        if pid == 0:
            _test_and_exit(module, source, cpu_limit_seconds, output)
        try:
            status, cpu_seconds = _wait(pid, 20 * cpu_limit_seconds)
        finally:
            _kill_group(pid)
        output.seek(0)
        text = output.read().decode(errors="replace")
    return Outcome(status == 0, cpu_seconds, text)


def _test_and_exit(module: str, source: str, cpu_limit: float, output: IO[bytes]) -> None:
    code = 1
    try:
        os.setsid()  # so that what the tests start ends with them
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        resource.setrlimit(resource.RLIMIT_CPU, (int(cpu_limit) + 1, int(cpu_limit) + 2))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT_BYTES, MEMORY_LIMIT_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.environ["HYPOTHESIS_PROFILE"] = "mutation"
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        os.chdir(ROOT)
        sys.meta_path.insert(0, _Finder(f"spec.{module}", path_of(module), source))
        code = int(pytest.main([*PYTEST, *TESTS[module]]))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # nothing of the parent's clean-up may run twice


def _wait(pid: int, limit_seconds: float) -> tuple[int, float]:
    end = time.monotonic() + limit_seconds
    while True:
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            return status, usage.ru_utime + usage.ru_stime
        if time.monotonic() > end:
            _kill_group(pid)
            os.kill(pid, signal.SIGKILL)
            end = float("inf")
        time.sleep(0.01)


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # nothing of the group is left


class TestsFail(Exception):
    """Nothing can be said about the mutants of a module whose tests fail without one."""


def try_module(module: str) -> Result:
    """Tries all mutants of a module.

    Raises:
      TestsFail: they do so on the module as it is.
    """
    start = time.monotonic()
    source = path_of(module).read_text(encoding="utf-8")
    unchanged = run_tests(module, source, 600.0)
    if not unchanged.passed:
        raise TestsFail(f"the tests of spec.{module} fail without a mutant:\n{unchanged.output}")
    limit = 5.0 + 5.0 * unchanged.cpu_seconds
    survivors, num_mutants = [], 0
    for mutant in mutants(module, source):
        num_mutants += 1
        if run_tests(module, mutant.source, limit).passed:
            survivors.append(mutant.place)
            print(f"survived {mutant.place}", flush=True)
    return Result(module, num_mutants, tuple(survivors), time.monotonic() - start)


def main(arguments: Sequence[str] | None = None) -> int:
    """Tries the modules that the command line names, all of them if it names none."""
    parser = argparse.ArgumentParser(prog="python -m conformance_tests.mutation")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=", ".join(TESTS))
    modules = parser.parse_args(arguments).modules
    if unknown := [name for name in modules if name not in TESTS]:
        parser.error(f"no such module: {', '.join(unknown)}; known: {', '.join(TESTS)}")
    results, failing = [], []
    for module in modules or TESTS:
        try:
            results.append(try_module(module))
        except TestsFail as error:
            failing.append(str(error))
            continue
        print("\n".join(table(results[-1:])[1:]), flush=True)
    print("\n".join(["", *table(results)]))
    found = [*failing, *problems(results, load_survivors())]
    print("\n".join(found) or "every survivor is in the list, with its reason")
    return 1 if found else 0


if __name__ == "__main__":
    if "spec" in sys.modules:
        raise SystemExit("spec is imported already; a mutant would not be seen")
    raise SystemExit(main())
