"""Reads the web pages that this project writes, strictly: nothing is corrected for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = frozenset({"br", "hr", "img", "input", "link", "meta", "wbr"})
"""HTML elements that have no end tag."""


@dataclass
class Node:
    """An element.

    Attributes:
      tag: its name.
      attributes: by name; None for an attribute without a value.
      children: elements and texts in it.
    """

    tag: str
    attributes: dict[str, str | None] = field(default_factory=dict)
    children: list[Node | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text in it."""
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    def all(self, *tags: str) -> list[Node]:
        """The elements in it with one of these names, in order; all without names."""
        found: list[Node] = []
        for child in self.children:
            if isinstance(child, Node):
                if not tags or child.tag in tags:
                    found.append(child)
                found += child.all(*tags)
        return found

    def one(self, id: str) -> Node:
        """The element in it with an id.

        Raises:
          LookupError: there is none, or there are several.
        """
        found = [node for node in self.all() if node.attributes.get("id") == id]
        if len(found) != 1:
            raise LookupError(f"{len(found)} elements have the id {id!r}")
        return found[0]

    def values(self, *names: str) -> list[str]:
        """Values of the attributes with these names, of all elements in it."""
        return [
            value
            for node in self.all()
            for name, value in node.attributes.items()
            if name in names and value is not None
        ]

    def rows(self) -> list[list[str]]:
        """The cells of the rows of a table in it, as text."""
        return [
            [" ".join(cell.text.split()) for cell in row.all("th", "td")] for row in self.all("tr")
        ]


class Unbalanced(ValueError):
    """An element is closed that is not the one that is open, or one is never closed."""


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open = [Node("")]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if len({name for name, _ in attrs}) < len(attrs):
            raise Unbalanced(f"line {self.getpos()[0]}: <{tag}> has an attribute twice")
        node = Node(tag, dict(attrs))
        self.open[-1].children.append(node)
        if tag not in VOID:
            self.open.append(node)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        # Only SVG has these, and only as a file of its own; in HTML the slash means nothing.
        raise Unbalanced(f"line {self.getpos()[0]}: <{tag}/> closes itself")

    def handle_endtag(self, tag: str) -> None:
        if self.open[-1].tag != tag:
            raise Unbalanced(f"line {self.getpos()[0]}: </{tag}> closes <{self.open[-1].tag}>")
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def parse(html: str) -> Node:
    """Reads a page or a part of one.

    Args:
      html: its text.

    Returns:
      A node without a name that holds everything.

    Raises:
      Unbalanced: start and end tags do not fit.
    """
    reader = _Reader()
    reader.feed(html)
    reader.close()
    if len(reader.open) != 1:
        raise Unbalanced(f"<{reader.open[-1].tag}> is never closed")
    return reader.open[0]
