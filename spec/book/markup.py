"""Docstrings as HTML: paragraphs, lists, literal blocks, and the sections of their arguments.

Only what the docstrings of this project use is understood; everything else is kept as text.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from spec.book.elements import Html, element, join, text

SECTIONS: tuple[str, ...] = ("Args", "Returns", "Raises", "Yields", "Attributes", "Example")
"""Titles of sections: a line of its own, such as ``Args:``, with indented lines below it."""

Linker = Callable[[str, str], Html]
"""Gets a name and whether it stands as ``code`` or as plain ``text``; returns its HTML."""

_INLINE = re.compile(r":[a-z]+:`(?P<role>[^`]+)`|``(?P<code>.+?)``|`(?P<name>[^`]+)`", re.DOTALL)
_ITEM = re.compile(r"(?P<name>[*\w][\w.*<>, \[\]|]*?):(?:\s+|$)(?P<rest>.*)", re.DOTALL)
_BULLET = re.compile(r"\s*-\s+")


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of a section.

    Attributes:
      name: what is explained; empty if the entry is prose.
      prose: the explanation.
    """

    name: str
    prose: str


def plain(name: str, kind: str) -> Html:
    """The linker of a text without links."""
    return element("code", name) if kind == "code" else text(name)


def inline(source: str, linker: Linker = plain) -> Html:
    """Renders the markup inside a paragraph: code, names and roles.

    Args:
      source: a paragraph.
      linker: makes links of names.

    Returns:
      The HTML; all other text is escaped.
    """
    parts: list[Html] = []
    end = 0
    for match in _INLINE.finditer(source):
        parts.append(linker(source[end : match.start()], "text"))
        name = match["role"] or match["code"] or match["name"]
        parts.append(linker(" ".join(name.split()), "code"))
        end = match.end()
    parts.append(linker(source[end:], "text"))
    return join(parts)


def render(docstring: str, linker: Linker = plain) -> Html:
    """Renders a docstring.

    Args:
      docstring: as it stands in the code, indentation included.
      linker: makes links of names.

    Returns:
      Paragraphs, lists, code blocks, and a description list per section.
    """
    return _blocks(inspect.cleandoc(docstring).splitlines(), linker)


def section(docstring: str, title: str) -> tuple[Item, ...]:
    """The entries of a section of a docstring, such as the attributes of a class.

    Args:
      docstring: the docstring.
      title: one of :data:`SECTIONS`.

    Returns:
      The entries in their order, none if there is no such section.
    """
    lines = inspect.cleandoc(docstring).splitlines()
    for number, line in enumerate(lines):
        if line == f"{title}:":
            return _items(_indented(lines, number + 1)[0])
    return ()


def _blocks(lines: Sequence[str], linker: Linker) -> Html:
    parts: list[Html] = []
    number = 0
    while number < len(lines):
        line = lines[number]
        if not line.strip():
            number += 1
        elif line.rstrip().removesuffix(":") in SECTIONS and line.rstrip().endswith(":"):
            inner, number = _indented(lines, number + 1)
            parts.append(_section(line.rstrip()[:-1], inner, linker))
        elif line.lstrip().startswith(">>>"):
            end = _paragraph_end(lines, number)
            parts.append(_code(lines[number:end]))
            number = end
        elif _BULLET.match(line):
            inner, number = _list(lines, number)
            items = (element("li", inline(item, linker)) for item in inner)
            parts.append(element("ul", *items))
        else:
            end = _paragraph_end(lines, number)
            paragraph = "\n".join(lines[number:end])
            number = end
            if paragraph.rstrip().endswith("::"):
                block, number = _indented(lines, end)
                if block:
                    parts.append(element("p", inline(paragraph.rstrip()[:-1], linker)))
                    parts.append(_code(block))
                    continue
            parts.append(element("p", inline(paragraph, linker)))
    return join(parts, "\n")


def _paragraph_end(lines: Sequence[str], start: int) -> int:
    """A paragraph ends before an empty line, a list, or the title of a section."""
    for number in range(start + 1, len(lines)):
        line = lines[number]
        if not line.strip() or _BULLET.match(line) or line.rstrip()[:-1] in SECTIONS:
            return number
    return len(lines)


def _indented(lines: Sequence[str], start: int) -> tuple[list[str], int]:
    """The lines from ``start`` that are empty or indented, without their indentation."""
    end = start
    while end < len(lines) and (not lines[end].strip() or lines[end].startswith(" ")):
        end += 1
    block = list(lines[start:end])
    while block and not block[-1].strip():
        block.pop()
    while block and not block[0].strip():
        block.pop(0)
    margin = min((_margin(line) for line in block if line.strip()), default=0)
    return [line[margin:] for line in block], end


def _margin(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _list(lines: Sequence[str], start: int) -> tuple[list[str], int]:
    items: list[str] = []
    number = start
    while number < len(lines) and lines[number].strip():
        line = lines[number]
        if match := _BULLET.match(line):
            items.append(line[match.end() :])
        elif line.startswith(" "):
            items[-1] += f"\n{line.strip()}"
        else:
            break
        number += 1
    return items, number


def _items(lines: Sequence[str]) -> tuple[Item, ...]:
    """An entry starts at a line without indentation; the next lines of it are indented."""
    entries: list[list[str]] = []
    for line in lines:
        if (line.strip() and not line.startswith(" ")) or not entries:
            entries.append([line])
        else:
            entries[-1].append(line)
    items: list[Item] = []
    for entry in entries:
        whole = "\n".join([entry[0], *(line.strip() for line in entry[1:])]).strip()
        match = _ITEM.fullmatch(whole)
        items.append(Item(match["name"], match["rest"]) if match else Item("", whole))
    return tuple(items)


def _section(title: str, lines: Sequence[str], linker: Linker) -> Html:
    """Names with explanations become a description list, prose stays prose."""
    items = _items(lines)
    heading = element("p", title, class_="section")
    if title == "Returns" or not any(item.name for item in items):
        return join([heading, _blocks(lines, linker)])
    parts: list[Html] = []
    for item in items:
        parts.append(element("dt", linker(item.name, "code") if item.name else ""))
        parts.append(element("dd", inline(item.prose, linker)))
    return join([heading, element("dl", *parts)])


def _code(lines: Sequence[str]) -> Html:
    return element("pre", element("code", "\n".join(lines)), tabindex=0)
