"""The executable form of a clause: its documentation and its source, found by its dotted name."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import io
import keyword
import textwrap
import tokenize
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from spec.book.elements import Html, element, join, text


@dataclass(frozen=True, slots=True)
class Implementation:
    """What the book says of a function, class or table.

    Attributes:
      name: dotted name.
      kind: ``function``, ``class``, ``property`` or ``data``.
      signature: parameters and result of a function, empty otherwise.
      docstring: empty if there is none.
      source: the statement that defines it, without the indentation of its class.
      file: path below the root of the repository, with forward slashes.
      line: where it starts.
    """

    name: str
    kind: str
    signature: str
    docstring: str
    source: str
    file: str
    line: int


@functools.cache
def find(name: str) -> Implementation:
    """Looks an implementation up.

    Args:
      name: dotted name, for example ``spec.timing.Clock.start``.

    Returns:
      What is known of it.

    Raises:
      LookupError: the name leads to nothing.
    """
    module, path = _module(name)
    owner: Any = None
    value: Any = module
    for part in path:
        owner = value
        if not hasattr(owner, part):
            raise LookupError(f"{name}: {getattr(owner, '__name__', owner)!r} has no {part!r}")
        value = inspect.getattr_static(owner, part)
    if isinstance(value, staticmethod | classmethod):
        value = value.__func__
    if isinstance(value, property):
        return _of_object(name, "property", value.fget, module)
    if inspect.isclass(value):
        return _of_object(name, "class", value, module)
    function = inspect.unwrap(value) if callable(value) else None  # below functools.cache
    if inspect.isfunction(function):
        return _of_object(name, "function", function, module)
    return _of_data(name, path[-1], module)


def highlight(source: str) -> Html:
    """Marks comments, strings and keywords of Python source.

    Args:
      source: complete statements.

    Returns:
      The same text as HTML.

    Raises:
      tokenize.TokenError: not Python.
    """
    offsets = [0]
    for line in io.StringIO(source):  # the lines of the tokenizer, not those of `splitlines`
        offsets.append(offsets[-1] + len(line))
    parts: list[Html] = []
    end = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        style = _style(token)
        if style is None:
            continue
        start = offsets[token.start[0] - 1] + token.start[1]
        parts.append(text(source[end:start]))
        end = offsets[token.end[0] - 1] + token.end[1]
        parts.append(element("span", source[start:end], class_=style))
    parts.append(text(source[end:]))
    return join(parts)


def _style(token: tokenize.TokenInfo) -> str | None:
    if token.type == tokenize.COMMENT:
        return "comment"
    if token.type == tokenize.STRING:
        return "string"
    if token.type == tokenize.NAME and keyword.iskeyword(token.string):
        return "keyword"
    return None


def _module(name: str) -> tuple[ModuleType, list[str]]:
    """The module part of a dotted name, and the rest."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        candidate = ".".join(parts[:length])
        try:
            return importlib.import_module(candidate), parts[length:]
        except ModuleNotFoundError as error:
            # Only a name that is no module is tried one part shorter; a broken import is reported.
            if error.name is None or not candidate.startswith(error.name):
                raise
    raise LookupError(f"{name}: there is no such module")


def _of_object(name: str, kind: str, value: Any, module: ModuleType) -> Implementation:
    lines, line = inspect.getsourcelines(value)
    source = textwrap.dedent("".join(lines)).rstrip()
    definition = ast.parse(source).body[0]
    signature = ""
    if kind == "function" and isinstance(definition, ast.FunctionDef):
        # As it is written: `inspect.signature` quotes annotations that are not evaluated.
        result = f" -> {ast.unparse(definition.returns)}" if definition.returns else ""
        signature = f"{value.__qualname__}({ast.unparse(definition.args)}){result}"
    defined_in = inspect.getmodule(value) or module
    return Implementation(
        name,
        kind,
        signature,
        value.__doc__ or "",
        source,
        _file(defined_in),
        line,
    )


def _of_data(name: str, variable: str, module: ModuleType) -> Implementation:
    source, tree = _parsed(module)
    for number, node in enumerate(tree.body):
        if not isinstance(node, ast.Assign | ast.AnnAssign):
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if not any(isinstance(target, ast.Name) and target.id == variable for target in targets):
            continue
        docstring = ""
        if number + 1 < len(tree.body):
            match tree.body[number + 1]:
                case ast.Expr(value=ast.Constant(value=str(content))):
                    docstring = content
        return Implementation(
            name,
            "data",
            "",
            docstring,
            ast.get_source_segment(source, node) or "",
            _file(module),
            node.lineno,
        )
    raise LookupError(f"{name}: {module.__name__} has no assignment to {variable}")


@functools.cache
def _parsed(module: ModuleType) -> tuple[str, ast.Module]:
    source = inspect.getsource(module)
    return source, ast.parse(source)


def _file(module: ModuleType) -> str:
    path = module.__name__.replace(".", "/")
    return f"{path}/__init__.py" if hasattr(module, "__path__") else f"{path}.py"
