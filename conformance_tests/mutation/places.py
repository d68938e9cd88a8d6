"""Where a mutant is, in words that stay the same while lines move."""

from __future__ import annotations

import ast
import difflib

from conformance_tests.mutation.modules import Place


def place(module: str, before: str, after: str) -> Place:
    """Where two texts of a module differ."""
    old, new = before.splitlines(), after.splitlines()
    diff = list(difflib.unified_diff(old, new, lineterm="", n=0))[2:]
    changes = tuple(f"{line[0]} {line[1:].strip()}" for line in diff if line[0] in "+-")
    pairs = enumerate(zip(old, new, strict=False), 1)
    first = next((number for number, (a, b) in pairs if a != b), len(old))
    return Place(module, enclosing(before, first), changes)


def enclosing(source: str, line: int) -> str:
    """Qualified name of the innermost function or class around a line; empty if there is none."""
    names = {number: name for name, lines in definitions(source) for number in lines}
    return names.get(line, "")


def definitions(source: str) -> list[tuple[str, range]]:
    """Qualified names of functions and classes with their lines, outer ones first."""
    found: list[tuple[str, range]] = []

    def walk(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                name = f"{prefix}{child.name}"
                found.append((name, range(child.lineno, (child.end_lineno or child.lineno) + 1)))
                walk(child, f"{name}.")
            else:
                walk(child, prefix)

    walk(ast.parse(source), "")
    return found
