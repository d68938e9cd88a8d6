"""Which tests cite which clauses, read from the source of the tests without importing them.

A test cites a clause by ``pytest.mark.clause("ID", ...)`` as a decorator of the function or of its
class, in ``pytestmark``, in the ``marks`` of a parameter, or through a module-level name that
stands for any of these. Ids that the code computes (an attribute, a loop variable) are not seen;
``nox -s clauses``, which collects the tests, sees all.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

TEST_FOLDERS: tuple[str, ...] = ("conformance_tests", "property_tests")
"""Folders beside the package ``spec`` that hold tests."""

_Function = ast.FunctionDef | ast.AsyncFunctionDef


def citing_tests(root: Path | None = None) -> Mapping[str, tuple[str, ...]] | None:
    """Reads all tests beside the package.

    Args:
      root: the folder that holds the folders of tests, by default that of the package ``spec``.

    Returns:
      Tests (``path::function``) by clause id, sorted; None if no folder of tests is there.
    """
    root = Path(__file__).resolve().parents[1] if root is None else root
    folders = [root / name for name in TEST_FOLDERS if (root / name).is_dir()]
    if not folders:
        return None
    found: defaultdict[str, set[str]] = defaultdict(set)
    for folder in folders:
        for path in sorted(folder.rglob("test_*.py")):
            name = path.relative_to(root).as_posix()
            for test, ids in citations(path.read_text(encoding="utf-8")).items():
                for id in ids:
                    found[id].add(f"{name}::{test}")
    return {id: tuple(sorted(tests)) for id, tests in found.items()}


def citations(source: str) -> Mapping[str, frozenset[str]]:
    """Reads one test module.

    Args:
      source: its text.

    Returns:
      Clause ids by test, ``function`` or ``Class::function``; tests that cite none are left out.

    Raises:
      SyntaxError: the text is not Python.
    """
    module = ast.parse(source)
    names = _Names(module.body)
    found: dict[str, frozenset[str]] = {}

    def read(body: Sequence[ast.stmt], prefix: str, inherited: frozenset[str]) -> None:
        inherited |= _marked(body, names)
        for node in body:
            if isinstance(node, _Function) and node.name.startswith("test"):
                ids = inherited.union(*map(names.ids, node.decorator_list))
                found[prefix + node.name] = found.get(prefix + node.name, frozenset()) | ids
            elif isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
                own = inherited.union(*map(names.ids, node.decorator_list))
                read(node.body, f"{prefix}{node.name}::", own)
            elif isinstance(node, ast.Assign):
                # A class that is made elsewhere and marked: TestRun = mark(Machine.TestCase).
                for target in node.targets:
                    if isinstance(target, ast.Name) and target.id.startswith("Test"):
                        found[prefix + target.id] = inherited | names.ids(node.value)

    read(module.body, "", frozenset())
    return {test: ids for test, ids in found.items() if ids}


def _marked(body: Sequence[ast.stmt], names: _Names) -> frozenset[str]:
    """Ids in the ``pytestmark`` of a module or class."""
    ids: frozenset[str] = frozenset()
    for node in body:
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "pytestmark" for target in node.targets
        ):
            ids |= names.ids(node.value)
    return ids


class _Names:
    """What the names of a module stand for."""

    def __init__(self, body: Sequence[ast.stmt]) -> None:
        self._values: dict[str, ast.expr] = {}
        for node in body:
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    if isinstance(target, ast.Name):
                        self._values[target.id] = node.value
            elif (
                isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value
            ):
                self._values[node.target.id] = node.value

    def ids(self, expression: ast.expr) -> frozenset[str]:
        """Clause ids of all markers in an expression and in what its names stand for."""
        ids: set[str] = set()
        for node in self._walk(expression, set()):
            if isinstance(node, ast.Call) and _is_marker(node.func):
                for argument in node.args:
                    ids |= {
                        part.value
                        for part in self._walk(argument, set())
                        if isinstance(part, ast.Constant) and isinstance(part.value, str)
                    }
        return frozenset(ids)

    def _walk(self, expression: ast.expr, seen: set[str]) -> Iterator[ast.AST]:
        for node in ast.walk(expression):
            yield node
            if isinstance(node, ast.Name) and node.id in self._values and node.id not in seen:
                seen.add(node.id)
                yield from self._walk(self._values[node.id], seen)


def _is_marker(function: ast.expr) -> bool:
    """Whether an expression is ``pytest.mark.clause`` or ``mark.clause``."""
    if not (isinstance(function, ast.Attribute) and function.attr == "clause"):
        return False
    owner = function.value
    return (isinstance(owner, ast.Attribute) and owner.attr == "mark") or (
        isinstance(owner, ast.Name) and owner.id == "mark"
    )
